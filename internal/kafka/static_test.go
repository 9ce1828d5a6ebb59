package kafka

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/metadata"
)

// told writes a value that a test compares: pointers are what they point to.
func told(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// page asks for a page of topics and writes the answer in one line.
func (h *harness) page(t *testing.T, limit int32, cursor *kmsg.DescribeTopicPartitionsRequestCursor, names ...string) string {
	t.Helper()
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	for _, n := range names {
		req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: n})
	}
	req.ResponsePartitionLimit, req.Cursor = limit, cursor
	resp := call[*kmsg.DescribeTopicPartitionsResponse](t, h.dial(t), 0, req)
	var b strings.Builder
	for _, dt := range resp.Topics {
		b.WriteString(*dt.Topic)
		if dt.ErrorCode != 0 {
			fmt.Fprintf(&b, "!%d", dt.ErrorCode)
		}
		for _, p := range dt.Partitions {
			fmt.Fprintf(&b, " %d", p.Partition)
		}
		b.WriteString("; ")
	}
	if resp.NextCursor != nil {
		fmt.Fprintf(&b, "next %s %d", resp.NextCursor.Topic, resp.NextCursor.Partition)
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// Topics come sorted, each once, up to the limit, and the cursor goes on from
// there (trap 32). What is expected here is what Kafka 4.3 answered.
func TestDescribeTopicPartitionsPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		for _, name := range []string{"t", "alpha", "m"} {
			h.topic(t, name, map[string]int{"t": 3, "alpha": 2, "m": 1}[name])
		}
		at := func(topic string, n int32) *kmsg.DescribeTopicPartitionsRequestCursor {
			return &kmsg.DescribeTopicPartitionsRequestCursor{Topic: topic, Partition: n}
		}
		for _, c := range []struct {
			limit  int32
			cursor *kmsg.DescribeTopicPartitionsRequestCursor
			names  []string
			want   string
		}{
			{2000, nil, nil, "alpha 0 1; m 0; t 0 1 2"},
			{2000, nil, []string{"t", "nope", "alpha", "a/b", "t"}, "a/b!17; alpha 0 1; nope!3; t 0 1 2"},
			{2, nil, nil, "alpha 0 1; next m 0"},
			{0, nil, nil, "alpha 0; next alpha 1"},
			{-5, nil, nil, "alpha 0; next alpha 1"},
			{3, at("t", 1), nil, "t 1 2"},
			{2, at("m", 0), nil, "m 0; t 0; next t 1"},
			{3, at("n", 1), nil, "t 0 1 2"}, // a topic that has gone since
			{2, nil, []string{"alpha", "nope", "t"}, "alpha 0 1; next nope 0"},
			{3, nil, []string{"alpha", "nope", "t"}, "alpha 0 1; nope!3; t 0; next t 1"},
			{30, at("t", 7), []string{"t"}, "t"}, // partitions that have gone since
			{30, at("nope", 0), []string{"nope"}, "nope!3"},
			{30, at("m", 0), []string{"alpha", "t"}, "alpha!42; t!42"},
			{30, at("t", -1), []string{"t"}, "t!42"},
			{30, at("t", -1), nil, ""},
		} {
			if got := h.page(t, c.limit, c.cursor, c.names...); got != c.want {
				t.Errorf("limit %d, cursor %+v, topics %v:\n%s, want\n%s", c.limit, c.cursor, c.names, got, c.want)
			}
		}
	})
}

// A page has 2,000 partitions at most, and pages put together are everything.
func TestDescribeTopicPartitionsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		h.topic(t, "large", 4500)
		h.topic(t, "tail", 1)
		var n, pages int
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = 1 << 30
		for c := h.dial(t); ; pages++ {
			resp := call[*kmsg.DescribeTopicPartitionsResponse](t, c, 0, req)
			got := 0
			for _, dt := range resp.Topics {
				got += len(dt.Partitions)
			}
			if n += got; got > partitionsPerPage {
				t.Fatalf("%d partitions in a page", got)
			}
			if resp.NextCursor == nil {
				break
			}
			req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition}
		}
		if n != 4501 || pages != 2 {
			t.Errorf("%d partitions after %d pages that were not the last", n, pages)
		}
	})
}

