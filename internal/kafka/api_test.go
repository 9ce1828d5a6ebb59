package kafka

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// Every version of every API about the cluster answers what its version encodes,
// to an empty request and to one that says anything.
func TestEveryVersionAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		for _, a := range slices.Concat(controlAPIs(), staticAPIs()) {
			for v := a.Min; v <= a.Max; v++ {
				req := kmsg.RequestForKey(a.Key)
				switch req := req.(type) {
				case *kmsg.ApiVersionsRequest:
					req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1"
				case *kmsg.DescribeACLsRequest:
					req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType = 1, 1, 1, 1
				}
				call[kmsg.Response](t, c, v, req)
			}
		}
		rnd := rand.New(rand.NewPCG(3, 4))
		for _, a := range staticAPIs() {
			for v := a.Min; v <= a.Max && (a.Key < 29 || a.Key > 31); v++ { // ACLs may close the connection
				for range 10 {
					req := kmsg.RequestForKey(a.Key)
					randomize(rnd, reflect.ValueOf(req).Elem())
					call[kmsg.Response](t, c, v, req)
				}
			}
		}
	})
}

func TestApiVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "apache-kafka-java", "4.3.0"
		resp := call[*kmsg.ApiVersionsResponse](t, c, 4, req)
		got := map[int16][2]int16{}
		for i, k := range resp.ApiKeys {
			got[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
			if i > 0 && k.ApiKey <= resp.ApiKeys[i-1].ApiKey {
				t.Error("keys are not sorted")
			}
		}
		for key, want := range map[int16][2]int16{
			0: {0, 13}, 1: {4, 18}, 2: {1, 11}, 3: {0, 13}, 18: {0, 4}, 19: {2, 7}, 20: {1, 6}, 21: {0, 2}, 22: {0, 5}, 23: {2, 4}, 37: {0, 3}, 60: {0, 2},
			17: {0, 1}, 29: {1, 3}, 30: {1, 3}, 31: {1, 3}, 34: {1, 2}, 35: {1, 5}, 36: {0, 2}, 38: {1, 3}, 39: {1, 2}, 40: {1, 2}, 41: {1, 3},
			43: {0, 2}, 45: {0, 1}, 46: {0, 0}, 48: {0, 1}, 49: {0, 1}, 50: {0, 0}, 51: {0, 0}, 55: {0, 2}, 57: {0, 2}, 61: {0, 0}, 64: {0, 0},
			65: {0, 0}, 66: {0, 2}, 75: {0, 0},
			8: {2, 10}, 9: {1, 10}, 10: {0, 6}, 11: {0, 9}, 12: {0, 4}, 13: {0, 5}, 14: {0, 5}, 15: {0, 6}, 16: {0, 5}, 42: {0, 2}, 47: {0, 0},
		} {
			if got[key] != want {
				t.Errorf("key %d: versions %v, want %v", key, got[key], want)
			}
		}
		if len(got) != len(APIs()) || resp.FinalizedFeaturesEpoch < 0 || len(resp.FinalizedFeatures) != 1 {
			t.Errorf("%d keys, features %+v at epoch %d", len(got), resp.FinalizedFeatures, resp.FinalizedFeaturesEpoch)
		}

		req.ClientSoftwareName = "-bad"
		if resp := call[*kmsg.ApiVersionsResponse](t, c, 3, req); resp.ErrorCode != 42 {
			t.Errorf("bad software name: error %d", resp.ErrorCode)
		}
	})
}

// A version above ours is answered in version 0, with our range.
func TestApiVersionsDowngrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		for _, version := range []byte{5, 99} {
			write(t, c, []byte{0, 0, 0, 11, 0, 18, 0, version, 0, 0, 0, 3, 0xff, 0xff, 0})
			correlation, b, err := readResponse(c)
			if err != nil || correlation != 3 {
				t.Fatal(correlation, err)
			}
			req := kmsg.NewPtrApiVersionsRequest()
			resp := decoded[*kmsg.ApiVersionsResponse](t, req, b)
			if resp.ErrorCode != 35 || len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion != 4 {
				t.Errorf("version %d: %+v", version, resp)
			}
		}
	})
}

