package kafka

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator/group"
)

// commitTo is a request that commits to topics.
func commitTo(topics ...kmsg.OffsetCommitRequestTopic) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID, req.RetentionTimeMillis = "g", "m", 5, new("i"), 9000
	req.Topics = topics
	return req
}

func commitTopic(name string, id karst.TopicID, partitions ...int32) kmsg.OffsetCommitRequestTopic {
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = name, id
	for _, p := range partitions {
		cp := kmsg.NewOffsetCommitRequestTopicPartition()
		cp.Partition, cp.Offset, cp.LeaderEpoch, cp.Metadata = p, int64(100+p), 7, new("note")
		t.Partitions = append(t.Partitions, cp)
	}
	return t
}

// codesOf are the error codes of a commit, in order.
func codesOf(r *kmsg.OffsetCommitResponse) (codes []int16) {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			codes = append(codes, p.ErrorCode)
		}
	}
	return codes
}

func TestOffsetCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f, c := groupHarness(t, Config{})
		id := h.topic(t, "orders", 2)
		req := commitTo(commitTopic("nowhere", karst.TopicID{1}, 0), commitTopic("orders", id, 0, 2, -1, 1))
		for v := int16(2); v <= 10; v++ {
			resp := call[*kmsg.OffsetCommitResponse](t, c, v, req)
			unknown := int16(3)
			if v >= 10 {
				unknown = 100
			}
			if d := cmp.Diff([]int16{unknown, 0, 3, 3, 0}, codesOf(resp)); d != "" {
				t.Errorf("version %d: %s", v, d)
			}
			if v < 10 && resp.Topics[1].Topic != "orders" || v >= 10 && resp.Topics[1].TopicID != id || resp.Topics[1].Partitions[3].Partition != 1 {
				t.Errorf("version %d: %+v", v, resp)
			}
			want := group.CommitRequest{Group: "g", Member: "m", Generation: 5, Retention: -1, ByEpoch: v >= 9}
			epoch := karst.Epoch(-1)
			if v <= 4 {
				want.Retention = 9 * time.Second
			}
			if v >= 6 {
				epoch = 7
			}
			if v >= 7 {
				want.Instance = new("i")
			}
			for p := range int32(2) {
				want.Offsets = append(want.Offsets, group.CommitOffset{
					Topic: group.TopicRef{Name: "orders", ID: id}, Partition: p, Offset: karst.Offset(100 + p), Epoch: epoch, Metadata: "note",
				})
			}
			if d := cmp.Diff(want, f.last()); d != "" {
				t.Errorf("version %d asks: %s", v, d)
			}
		}
	})
}

func TestOffsetCommitErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f, c := groupHarness(t, Config{})
		h.topic(t, "orders", 2)
		req := commitTo(commitTopic("nowhere", karst.TopicID{}, 0), commitTopic("orders", karst.TopicID{}, 0, 1))
		check := func(what string, want ...int16) {
			t.Helper()
			if d := cmp.Diff(want, codesOf(call[*kmsg.OffsetCommitResponse](t, c, 8, req))); d != "" {
				t.Errorf("%s: %s", what, d)
			}
		}
		f.says = group.CommitAnswer{Errs: []error{nil, karst.OffsetMetadataTooLarge.Err()}}
		check("one offset fails", 3, 0, 12)
		f.says = group.CommitAnswer{Err: karst.IllegalGeneration.Err()}
		check("all fail", 3, 22, 22)
		f.fails = karst.TimedOut.Err()
		check("the outcome is unknown", 3, 15, 15)
		f.refuses = karst.CoordinatorLoading.Err()
		check("refused", 3, 14, 14)
		asked := len(f.asked)
		req.Topics = req.Topics[:1]
		check("nothing is left", 3)
		req.Topics = nil
		check("nothing was asked")
		if len(f.asked) != asked {
			t.Error("the coordinator was asked without need")
		}
	})
}