// Metadata and DescribeTopicPartitions show the same replicas: those assigned, as
// many as the factor and the brokers allow, all in sync.
func TestReplicaFiction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil) // brokers 0, 1 and 2
		create := func(id byte, name string, factor int16, leader karst.Incarnation, replicas ...karst.BrokerID) {
			h.cluster.must(t, &metadata.CreateTopic{
				ID: karst.TopicID{id}, Name: name, ReplicationFactor: factor,
				Partitions: []metadata.NewPartition{{Leader: leader, Replicas: replicas}},
			})
		}
		create(1, "one", 1, 2, 1)
		create(2, "three", 3, 2, 1)
		create(3, "nine", 9, 3, 0, 1, 2)
		create(4, "manual", 3, 3, 2, 0, 1)
		check := func(name, want string) {
			t.Helper()
			c := h.dial(t)
			m := call[*kmsg.MetadataResponse](t, c, 13, ask(name)).Topics[0].Partitions[0]
			req := kmsg.NewPtrDescribeTopicPartitionsRequest()
			req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: name}}
			d := call[*kmsg.DescribeTopicPartitionsResponse](t, c, 0, req).Topics[0].Partitions[0]
			got := fmt.Sprint(m.Leader, m.Replicas, m.ISR, m.OfflineReplicas)
			if also := fmt.Sprint(d.LeaderID, d.Replicas, d.ISR, d.OfflineReplicas); got != also {
				t.Errorf("%s: Metadata has %s, DescribeTopicPartitions %s", name, got, also)
			}
			if got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
			if d.EligibleLeaderReplicas == nil || len(d.EligibleLeaderReplicas)+len(d.LastKnownELR) != 0 || d.ErrorCode != 0 {
				t.Errorf("%s: %+v", name, d)
			}
		}
		check("one", "1 [1] [1] []")
		check("three", "1 [1 2 0] [1 2 0] []")
		check("nine", "2 [0 1 2] [0 1 2] []")
		check("manual", "2 [2 0 1] [2 0 1] []")
		h.cluster.must(t, &metadata.FenceIncarnation{Incarnation: 1}) // broker 0
		check("three", "1 [1 2] [1 2] []")
		check("manual", "2 [2 1] [2 1] []")
		check("nine", "2 [1 2] [1 2] []")
		h.cluster.must(t, &metadata.FenceIncarnation{Incarnation: 2})
		check("three", "-1 [1] [1] [1]")
	})
}

func TestLogDirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const dir = "s3://bucket/prefix"
		h := start(t, Config{Broker: 1, LogDir: dir}, nil)
		log := h.deps.Data.(*fakeLog)
		led := h.topic(t, "b", 6) // 1 and 4 are led by broker 1
		h.topic(t, "aa", 2)
		log.put(karst.TopicPartition{Topic: led, Partition: 4}, 3)
		size, _ := log.Size(karst.TopicPartition{Topic: led, Partition: 4})
		gone := karst.TopicPartition{Topic: led, Partition: 2}
		log.fail[gone] = karst.NotLeader.Err()
		c := h.dial(t)
		describe := func(version int16, topics []kmsg.DescribeLogDirsRequestTopic) kmsg.DescribeLogDirsResponseDir {
			t.Helper()
			req := kmsg.NewPtrDescribeLogDirsRequest()
			req.Topics = topics
			resp := call[*kmsg.DescribeLogDirsResponse](t, c, version, req)
			if len(resp.Dirs) != 1 || resp.Dirs[0].Dir != dir || resp.Dirs[0].TotalBytes != -1 || resp.Dirs[0].UsableBytes != -1 {
				t.Fatalf("version %d: %+v", version, resp)
			}
			return resp.Dirs[0]
		}
		for v := int16(1); v <= 5; v++ {
			got := describe(v, nil).Topics
			if len(got) != 2 || got[0].Topic != "aa" || got[1].Topic != "b" || len(got[1].Partitions) != 2 ||
				got[1].Partitions[0].Partition != 1 || got[1].Partitions[0].Size != 0 || got[1].Partitions[1].Size != size {
				t.Errorf("version %d, all: %+v", v, got)
			}
		}
		if got := describe(4, []kmsg.DescribeLogDirsRequestTopic{}).Topics; len(got) != 0 {
			t.Errorf("no topics: %+v", got)
		}
		got := describe(4, []kmsg.DescribeLogDirsRequestTopic{{Topic: "b", Partitions: []int32{4, 2, 99, -1, 4, 1}}, {Topic: "nope", Partitions: []int32{0}}}).Topics
		if len(got) != 1 || len(got[0].Partitions) != 2 || got[0].Partitions[1].Partition != 4 || got[0].Partitions[1].Size != size {
			t.Errorf("some: %+v", got)
		}

		move := kmsg.NewPtrAlterReplicaLogDirsRequest()
		for _, d := range []string{dir, "/var/lib/kafka"} {
			move.Dirs = append(move.Dirs, kmsg.AlterReplicaLogDirsRequestDir{Dir: d, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{
				{Topic: "b", Partitions: []int32{1, 2, 9}}, {Topic: "nope", Partitions: []int32{0}},
			}})
		}
		resp := call[*kmsg.AlterReplicaLogDirsResponse](t, c, 2, move)
		var codes []int16
		for _, at := range resp.Topics {
			for _, p := range at.Partitions {
				codes = append(codes, p.ErrorCode)
			}
		}
		if len(resp.Topics) != 2 || !slices.Equal(codes, []int16{0, 9, 3, 57, 57, 57, 3, 57}) {
			t.Errorf("moves: errors %v of %+v", codes, resp.Topics)
		}
	})
}

func TestDescribeProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		log := h.deps.Data.(*fakeLog)
		id := h.topic(t, "t", 3)
		log.with(karst.TopicPartition{Topic: id}, func(p *fakePartition) {
			p.producers = []engine.ProducerState{{ID: 7, Epoch: 2, LastSequence: 11, LastSeen: 1234}, {ID: 9, LastSequence: -1}}
		})
		log.fail[karst.TopicPartition{Topic: id, Partition: 1}] = karst.NotLeader.Errorf("not here")
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = []kmsg.DescribeProducersRequestTopic{
			{Topic: "t", Partitions: []int32{0, 1, 2, 9, -1}}, {Topic: "nope", Partitions: []int32{0}}, {Topic: "a/b", Partitions: []int32{0}},
		}
		resp := call[*kmsg.DescribeProducersResponse](t, h.dial(t), 0, req)
		var got []string
		for _, dt := range resp.Topics {
			for _, p := range dt.Partitions {
				got = append(got, fmt.Sprintf("%s %d: %d %s", dt.Topic, p.Partition, p.ErrorCode, told(p.ErrorMessage)))
			}
		}
		want := []string{
			"t 0: 0 null", "t 1: 6 not here", "t 2: 0 null", "t 9: 3 null", "t -1: 3 null",
			"nope 0: 3 This server does not host this topic-partition.",
			"a/b 0: 17 " + checkTopicName("a/b").Message,
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		p := resp.Topics[0].Partitions[0].ActiveProducers
		if len(p) != 2 || p[0].ProducerID != 7 || p[0].ProducerEpoch != 2 || p[0].LastSequence != 11 || p[0].LastTimestamp != 1234 ||
			p[0].CoordinatorEpoch != -1 || p[0].CurrentTxnStartOffset != -1 || p[1].LastSequence != -1 {
			t.Errorf("producers %+v", p)
		}
	})
}

// A small request cannot ask for a large answer by naming a partition often.
func TestDescribeProducersIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		id := h.topic(t, "t", 1)
		h.deps.Data.(*fakeLog).with(karst.TopicPartition{Topic: id}, func(p *fakePartition) {
			p.producers = make([]engine.ProducerState, producersPerAnswer/2+1)
		})
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: make([]int32, 2)}}
		c := h.dial(t)
		write(t, c, encoded(1, req))
		closed(t, c)
	})
}

func TestElectLeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		h.topic(t, "t", 3)
		h.topic(t, "alone", 1)
		h.cluster.must(t, &metadata.FenceIncarnation{Incarnation: 3}) // led partition 2 of t
		c := h.dial(t)
		elect := func(version int16, kind int8, topics []kmsg.ElectLeadersRequestTopic) (int16, string) {
			t.Helper()
			req := kmsg.NewPtrElectLeadersRequest()
			req.ElectionType, req.Topics = kind, topics
			resp := call[*kmsg.ElectLeadersResponse](t, c, version, req)
			var got []string
			for _, et := range resp.Topics {
				s := et.Topic
				for _, p := range et.Partitions {
					s += fmt.Sprintf(" %d:%d", p.Partition, p.ErrorCode)
				}
				got = append(got, s)
			}
			return resp.ErrorCode, strings.Join(got, "; ")
		}
		some := []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0, 2, 9}}, {Topic: "nope", Partitions: []int32{0}}}
		for _, c := range []struct {
			version int16
			kind    int8
			topics  []kmsg.ElectLeadersRequestTopic
			code    int16
			want    string
		}{
			{0, 7, some, 0, "t 0:84 2:80 9:3; nope 0:3"}, // version 0 knows no types
			{1, 0, some, 0, "t 0:84 2:80 9:3; nope 0:3"},
			{2, 1, some, 0, "t 0:84 2:83 9:3; nope 0:3"},
			{2, 5, some, 42, "t 0:42 2:42 9:42; nope 0:42"},
			{2, 0, nil, 0, "alone; t 2:80"},
			{2, 5, nil, 42, ""},
		} {
			if code, got := elect(c.version, c.kind, c.topics); code != c.code || got != c.want {
				t.Errorf("version %d, type %d: error %d, %s; want %d, %s", c.version, c.kind, code, got, c.code, c.want)
			}
		}
	})
}

func TestReassignments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		h.topic(t, "t", 3)
		c := h.dial(t)
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		for i, replicas := range [][]int32{{0}, nil, {}, {7}, {0, 0}, {1}, {-2}, {0, 1}} {
			at := kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: 0, Replicas: replicas}
			if i == 0 {
				req.Topics = append(req.Topics, kmsg.AlterPartitionAssignmentsRequestTopic{Topic: "nope", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{at}})
				req.Topics = append(req.Topics, kmsg.AlterPartitionAssignmentsRequestTopic{Topic: "t"})
			}
			req.Topics[1].Partitions = append(req.Topics[1].Partitions, at)
		}
		req.Topics[1].Partitions = append(req.Topics[1].Partitions, kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: 9, Replicas: []int32{0}})
		for v := range int16(2) {
			resp := call[*kmsg.AlterPartitionAssignmentsResponse](t, c, v, req)
			var codes []int16
			for _, at := range resp.Topics {
				for _, p := range at.Partitions {
					codes = append(codes, p.ErrorCode)
				}
			}
			if !slices.Equal(codes, []int16{3, 0, 85, 39, 39, 39, 0, 39, 0, 3}) || !resp.AllowReplicationFactorChange {
				t.Errorf("version %d: %+v", v, resp)
			}
		}
		list := kmsg.NewPtrListPartitionReassignmentsRequest()
		list.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "t", Partitions: []int32{0}}}
		if resp := call[*kmsg.ListPartitionReassignmentsResponse](t, c, 0, list); resp.ErrorCode != 0 || len(resp.Topics) != 0 {
			t.Errorf("reassignments %+v", resp)
		}
	})
}

func TestDescribeQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{Broker: 1}, nil)
		c := h.dial(t)
		req := kmsg.NewPtrDescribeQuorumRequest()
		req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		for v := range int16(3) {
			resp := call[*kmsg.DescribeQuorumResponse](t, c, v, req)
			p := resp.Topics[0].Partitions[0]
			end := int64(h.cluster.Image().Position().Number)
			if p.ErrorCode != 0 || p.LeaderID != 1 || p.LeaderEpoch != 1 || p.HighWatermark != end || len(p.CurrentVoters) != 1 || p.CurrentVoters[0].LogEndOffset != end {
				t.Errorf("version %d: %+v", v, p)
			}
			if v == 2 && (len(resp.Nodes) != 1 || resp.Nodes[0].NodeID != 1 || resp.Nodes[0].Listeners[0].Port != 9093) {
				t.Errorf("nodes %+v", resp.Nodes)
			}
		}
		// Anything beside the metadata log spoils the whole, as in Kafka.
		req.Topics = append(req.Topics, kmsg.DescribeQuorumRequestTopic{Topic: "t", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}})
		resp := call[*kmsg.DescribeQuorumResponse](t, c, 2, req)
		if len(resp.Topics) != 2 || resp.Topics[0].Partitions[0].ErrorCode != 3 || resp.Topics[1].Partitions[0].ErrorCode != 3 {
			t.Errorf("two topics: %+v", resp)
		}
	})
}

