package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestHostileGroups sends the APIs of groups what no client sends: every length in
// every version claims to be huge, and requests that are well-formed ask for as
// much as they can.
func TestHostileGroups(t *testing.T) {
	endToEnd(t)
	n := newNode(t, storeURL{url: "file://" + t.TempDir()}, "--group.initial.rebalance.delay=0s")
	p := n.startReady()
	admin := adminOf(t, n.addr())
	if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "a commit", func() error { // longer metadata are refused
		o := kadm.Offset{Topic: "t", At: 1, LeaderEpoch: -1, Metadata: strings.Repeat("\u20ac", 4096)}
		done, err := admin.CommitOffsets(t.Context(), "g", kadm.Offsets{"t": {0: o}})
		return errors.Join(err, done.Error())
	})
	before := p.rss()
	t.Run("claims", func(t *testing.T) {
		sent := 0
		var senders sync.WaitGroup
		frames := make(chan []byte)
		for range 4 {
			senders.Go(func() {
				for f := range frames {
					if _, err := exchange(n.addr(), f); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for _, req := range groupRequests() {
			for v := int16(0); v <= req.MaxVersion(); v++ {
				req.SetVersion(v)
				f := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
				for at := headerBytes; at < len(f); at++ {
					frames <- claim(f, at, req.IsFlexible())
					sent++
				}
			}
		}
		close(frames)
		senders.Wait()
		t.Logf("%d requests", sent)
	})
	for name, req := range greedyRequests() {
		t.Run(name, func(t *testing.T) {
			f := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
			began := time.Now()
			got, err := exchange(n.addr(), f)
			if err != nil {
				t.Error(err)
			}
			t.Logf("%d bytes sent, %d answered in %v", len(f), got, time.Since(began).Round(time.Millisecond))
			if got > 65<<20 {
				t.Errorf("%d bytes were answered", got)
			}
		})
	}
	grown := p.rss() - before
	// What is garbage goes, sooner or later; what grows without bound does not.
	for end := time.Now().Add(2 * time.Minute); grown > 500<<20 && time.Now().Before(end); time.Sleep(time.Second) {
		grown = p.rss() - before
	}
	t.Logf("resident memory %d MiB, %d MiB more than before", p.rss()>>20, grown>>20)
	if grown > 500<<20 {
		t.Error("memory grew without bound")
	}
	serves(t, n.addr())
	select {
	case <-p.ended:
		t.Fatalf("the broker ended: %v", p.err)
	default:
	}
	if strings.Contains(p.log.String(), "panic") {
		t.Errorf("a request panicked:\n%s", p.log)
	}
}

// headerBytes are size, key, version and correlation id.
const headerBytes = 12

// claim puts the largest length at a place in a frame: 4 bytes, or a varint.
func claim(f []byte, at int, flexible bool) []byte {
	out := append([]byte(nil), f[:at]...)
	if flexible {
		out = append(append(out, 0xff, 0xff, 0xff, 0xff, 0x07), f[min(at+1, len(f)):]...)
	} else {
		out = append(append(out, 0x7f, 0xff, 0xff, 0xff), f[min(at+4, len(f)):]...)
	}
	binary.BigEndian.PutUint32(out, uint32(len(out)-4)) //nolint:gosec // it is small
	return out
}

// exchange sends a frame on a connection of its own, and wants it to be answered
// or the connection to be closed. It returns how many bytes were answered.
func exchange(addr string, f []byte) (int64, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = c.Write(f) // it may be refused before all of it is written
	var size [4]byte
	n, err := io.ReadFull(c, size[:])
	answered := int64(n)
	if err == nil {
		answered, err = io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(size[:])))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return answered, fmt.Errorf("a request of API key %d, version %d is neither answered nor refused",
			binary.BigEndian.Uint16(f[4:]), binary.BigEndian.Uint16(f[6:]))
	}
	return answered, nil
}

// groupRequests are small requests with one element in each array.
func groupRequests() []kmsg.Request {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey, find.CoordinatorKeys = "h", []string{"h"}
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType, join.Protocols = "h", "consumer", []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("m")}}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.ProtocolType, sync.Protocol = "h", new("consumer"), new("range")
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: "m", MemberAssignment: []byte("a")}}
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID = "h", "m"
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group, leave.MemberID, leave.Members = "h", "m", []kmsg.LeaveGroupRequestMember{{MemberID: "m"}}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Group, fetch.Topics = "h", []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}
	fetch.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "h", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}}}}
	remove := kmsg.NewPtrOffsetDeleteRequest()
	remove.Group = "h"
	remove.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{"h"}
	list := kmsg.NewPtrListGroupsRequest()
	list.StatesFilter, list.TypesFilter = []string{"s"}, []string{"t"}
	drop := kmsg.NewPtrDeleteGroupsRequest()
	drop.Groups = []string{"h"}
	commit := commitRequest("h", "t", "m")
	return []kmsg.Request{find, join, sync, beat, leave, commit, fetch, remove, describe, list, drop}
}