func TestSoftwareName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "librdkafka": true, "a-b.c": true, "2.15.0-rc1": true,
		"": false, "-a": false, "a.": false, "a b": false, "é": false, "a_b": false, "-": false,
	} {
		if softwareName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// ask asks for the metadata of named topics; all topics if there are no names.
func ask(names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	for _, n := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = new(n)
		req.Topics = append(req.Topics, t)
	}
	return req
}

func (h *harness) topic(t *testing.T, name string, partitions int) karst.TopicID {
	t.Helper()
	id := karst.TopicID{0xbb, byte(len(name)), name[0]}
	h.cluster.must(t, &metadata.CreateTopic{ID: id, Name: name, ReplicationFactor: 1, Partitions: h.cluster.newPartitions(partitions, nil)})
	return id
}

func TestMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		id := h.topic(t, "orders", 3)
		h.topic(t, "audit", 1)

		resp := call[*kmsg.MetadataResponse](t, c, 12, ask())
		if len(resp.Brokers) != 3 || *resp.Brokers[1].Rack != "zone" || *resp.ClusterID != "AQIDAAAAAAAAAAAAAAAAAA" {
			t.Errorf("brokers %+v of %s", resp.Brokers, *resp.ClusterID)
		}
		if resp.ControllerID < 0 || resp.ControllerID > 2 || resp.AuthorizedOperations != math.MinInt32 {
			t.Errorf("controller %d, operations %d", resp.ControllerID, resp.AuthorizedOperations)
		}
		if len(resp.Topics) != 2 || *resp.Topics[0].Topic != "audit" || resp.Topics[1].TopicID != id || len(resp.Topics[1].Partitions) != 3 {
			t.Errorf("topics %+v", resp.Topics)
		}
		for i, p := range resp.Topics[1].Partitions {
			if p.Partition != int32(i) || p.Leader != int32(i) || p.ErrorCode != 0 || len(p.ISR) != 1 || len(p.OfflineReplicas) != 0 {
				t.Errorf("partition %+v", p)
			}
		}

		// By version: empty is all in version 0 and none later.
		none := kmsg.NewPtrMetadataRequest()
		none.Topics = []kmsg.MetadataRequestTopic{}
		if resp := call[*kmsg.MetadataResponse](t, c, 1, none); len(resp.Topics) != 0 {
			t.Errorf("asked for no topics, got %d", len(resp.Topics))
		}
		if resp := call[*kmsg.MetadataResponse](t, c, 0, none); len(resp.Topics) != 2 {
			t.Errorf("version 0 asked for all topics, got %d", len(resp.Topics))
		}

		// By id, a dead id, an unknown name, a bad name, one name twice.
		req := ask("orders", "missing", "a/b", "orders")
		for _, id := range [][16]byte{id, {9}} {
			mt := kmsg.NewMetadataRequestTopic()
			mt.TopicID = id
			req.Topics = append(req.Topics, mt)
		}
		resp = call[*kmsg.MetadataResponse](t, c, 13, req)
		var errs []int16
		for _, mt := range resp.Topics {
			errs = append(errs, mt.ErrorCode)
		}
		if want := []int16{0, 3, 17, 0, 100}; len(errs) != 5 || [5]int16(errs) != [5]int16(want) {
			t.Errorf("errors %v, want %v", errs, want)
		}
		// Ids are refused where they cannot be used yet.
		if resp := call[*kmsg.MetadataResponse](t, c, 11, req); resp.Topics[0].ErrorCode != 42 {
			t.Errorf("version 11 with ids: error %d", resp.Topics[0].ErrorCode)
		}
	})
}

func TestMetadataOfDeadLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		h.topic(t, "orders", 3)
		h.cluster.must(t, &metadata.FenceIncarnation{Incarnation: 2})
		c := h.dial(t)
		p := call[*kmsg.MetadataResponse](t, c, 9, ask("orders")).Topics[0].Partitions[1]
		if p.Leader != -1 || p.ErrorCode != 5 || len(p.OfflineReplicas) != 1 || len(p.ISR) != len(p.Replicas) {
			t.Errorf("partition of a dead leader: %+v", p)
		}
		req := kmsg.NewPtrDescribeClusterRequest()
		req.IncludeFencedBrokers, req.EndpointType = true, 1
		if resp := call[*kmsg.DescribeClusterResponse](t, c, 2, req); len(resp.Brokers) != 3 || !resp.Brokers[2].IsFenced || resp.Brokers[2].NodeID != 1 {
			t.Errorf("brokers %+v", resp.Brokers)
		}
		req.EndpointType = 2
		if resp := call[*kmsg.DescribeClusterResponse](t, c, 1, req); resp.ErrorCode != 114 {
			t.Errorf("asked for controllers: error %d", resp.ErrorCode)
		}
	})
}

func TestAutoCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{AutoCreateTopics: true}, nil)
		h.cluster.hold = make(chan struct{})
		h.topic(t, "a.b", 1)
		c := h.dial(t)
		allowed := ask("new", "a_b")
		allowed.AllowAutoTopicCreation = true
		for range 3 { // one creation for all who ask
			resp := call[*kmsg.MetadataResponse](t, c, 12, allowed)
			if resp.Topics[0].ErrorCode != 3 || resp.Topics[1].ErrorCode != 17 {
				t.Errorf("errors %d, %d", resp.Topics[0].ErrorCode, resp.Topics[1].ErrorCode)
			}
		}
		call[*kmsg.MetadataResponse](t, c, 12, ask("forbidden"))
		call[*kmsg.MetadataResponse](t, c, 12, ask())
		close(h.cluster.hold)
		synctest.Wait()
		if resp := call[*kmsg.MetadataResponse](t, c, 12, allowed); resp.Topics[0].ErrorCode != 0 {
			t.Errorf("after creation: error %d", resp.Topics[0].ErrorCode)
		}
		if h.cluster.creates != 1 {
			t.Errorf("%d creations", h.cluster.creates)
		}
		// Old versions always allow it.
		call[*kmsg.MetadataResponse](t, c, 1, ask("old"))
		synctest.Wait()
		if _, ok := h.cluster.Image().Topic("old"); !ok {
			t.Error("version 1 did not create")
		}
	})
}

func wanted(name string, partitions int32, factor int16) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, factor
	return t
}

func TestCreateTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		config := func(ct kmsg.CreateTopicsRequestTopic, name string, value *string) kmsg.CreateTopicsRequestTopic {
			cc := kmsg.NewCreateTopicsRequestTopicConfig()
			cc.Name, cc.Value = name, value
			ct.Configs = append(ct.Configs, cc)
			return ct
		}
		assign := func(ct kmsg.CreateTopicsRequestTopic, partitions ...int32) kmsg.CreateTopicsRequestTopic {
			for _, p := range partitions {
				a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
				a.Partition, a.Replicas = p, []int32{2, 1}
				ct.ReplicaAssignment = append(ct.ReplicaAssignment, a)
			}
			return ct
		}
		h.topic(t, "exists", 1)
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = 1000
		req.Topics = []kmsg.CreateTopicsRequestTopic{
			config(wanted("good", 2, 3), "retention.ms", new("5")),
			assign(wanted("assigned", -1, -1), 1, 0),
			wanted("defaults", -1, -1),
			wanted("exists", 1, 1),
			wanted("twice", 1, 1), wanted("twice", 1, 1),
			wanted("bad/name", 1, 1),
			wanted("zero", 0, 1), wanted("minus", -2, 1), wanted("factor", 1, 0),
			config(wanted("config", 1, 1), "no.such.config", new("1")),
			config(wanted("null", 1, 1), "retention.ms", nil),
			assign(wanted("both", 1, -1), 0),
			assign(wanted("gap", -1, -1), 0, 2),
			assign(wanted("again", -1, -1), 0, 0),
			wanted("huge", 10_001, 1),
		}
		want := map[string]int16{
			"good": 0, "assigned": 0, "defaults": 0, "exists": 36, "twice": 42, "bad/name": 17, "zero": 37, "minus": 37, "factor": 38,
			"config": 40, "null": 40, "both": 42, "gap": 39, "again": 39, "huge": 44,
		}
		resp := call[*kmsg.CreateTopicsResponse](t, c, 7, req)
		got := map[string]kmsg.CreateTopicsResponseTopic{}
		for _, rt := range resp.Topics {
			got[rt.Topic] = rt
			if rt.ErrorCode != want[rt.Topic] || (rt.ErrorCode != 0) != (rt.ErrorMessage != nil) {
				t.Errorf("%s: error %d, want %d", rt.Topic, rt.ErrorCode, want[rt.Topic])
			}
		}
		if len(resp.Topics) != len(want) {
			t.Errorf("%d answers, want %d", len(resp.Topics), len(want))
		}
		good := got["good"]
		if good.NumPartitions != 2 || good.ReplicationFactor != 3 || good.TopicID == [16]byte{} {
			t.Errorf("good: %+v", good)
		}
		for _, cc := range good.Configs {
			if cc.Name == "retention.ms" && (*cc.Value != "5" || cc.Source != 1) || cc.Name == "segment.bytes" && (*cc.Value != "1073741824" || cc.Source != 5) {
				t.Errorf("config %s = %s from %d", cc.Name, *cc.Value, cc.Source)
			}
		}
		if len(good.Configs) < 25 {
			t.Errorf("only %d configs", len(good.Configs))
		}

		req.Topics, req.ValidateOnly = []kmsg.CreateTopicsRequestTopic{wanted("dry", 4, 1)}, true
		if rt := call[*kmsg.CreateTopicsResponse](t, c, 5, req).Topics[0]; rt.ErrorCode != 0 || rt.NumPartitions != 4 {
			t.Errorf("validateOnly: %+v", rt)
		}
		if _, ok := h.cluster.Image().Topic("dry"); ok {
			t.Error("validateOnly created a topic")
		}
	})
}

// A change that does not come through in time is REQUEST_TIMED_OUT.
func TestCreateTopicsTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		h.cluster.hold = make(chan struct{})
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = 10_000
		req.Topics = []kmsg.CreateTopicsRequestTopic{wanted("a", 1, 1), wanted("b", 1, 1)}
		begin := time.Now()
		resp := call[*kmsg.CreateTopicsResponse](t, h.dial(t), 7, req)
		if resp.Topics[0].ErrorCode != 7 || resp.Topics[1].ErrorCode != 7 || time.Since(begin) != 10*time.Second {
			t.Errorf("%+v after %v", resp.Topics, time.Since(begin))
		}
	})
}

func TestDeleteTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{DeleteTopics: true}, nil)
		c := h.dial(t)
		id := h.topic(t, "by-id", 1)
		h.topic(t, "name", 1)
		h.topic(t, "repeated-topic", 1)
		topic := func(name string, id karst.TopicID) kmsg.DeleteTopicsRequestTopic {
			dt := kmsg.NewDeleteTopicsRequestTopic()
			if dt.TopicID = id; name != "" {
				dt.Topic = &name
			}
			return dt
		}
		none := karst.TopicID{}
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Topics = []kmsg.DeleteTopicsRequestTopic{
			topic("", id), topic("name", none), topic("missing", none), topic("", karst.TopicID{1}), topic("name", id), topic("", none),
			topic("repeated-topic", none), topic("repeated-topic", none),
		}
		resp := call[*kmsg.DeleteTopicsResponse](t, c, 6, req)
		if last := len(resp.Topics) - 1; last != 6 || resp.Topics[last].TopicID != none {
			t.Errorf("a topic given twice is not answered once, by its name: %+v", resp.Topics)
		}
		for i, want := range []int16{0, 0, 3, 100, 42, 42, 42} {
			if got := resp.Topics[i].ErrorCode; got != want {
				t.Errorf("topic %d: error %d, want %d", i, got, want)
			}
		}
		if *resp.Topics[0].Topic != "by-id" || resp.Topics[1].TopicID == none {
			t.Error("name and id are not both answered")
		}
		old := kmsg.NewPtrDeleteTopicsRequest()
		old.TopicNames = []string{"repeated-topic", "gone"}
		if resp := call[*kmsg.DeleteTopicsResponse](t, c, 3, old); resp.Topics[0].ErrorCode != 0 || resp.Topics[1].ErrorCode != 3 {
			t.Errorf("version 3: %+v", resp.Topics)
		}
		if resp := call[*kmsg.MetadataResponse](t, c, 12, ask("name")); resp.Topics[0].ErrorCode != 3 {
			t.Error("a deleted topic is still shown")
		}
	})
}

func TestTopicDeletionDisabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		h.topic(t, "kept", 1)
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TopicNames = []string{"kept"}
		if resp := call[*kmsg.DeleteTopicsResponse](t, h.dial(t), 5, req); resp.Topics[0].ErrorCode != 73 {
			t.Errorf("error %d", resp.Topics[0].ErrorCode)
		}
	})
}

func TestCreatePartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		for _, n := range []string{"equal", "fewer", "grows", "assigned", "miscounted"} {
			h.topic(t, n, 2)
		}
		topic := func(name string, count int32, replicas ...[]int32) kmsg.CreatePartitionsRequestTopic {
			ct := kmsg.NewCreatePartitionsRequestTopic()
			ct.Topic, ct.Count = name, count
			for _, r := range replicas {
				a := kmsg.NewCreatePartitionsRequestTopicAssignment()
				a.Replicas = r
				ct.Assignment = append(ct.Assignment, a)
			}
			return ct
		}
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.Topics = []kmsg.CreatePartitionsRequestTopic{
			topic("equal", 2), topic("fewer", 1), topic("grows", 5), topic("assigned", 3, []int32{1}), topic("miscounted", 5, []int32{1}),
			topic("missing", 3), topic("twice", 3), topic("twice", 4),
		}
		resp := call[*kmsg.CreatePartitionsResponse](t, c, 3, req)
		for i, want := range []int16{37, 37, 0, 0, 39, 3, 42} {
			if got := resp.Topics[i].ErrorCode; got != want {
				t.Errorf("%s: error %d, want %d", resp.Topics[i].Topic, got, want)
			}
		}
		if mt := call[*kmsg.MetadataResponse](t, c, 12, ask("grows")).Topics[0]; len(mt.Partitions) != 5 {
			t.Errorf("%d partitions", len(mt.Partitions))
		}
	})
}

func TestInitProducerID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		req := kmsg.NewPtrInitProducerIDRequest()
		first := call[*kmsg.InitProducerIDResponse](t, c, 0, req)
		req.ProducerID, req.ProducerEpoch = first.ProducerID, 0
		second := call[*kmsg.InitProducerIDResponse](t, c, 5, req)
		if first.ErrorCode != 0 || second.ErrorCode != 0 || first.ProducerID == second.ProducerID || second.ProducerEpoch != 0 {
			t.Errorf("first %+v, second %+v", first, second)
		}
		req.ProducerEpoch = -1
		if resp := call[*kmsg.InitProducerIDResponse](t, c, 4, req); resp.ErrorCode != 42 {
			t.Errorf("id without epoch: error %d", resp.ErrorCode)
		}
		req.ProducerID, req.TransactionalID = -1, new("tx")
		if resp := call[*kmsg.InitProducerIDResponse](t, c, 4, req); resp.ErrorCode != 15 {
			t.Errorf("transactional: error %d", resp.ErrorCode)
		}
		h.cluster.err = karst.NotController.Err()
		req.TransactionalID = nil
		if resp := call[*kmsg.InitProducerIDResponse](t, c, 4, req); resp.ErrorCode != 14 || resp.ProducerID != -1 {
			t.Errorf("no ids: %+v", resp)
		}
	})
}

func TestTopicNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "A.b_c-9": true, "...": true, strings.Repeat("x", 249): true,
		"": false, ".": false, "..": false, "a b": false, "ä": false, "a/b": false, strings.Repeat("x", 250): false,
	} {
		if (checkTopicName(name) == nil) != want {
			t.Errorf("%.20q: want %v", name, want)
		}
	}
}