func TestUpdateFeatures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		for _, f := range []struct {
			name  string
			level int16
			kind  int8
			code  int16
		}{
			{"metadata.version", 30, upgrade, 0},
			{"metadata.version", 30, safeDowngrade, 0},
			{"metadata.version", 31, upgrade, 95},
			{"metadata.version", 20, upgrade, 95},
			{"metadata.version", 28, safeDowngrade, 95},
			{"metadata.version", 28, unsafeDowngrade, 95},
			{"metadata.version", 0, safeDowngrade, 95},
			{"metadata.version", 30, 0, 95},
			{"metadata.version", 30, 4, 95},
			{"metadata.version", -1, upgrade, 95},
			{"group.version", 1, upgrade, 95},
			{"nope", 0, unsafeDowngrade, 95},
		} {
			for v := range int16(3) {
				req := kmsg.NewPtrUpdateFeaturesRequest()
				req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{
					{Feature: "metadata.version", MaxVersionLevel: 30, UpgradeType: upgrade},
					{Feature: f.name, MaxVersionLevel: f.level, UpgradeType: f.kind, AllowDowngrade: f.kind != upgrade},
				}
				code := f.code
				if v == 0 && f.level == 30 {
					code = 0 // it has no types
				}
				resp := call[*kmsg.UpdateFeaturesResponse](t, c, v, req)
				if resp.ErrorCode != code || (resp.ErrorMessage != nil) != (code != 0) || (len(resp.Results) == 2) != (code == 0 && v < 2) {
					t.Errorf("version %d, %+v: %+v %s", v, f, resp, told(resp.ErrorMessage))
				}
			}
		}
	})
}

// Features that may be off are told from version 4 on, and those that are off are
// never finalized (trap 7).
func TestFeatureLists(t *testing.T) {
	all := []feature{{name: "new", max: 1}, {name: "on", max: 2, level: 2}, {name: "old", min: 7, max: 30, level: 25}}
	names := func(version int16) (got []string) {
		for _, f := range supported(all, version) {
			got = append(got, f.Name)
		}
		return got
	}
	if got := names(3); !slices.Equal(got, []string{"old"}) {
		t.Errorf("version 3 is told of %v", got)
	}
	if got := names(4); len(got) != 3 {
		t.Errorf("version 4 is told of %v", got)
	}
	if got := finalized(all); len(got) != 2 || got[0].Name != "on" || got[1].MinVersionLevel != 25 || got[1].MaxVersionLevel != 25 {
		t.Errorf("finalized %+v", got)
	}
}

func TestUnregisterBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		h.cluster.must(t, // brokers 1 and 2
			&metadata.FenceIncarnation{Incarnation: 2}, &metadata.CommitRequest{Incarnation: 2, Adopt: true, WALEnd: 1},
			&metadata.FenceIncarnation{Incarnation: 3})
		c := h.dial(t)
		for id, want := range map[int32]int16{0: 42, 1: 0, 2: 42, 77: 102, -1: 102} {
			req := kmsg.NewPtrUnregisterBrokerRequest()
			req.BrokerID = id
			if resp := call[*kmsg.UnregisterBrokerResponse](t, c, 0, req); resp.ErrorCode != want || (resp.ErrorMessage == nil) != (want == 0) {
				t.Errorf("broker %d: error %d %s, want %d", id, resp.ErrorCode, told(resp.ErrorMessage), want)
			}
		}
	})
}