func commitRequest(group, topic, metadata string) *kmsg.OffsetCommitRequest {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.Version = group, 9
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.Metadata = 1, &metadata
	r.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return r
}

// greedyRequests are well-formed, and small for what they ask.
func greedyRequests() map[string]kmsg.Request {
	const many = 250_000
	names := make([]string, many)
	for k := range names {
		names[k] = fmt.Sprintf("group-%d", k)
	}
	same := make([]string, many)
	for k := range same {
		same[k] = "g"
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKeys = 6, same
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Version, describe.Groups = 6, same
	unknown := kmsg.NewPtrDescribeGroupsRequest()
	unknown.Version, unknown.Groups = 6, names
	drop := kmsg.NewPtrDeleteGroupsRequest()
	drop.Version, drop.Groups = 2, names
	list := kmsg.NewPtrListGroupsRequest()
	list.Version, list.StatesFilter = 5, same[:100_000]
	offsets := kmsg.NewPtrOffsetFetchRequest()
	offsets.Version, offsets.Group = 7, "g"
	offsets.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: make([]int32, many)}}
	groups := kmsg.NewPtrOffsetFetchRequest()
	groups.Version = 8
	others := kmsg.NewPtrOffsetFetchRequest()
	others.Version = 8
	for k := range many {
		groups.Groups = append(groups.Groups, kmsg.OffsetFetchRequestGroup{Group: "g"})
		others.Groups = append(others.Groups, kmsg.OffsetFetchRequestGroup{Group: names[k]})
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group, leave.Members = 5, "g", make([]kmsg.LeaveGroupRequestMember, many)
	protocols := kmsg.NewPtrJoinGroupRequest()
	protocols.Version, protocols.Group, protocols.ProtocolType, protocols.SessionTimeoutMillis = 3, "p", "consumer", 10_000
	protocols.RebalanceTimeoutMillis = 10_000
	protocols.Protocols = make([]kmsg.JoinGroupRequestProtocol, many)
	metadata := kmsg.NewPtrJoinGroupRequest()
	*metadata = *protocols
	metadata.Group, metadata.Protocols = "m", []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: make([]byte, 15<<20)}}
	frame := kmsg.NewPtrJoinGroupRequest()
	*frame = *protocols
	frame.Group, frame.Protocols = "f", []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: make([]byte, 17<<20)}}
	partitions := commitRequest("c", "t", strings.Repeat("x", 30))
	for len(partitions.Topics[0].Partitions) < many {
		partitions.Topics[0].Partitions = append(partitions.Topics[0].Partitions, partitions.Topics[0].Partitions[0])
	}
	long := commitRequest(strings.Repeat("n", 60_000), "t", strings.Repeat("x", 15<<20))
	return map[string]kmsg.Request{
		"FindCoordinator of one group, often": find, "DescribeGroups of one group, often": describe, "DescribeGroups of many": unknown,
		"DeleteGroups of many": drop, "ListGroups with many filters": list, "OffsetFetch of one partition, often": offsets,
		"OffsetFetch of one group, often": groups, "OffsetFetch of many groups": others, "LeaveGroup of many": leave,
		"JoinGroup with many protocols": protocols, "JoinGroup with 15 MiB": metadata, "JoinGroup with 17 MiB": frame,
		"OffsetCommit of one partition, often": partitions, "OffsetCommit with long names": long,
	}
}
