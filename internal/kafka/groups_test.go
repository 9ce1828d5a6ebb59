package kafka

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator/group"
)

// groupHarness is a server over a coordinator that is told what to say.
func groupHarness(t *testing.T, cfg Config) (*harness, *fakeGroups, net.Conn) {
	t.Helper()
	h := start(t, cfg, nil)
	return h, h.deps.Groups.(*fakeGroups), h.dial(t)
}

// Every version of every API about groups answers arbitrary requests, to the byte
// as kmsg does, whatever the coordinator says.
func TestGroupAPIsAnswerEveryVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f, c := groupHarness(t, Config{})
		rnd := rand.New(rand.NewPCG(3, 4))
		for _, a := range groupAPIs() {
			for v := a.Min; v <= a.Max; v++ {
				for i := range 30 {
					req := kmsg.RequestForKey(a.Key)
					randomize(rnd, reflect.ValueOf(req).Elem())
					f.fails, f.refuses = nil, nil
					switch i % 3 {
					case 1:
						f.fails = karst.RebalanceInProgress.Err()
					case 2:
						f.refuses = karst.CoordinatorLoading.Err()
					}
					call[kmsg.Response](t, c, v, req)
				}
			}
		}
	})
}

func TestJoinGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f, c := groupHarness(t, Config{})
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.MemberID, req.InstanceID, req.ProtocolType = "g", "m-1", new("i-1"), "consumer"
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.Reason = 10_000, 60_000, new("why not")
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("subscribed")}, {Name: "sticky"}}
		f.says = group.JoinAnswer{
			Generation: 3, ProtocolType: new("consumer"), Protocol: new("range"), Leader: "m-1", Member: "m-1", SkipAssignment: true,
			Members: []group.JoinMember{{Member: "m-1", Instance: new("i-1"), Metadata: []byte("subscribed")}},
		}
		for v := range int16(10) {
			resp := call[*kmsg.JoinGroupResponse](t, c, v, req)
			if resp.ErrorCode != 0 || resp.Generation != 3 || resp.LeaderID != "m-1" || resp.MemberID != "m-1" || *resp.Protocol != "range" ||
				len(resp.Members) != 1 || string(resp.Members[0].ProtocolMetadata) != "subscribed" ||
				resp.SkipAssignment != (v >= 9) || (resp.ProtocolType != nil) != (v >= 7) || (resp.Members[0].InstanceID != nil) != (v >= 5) {
				t.Errorf("version %d: %+v", v, resp)
			}
			want := group.JoinRequest{
				Group: "g", Member: "m-1", Client: group.Client{ID: "test", Host: "/pipe"},
				SessionTimeout: 10 * time.Second, RebalanceTimeout: time.Minute, ProtocolType: "consumer",
				Protocols:    []group.Protocol{{Name: "range", Metadata: []byte("subscribed")}, {Name: "sticky", Metadata: []byte{}}},
				NeedMemberID: v >= 4, CanSkip: v >= 9,
			}
			if v == 0 {
				want.RebalanceTimeout = want.SessionTimeout
			}
			if v >= 5 {
				want.Instance = new("i-1")
			}
			if v >= 8 {
				want.Reason = "why not"
			}
			if d := cmp.Diff(want, f.last()); d != "" {
				t.Errorf("version %d asks: %s", v, d)
			}
		}
	})
}

func TestJoinGroupErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f, c := groupHarness(t, Config{})
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.MemberID = "g", "m"
		ask := func(v int16) *kmsg.JoinGroupResponse { return call[*kmsg.JoinGroupResponse](t, c, v, req) }

		f.says = group.JoinAnswer{Err: karst.MemberIDRequired.Err(), Generation: -1, Member: "test-1"}
		if r := ask(4); r.ErrorCode != 79 || r.MemberID != "test-1" || r.Generation != -1 || *r.Protocol != "" {
			t.Errorf("%+v", r)
		}
		if r := ask(7); r.ErrorCode != 79 || r.Protocol != nil || r.ProtocolType != nil {
			t.Errorf("%+v", r)
		}
		f.fails = karst.TimedOut.Err() // of the log: the member is to look for its coordinator
		if r := ask(9); r.ErrorCode != 15 || r.MemberID != "" || r.Generation != -1 {
			t.Errorf("%+v", r)
		}
		f.fails, f.refuses = nil, karst.CoordinatorLoading.Err()
		if r := ask(0); r.ErrorCode != 14 || r.Generation != -1 {
			t.Errorf("%+v", r)
		}
		req.Group = ""
		if r := ask(9); r.ErrorCode != 24 || r.MemberID != "m" {
			t.Errorf("%+v", r)
		}
	})
}