func offsetsOf(v int16, id karst.TopicID) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	if v < 8 {
		req.Group = "g"
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "orders", Partitions: []int32{1, 0}}}
		return req
	}
	for _, name := range []string{"g", "h"} {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberID, g.MemberEpoch = name, new("m"), 4
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{
			{Topic: "unknown", TopicID: karst.TopicID{9}, Partitions: []int32{3}}, {Topic: "orders", TopicID: id, Partitions: []int32{1, 0}},
		}
		req.Groups = append(req.Groups, g)
	}
	return req
}

func TestOffsetFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f, c := groupHarness(t, Config{})
		id := h.topic(t, "orders", 2)
		says := group.FetchAnswer{Topics: []group.FetchedTopic{{
			Topic: group.TopicRef{Name: "orders"},
			Offsets: []group.FetchedOffset{
				{Partition: 1, Offset: 42, Epoch: 3, Metadata: "note"},
				{Partition: 0, Offset: -1, Epoch: -1},
			},
		}}}
		f.says = says
		for v := int16(1); v <= 10; v++ {
			resp := call[*kmsg.OffsetFetchResponse](t, c, v, offsetsOf(v, id))
			asked := f.last().(group.FetchRequest)
			if asked.Stable != (v >= 7) || asked.All || (asked.Epoch == 4) != (v >= 9) || (asked.Member == "m") != (v >= 9) {
				t.Errorf("version %d asks %+v", v, asked)
			}
			if v < 8 {
				p := resp.Topics[0].Partitions
				if len(resp.Topics) != 1 || resp.Topics[0].Topic != "orders" || p[0].Partition != 1 || p[0].Offset != 42 || *p[0].Metadata != "note" ||
					(p[0].LeaderEpoch == 3) != (v >= 5) || p[1].Offset != -1 || p[1].ErrorCode != 0 || *p[1].Metadata != "" {
					t.Errorf("version %d: %+v", v, resp)
				}
				continue
			}
			g := resp.Groups[1]
			if len(resp.Groups) != 2 || g.Group != "h" || g.ErrorCode != 0 {
				t.Fatalf("version %d: %+v", v, resp)
			}
			if v < 10 {
				if len(asked.Topics) != 2 || len(g.Topics) != 1 {
					t.Errorf("version %d: %+v asked %+v", v, g, asked)
				}
				continue
			}
			if d := cmp.Diff([]group.FetchTopic{{Topic: group.TopicRef{Name: "orders", ID: id}, Partitions: []int32{1, 0}}}, asked.Topics); d != "" {
				t.Error(d)
			}
			if len(g.Topics) != 2 || g.Topics[0].TopicID != id || g.Topics[0].Partitions[0].Offset != 42 {
				t.Fatalf("%+v", g)
			}
			if p := g.Topics[1].Partitions[0]; g.Topics[1].TopicID != (karst.TopicID{9}) || p.Partition != 3 || p.ErrorCode != 100 || p.Offset != -1 {
				t.Errorf("%+v", g.Topics[1])
			}
		}
	})
}

// All offsets are asked for by null; a topic that has no id cannot be told by it.
func TestOffsetFetchAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f, c := groupHarness(t, Config{})
		id := h.topic(t, "orders", 2)
		f.says = group.FetchAnswer{Topics: []group.FetchedTopic{{Topic: group.TopicRef{Name: "gone"}}, {Topic: group.TopicRef{Name: "orders"}}}}
		for v := int16(1); v <= 10; v++ {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Groups = []kmsg.OffsetFetchRequestGroup{kmsg.NewOffsetFetchRequestGroup()}
			resp := call[*kmsg.OffsetFetchResponse](t, c, v, req)
			if all := f.last().(group.FetchRequest).All; all != (v >= 2) {
				t.Errorf("version %d: all %v", v, all)
			}
			if v == 10 && (len(resp.Groups[0].Topics) != 1 || resp.Groups[0].Topics[0].TopicID != id) {
				t.Errorf("%+v", resp)
			}
		}
		// Empty is none.
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Topics = []kmsg.OffsetFetchRequestTopic{}
		call[*kmsg.OffsetFetchResponse](t, c, 7, req)
		if f.last().(group.FetchRequest).All {
			t.Error("nothing asked for is everything")
		}
	})
}

func TestOffsetFetchErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f, c := groupHarness(t, Config{})
		id := h.topic(t, "orders", 2)
		for _, tt := range []struct {
			fails, refuses error
			want           int16
		}{
			{fails: karst.NotCoordinator.Err(), want: 16},
			{refuses: karst.CoordinatorLoading.Err(), want: 14},
			{fails: karst.TimedOut.Err(), want: 16}, // which old consumers try again
			{refuses: karst.CoordinatorNotAvailable.Err(), want: 16},
		} {
			f.fails, f.refuses = tt.fails, tt.refuses
			for v := int16(1); v <= 10; v++ {
				resp := call[*kmsg.OffsetFetchResponse](t, c, v, offsetsOf(v, id))
				switch {
				case v == 1:
					if p := resp.Topics[0].Partitions; len(p) != 2 || p[0].ErrorCode != tt.want || p[0].Offset != -1 || p[1].ErrorCode != tt.want {
						t.Errorf("%+v", resp)
					}
				case v < 8:
					if resp.ErrorCode != tt.want || len(resp.Topics) != 0 {
						t.Errorf("version %d: %+v", v, resp)
					}
				default:
					for _, g := range resp.Groups {
						if g.ErrorCode != tt.want || len(g.Topics) != 0 {
							t.Errorf("version %d: %+v", v, g)
						}
					}
				}
			}
		}
		f.fails, f.refuses = nil, nil
		f.says = group.FetchAnswer{Topics: []group.FetchedTopic{{Offsets: []group.FetchedOffset{{Offset: -1, Err: karst.Unknown.Err()}}}}}
		if r := call[*kmsg.OffsetFetchResponse](t, c, 7, offsetsOf(7, id)); r.Topics[0].Partitions[0].ErrorCode != -1 || r.ErrorCode != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestOffsetDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, f, c := groupHarness(t, Config{})
		h.topic(t, "orders", 2)
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = "g"
		req.Topics = []kmsg.OffsetDeleteRequestTopic{
			{Topic: "nowhere", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}},
			{Topic: "orders", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 1}, {Partition: 2}, {Partition: 0}}},
		}
		f.says = group.DeleteOffsetsAnswer{Errs: []error{karst.GroupSubscribed.Err(), nil}}
		resp := call[*kmsg.OffsetDeleteResponse](t, c, 0, req)
		p := resp.Topics[1].Partitions
		if resp.ErrorCode != 0 || resp.Topics[0].Partitions[0].ErrorCode != 3 || p[0].ErrorCode != 86 || p[1].ErrorCode != 3 || p[2].ErrorCode != 0 || p[2].Partition != 0 {
			t.Errorf("%+v", resp)
		}
		want := group.DeleteOffsetsRequest{Group: "g", Offsets: []group.PartitionRef{{Topic: "orders", Partition: 1}, {Topic: "orders", Partition: 0}}}
		if d := cmp.Diff(want, f.last()); d != "" {
			t.Error(d)
		}
		f.says = group.DeleteOffsetsAnswer{Err: karst.GroupNotFound.Err()}
		if r := call[*kmsg.OffsetDeleteResponse](t, c, 0, req); r.ErrorCode != 69 || len(r.Topics) != 0 {
			t.Errorf("%+v", r)
		}
		req.Group = ""
		if r := call[*kmsg.OffsetDeleteResponse](t, c, 0, req); r.ErrorCode != 24 {
			t.Errorf("%+v", r)
		}
	})
}