// A member that waits for the others holds no memory of its frame and is not
// idle, however long it takes.
func TestWaitingJoinHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f, c := groupHarness(t, Config{IdleMax: time.Minute})
		f.hold = make(chan struct{})
		f.says = group.JoinAnswer{Generation: 1}
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.Version = "g", 9
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte(strings.Repeat("x", 1<<20))}}
		write(t, c, encoded(7, req))
		time.Sleep(time.Hour)
		if n := h.deps.Memory.InUse(); n != 0 {
			t.Errorf("%d bytes are in use", n)
		}
		if len(f.last().(group.JoinRequest).Protocols[0].Metadata) != 1<<20 {
			t.Error("the metadata is not what was sent")
		}
		close(f.hold)
		if correlation, _, err := readResponse(c); err != nil || correlation != 7 {
			t.Fatal(correlation, err)
		}
		closed(t, c) // now it is idle
	})
}

// A stopping server sends waiting members away, and ends at once.
func TestStoppingSendsMembersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f, join := groupHarness(t, Config{DrainTimeout: time.Hour})
		f.hold = make(chan struct{})
		sync := h.dial(t)
		jr := kmsg.NewPtrJoinGroupRequest()
		jr.Group, jr.Version = "g", 5
		write(t, join, encoded(7, jr))
		sr := kmsg.NewPtrSyncGroupRequest()
		sr.Group, sr.Version, sr.ProtocolType, sr.Protocol = "g", 5, new(""), new("")
		write(t, sync, encoded(8, sr))
		synctest.Wait()
		begin := time.Now()
		stopped := make(chan error)
		go func() { stopped <- h.stop() }()
		_, b, err := readResponse(join)
		if err != nil {
			t.Fatal(err)
		}
		if r := decoded[*kmsg.JoinGroupResponse](t, jr, b); r.ErrorCode != 16 {
			t.Errorf("%+v", r)
		}
		if _, b, err = readResponse(sync); err != nil {
			t.Fatal(err)
		}
		if r := decoded[*kmsg.SyncGroupResponse](t, sr, b); r.ErrorCode != 16 {
			t.Errorf("%+v", r)
		}
		if err := <-stopped; err != nil || time.Since(begin) > time.Second {
			t.Errorf("stopped after %v: %v", time.Since(begin), err)
		}
	})
}

// A client that goes away while it waits ends its wait.
func TestWaitEndsWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f, c := groupHarness(t, Config{})
		f.hold = make(chan struct{})
		for _, req := range []kmsg.Request{
			kmsg.NewPtrJoinGroupRequest(), kmsg.NewPtrHeartbeatRequest(), kmsg.NewPtrOffsetFetchRequest(),
			kmsg.NewPtrDescribeGroupsRequest(), kmsg.NewPtrDeleteGroupsRequest(),
		} {
			switch r := req.(type) {
			case *kmsg.JoinGroupRequest:
				r.Group = "g"
			case *kmsg.HeartbeatRequest:
				r.Group = "g"
			case *kmsg.OffsetFetchRequest:
				r.Version = 1
			case *kmsg.DescribeGroupsRequest:
				r.Groups = []string{"g"}
			case *kmsg.DeleteGroupsRequest:
				r.Groups = []string{"g"}
			}
			write(t, c, encoded(7, req))
			synctest.Wait()
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := len(h.open()); n != 0 {
				t.Errorf("%T: %d connections are open", req, n)
			}
			c = h.dial(t)
		}
	})
}

func TestSyncGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f, c := groupHarness(t, Config{})
		req := kmsg.NewPtrSyncGroupRequest()
		req.Group, req.MemberID, req.Generation, req.InstanceID = "g", "m", 3, new("i")
		req.ProtocolType, req.Protocol = new("consumer"), new("range")
		req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: "m", MemberAssignment: []byte("mine")}}
		f.says = group.SyncAnswer{ProtocolType: new("consumer"), Protocol: new("range"), Assignment: []byte("mine")}
		for v := range int16(6) {
			resp := call[*kmsg.SyncGroupResponse](t, c, v, req)
			if resp.ErrorCode != 0 || string(resp.MemberAssignment) != "mine" || (resp.Protocol != nil) != (v >= 5) {
				t.Errorf("version %d: %+v", v, resp)
			}
			want := group.SyncRequest{Group: "g", Member: "m", Generation: 3, Assignments: []group.Assignment{{Member: "m", Bytes: []byte("mine")}}}
			if v >= 3 {
				want.Instance = new("i")
			}
			if v >= 5 {
				want.ProtocolType, want.Protocol = new("consumer"), new("range")
			}
			if d := cmp.Diff(want, f.last()); d != "" {
				t.Errorf("version %d asks: %s", v, d)
			}
		}
		asked := len(f.asked)
		req.Protocol = nil
		if r := call[*kmsg.SyncGroupResponse](t, c, 5, req); r.ErrorCode != 23 {
			t.Errorf("without a protocol: %+v", r)
		}
		req.Group = ""
		if r := call[*kmsg.SyncGroupResponse](t, c, 4, req); r.ErrorCode != 24 {
			t.Errorf("without a group: %+v", r)
		}
		if len(f.asked) != asked {
			t.Error("the coordinator was asked")
		}
	})
}

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f, c := groupHarness(t, Config{})
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation, req.InstanceID = "g", "m", 3, new("i")
		ask := func(v int16) int16 { return call[*kmsg.HeartbeatResponse](t, c, v, req).ErrorCode }
		if code := ask(4); code != 0 {
			t.Error(code)
		}
		if d := cmp.Diff(group.HeartbeatRequest{Group: "g", Member: "m", Generation: 3, Instance: new("i")}, f.last()); d != "" {
			t.Error(d)
		}
		f.says = group.ErrAnswer{Err: karst.RebalanceInProgress.Err()}
		if code := ask(0); code != 27 {
			t.Error(code)
		}
		f.says = nil
		for want, err := range map[int16]error{0: karst.CoordinatorLoading.Err(), 16: karst.NotCoordinator.Err(), 15: karst.CoordinatorNotAvailable.Err()} {
			f.refuses, f.fails = err, nil
			if code := ask(3); code != want {
				t.Errorf("refused with %d, want %d", code, want)
			}
			f.refuses, f.fails = nil, err
			if code := ask(3); code != want {
				t.Errorf("failed with %d, want %d", code, want)
			}
		}
		f.fails = nil
		req.Group = ""
		if code := ask(4); code != 24 {
			t.Error(code)
		}
	})
}

func TestLeaveGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f, c := groupHarness(t, Config{})
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group, req.MemberID = "g", "m"
		req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "a", Reason: new("done")}, {InstanceID: new("i")}}
		ask := func(v int16) *kmsg.LeaveGroupResponse { return call[*kmsg.LeaveGroupResponse](t, c, v, req) }

		ask(2)
		if d := cmp.Diff(group.LeaveRequest{Group: "g", Single: true, Members: []group.LeavingMember{{Member: "m"}}}, f.last()); d != "" {
			t.Error(d)
		}
		ask(5)
		if d := cmp.Diff(group.LeaveRequest{Group: "g", Members: []group.LeavingMember{{Member: "a", Reason: "done"}, {Instance: new("i")}}}, f.last()); d != "" {
			t.Error(d)
		}
		f.says = group.LeaveAnswer{Members: []group.LeftMember{{Member: "a", Err: karst.UnknownMember.Err()}, {Instance: new("i")}}}
		if r := ask(3); r.ErrorCode != 0 || len(r.Members) != 2 || r.Members[0].ErrorCode != 25 || r.Members[1].ErrorCode != 0 || *r.Members[1].InstanceID != "i" {
			t.Errorf("%+v", r)
		}
		if r := ask(1); r.ErrorCode != 25 {
			t.Errorf("%+v", r)
		}
		// A group that there is not.
		f.says = group.LeaveAnswer{Err: karst.UnknownMember.Err()}
		if r := ask(4); r.ErrorCode != 0 || len(r.Members) != 2 || r.Members[0].ErrorCode != 25 || r.Members[1].ErrorCode != 25 {
			t.Errorf("%+v", r)
		}
		if r := ask(0); r.ErrorCode != 25 {
			t.Errorf("%+v", r)
		}
		f.refuses = karst.NotCoordinator.Err()
		for v := range int16(6) {
			if r := ask(v); r.ErrorCode != 16 || len(r.Members) != 0 {
				t.Errorf("version %d: %+v", v, r)
			}
		}
		req.Group = ""
		if r := ask(5); r.ErrorCode != 24 {
			t.Errorf("%+v", r)
		}
	})
}

func TestFindCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f, c := groupHarness(t, Config{OffsetsPartitions: 6})
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorKey, req.CoordinatorKeys = "g", []string{"g", "h"}
		ask := func(v int16) *kmsg.FindCoordinatorResponse {
			return call[*kmsg.FindCoordinatorResponse](t, c, v, req)
		}
		f.at = -1
		if r := ask(0); r.ErrorCode != 15 || r.NodeID != -1 || r.Port != -1 || r.Host != "" {
			t.Errorf("%+v", r)
		}
		synctest.Wait() // the topic is created behind the answer
		ts, ok := h.cluster.Image().Topic(group.Topic)
		if !ok || !ts.Internal || ts.Partitions != 6 {
			t.Fatalf("%+v", ts)
		}
		if d := cmp.Diff(map[string]string{"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"}, ts.Configs); d != "" {
			t.Error(d)
		}
		if r := ask(3); r.ErrorCode != 15 || *r.ErrorMessage == "" {
			t.Errorf("%+v", r) // the coordinator does not know yet
		}
		f.at = 4 // led by broker 1, in the fake cluster
		for v := range int16(7) {
			r := ask(v)
			if v < 4 {
				if r.ErrorCode != 0 || r.NodeID != 1 || r.Host != "broker" || r.Port != 9093 || v > 0 && *r.ErrorMessage != "NONE" {
					t.Errorf("version %d: %+v", v, r)
				}
				continue
			}
			if len(r.Coordinators) != 2 || r.Coordinators[1].Key != "h" || r.Coordinators[1].NodeID != 1 || r.Coordinators[1].ErrorCode != 0 {
				t.Errorf("version %d: %+v", v, r)
			}
		}
		for kind, want := range map[int8]int16{1: 15, 2: 42, 9: 42} {
			req.CoordinatorType = kind
			if r := ask(1); r.ErrorCode != want || r.NodeID != -1 {
				t.Errorf("type %d: %+v", kind, r)
			}
			if r := ask(6); r.Coordinators[0].ErrorCode != want || r.Coordinators[0].NodeID != -1 {
				t.Errorf("type %d: %+v", kind, r)
			}
		}
		if h.cluster.creates != 1 {
			t.Errorf("%d topics were created", h.cluster.creates)
		}
	})
}

func TestDescribeGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f, c := groupHarness(t, Config{})
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{"g", "h"}
		ask := func(v int16) *kmsg.DescribeGroupsResponse {
			return call[*kmsg.DescribeGroupsResponse](t, c, v, req)
		}
		f.says = group.Description{
			Group: "g", State: "Stable", ProtocolType: "consumer", Protocol: "range",
			Members: []group.DescribedMember{{
				Member: "m", Instance: new("i"), Client: group.Client{ID: "app", Host: "/127.0.0.1"}, Metadata: []byte("s"), Assignment: []byte("a"),
			}},
		}
		for v := range int16(7) {
			r := ask(v)
			g := r.Groups[0]
			if len(r.Groups) != 2 || r.Groups[1].Group != "h" || g.ErrorCode != 0 || g.State != "Stable" || g.Protocol != "range" ||
				g.Members[0].ClientHost != "/127.0.0.1" || string(g.Members[0].MemberAssignment) != "a" || (g.Members[0].InstanceID != nil) != (v >= 4) ||
				g.AuthorizedOperations != math.MinInt32 {
				t.Errorf("version %d: %+v", v, r)
			}
		}
		req.IncludeAuthorizedOperations = true
		if g := ask(3).Groups[0]; g.AuthorizedOperations != 3400 {
			t.Errorf("%+v", g)
		}
		f.says = group.Description{Group: "g", Err: karst.GroupNotFound.Err(), State: "Dead"}
		if g := ask(5).Groups[0]; g.ErrorCode != 0 || g.State != "Dead" || g.AuthorizedOperations != 3400 {
			t.Errorf("%+v", g)
		}
		if g := ask(6).Groups[0]; g.ErrorCode != 69 || g.State != "Dead" || *g.ErrorMessage != "Group g not found." || g.AuthorizedOperations != math.MinInt32 {
			t.Errorf("%+v", g)
		}
		f.refuses = karst.NotCoordinator.Err()
		if g := ask(6).Groups[0]; g.ErrorCode != 16 || g.State != "" || g.AuthorizedOperations != math.MinInt32 || g.ErrorMessage != nil {
			t.Errorf("%+v", g)
		}
	})
}

func TestListGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f, c := groupHarness(t, Config{})
		f.says = []group.Listing{
			{Group: "a", ProtocolType: "consumer", State: "Stable", Type: "classic"},
			{Group: "b", ProtocolType: "connect", State: "PreparingRebalance", Type: "classic"},
			{Group: "c", State: "Empty", Type: "classic"},
		}
		for _, tt := range []struct {
			v             int16
			states, types []string
			want          string
		}{
			{v: 0, want: "abc"},
			{v: 3, states: []string{"Empty"}, want: "abc"}, // not sent
			{v: 4, states: []string{" stable", "EMPTY "}, want: "ac"},
			{v: 5, states: []string{"preparingrebalance"}, types: []string{"Classic"}, want: "b"},
			{v: 5, types: []string{"consumer", "no such type"}, want: ""},
			{v: 5, states: []string{"no such state"}, want: ""},
		} {
			req := kmsg.NewPtrListGroupsRequest()
			req.StatesFilter, req.TypesFilter = tt.states, tt.types
			r := call[*kmsg.ListGroupsResponse](t, c, tt.v, req)
			var got string
			for _, g := range r.Groups {
				got += g.Group
				if (g.GroupState != "") != (tt.v >= 4) || (g.GroupType != "") != (tt.v >= 5) {
					t.Errorf("version %d: %+v", tt.v, g)
				}
			}
			if got != tt.want || r.ErrorCode != 0 {
				t.Errorf("version %d with %v, %v: %q, error %d", tt.v, tt.states, tt.types, got, r.ErrorCode)
			}
		}
		f.refuses = karst.CoordinatorLoading.Err()
		if r := call[*kmsg.ListGroupsResponse](t, c, 5, kmsg.NewPtrListGroupsRequest()); r.ErrorCode != 14 || len(r.Groups) != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestDeleteGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f, c := groupHarness(t, Config{})
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{"g", "h", "g"}
		f.says = group.ErrAnswer{Err: karst.NonEmptyGroup.Err()}
		r := call[*kmsg.DeleteGroupsResponse](t, c, 2, req)
		if len(r.Groups) != 2 || r.Groups[0].Group != "g" || r.Groups[0].ErrorCode != 68 || r.Groups[1].Group != "h" {
			t.Errorf("%+v", r)
		}
		if want := []any{deleted("g"), deleted("h")}; !slices.Equal(f.asked, want) {
			t.Errorf("asked %v", f.asked)
		}
		f.refuses = karst.NotCoordinator.Err()
		if r := call[*kmsg.DeleteGroupsResponse](t, c, 0, req); r.Groups[1].ErrorCode != 16 {
			t.Errorf("%+v", r)
		}
	})
}

// What goes wrong in the log below a coordinator is told as clients of
// coordinators know it.
func TestCoordinatorCodes(t *testing.T) {
	for want, errs := range map[int16][]error{
		0:  {nil},
		15: {karst.TimedOut.Err(), karst.Overloaded.Err(), karst.UnknownTopic.Err(), context.DeadlineExceeded, karst.CoordinatorNotAvailable.Err()},
		16: {karst.NotLeader.Err(), karst.ShuttingDown.Err(), karst.StorageError.Err(), karst.NotCoordinator.Err(), &karst.CorruptError{}},
		14: {karst.CoordinatorLoading.Err()},
		-1: {karst.RecordTooLarge.Err(), karst.BatchTooLarge.Err(), fmt.Errorf("whatever")},
		25: {karst.UnknownMember.Err()},
	} {
		for _, err := range errs {
			r := &Request{}
			if code := r.coordinatorCode(err); code != want || r.fault != want {
				t.Errorf("%v is %d, noted %d; want %d", err, code, r.fault, want)
			}
		}
	}
}

func TestJavaHost(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:9092":             "/127.0.0.1",
		"[::1]:9092":                 "/0:0:0:0:0:0:0:1",
		"[::ffff:10.0.0.1]:9092":     "/10.0.0.1",
		"[2001:db8::20:a]:9092":      "/2001:db8:0:0:0:0:20:a",
		"[fe80::1%eth0]:9092":        "/fe80:0:0:0:0:0:0:1%eth0",
		"not an address":             "/not an address",
		"[2001:0db8:0:0:0:0:0:0]:12": "/2001:db8:0:0:0:0:0:0",
	} {
		if got := javaHost(textAddr(addr)); got != want {
			t.Errorf("%s is %s, want %s", addr, got, want)
		}
	}
}

type textAddr string

func (a textAddr) Network() string { return "text" }
func (a textAddr) String() string  { return string(a) }

// Without a coordinator groups are not advertised.
func TestGroupsAreNotServedWithoutCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deps := newTestCluster(t, 1).deps()
		deps.Groups = nil
		s := New(Config{}, deps)
		for _, a := range groupAPIs() {
			if _, ok := s.apis[a.Key]; ok {
				t.Errorf("API key %d is served", a.Key)
			}
		}
	})
}
