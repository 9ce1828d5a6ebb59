package kafka

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// A reassignment as Kafka's tools see it: listed and shown while it is in
// progress, complete when one of the replicas leads, or cancelled.
func TestReassignmentInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		tp := karst.TopicPartition{Topic: h.topic(t, "t", 3)} // led by 0, 1 and 2
		h.topic(t, "other", 1)
		c := h.dial(t)
		alter := func(replicas []int32, want int16) {
			t.Helper()
			req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			at := kmsg.AlterPartitionAssignmentsRequestTopicPartition{Replicas: replicas}
			req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "t", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{at}}}
			resp := call[*kmsg.AlterPartitionAssignmentsResponse](t, c, 0, req)
			if p := resp.Topics[0].Partitions[0]; resp.ErrorCode != 0 || p.ErrorCode != want {
				t.Errorf("to %v: error %d %s", replicas, p.ErrorCode, told(p.ErrorMessage))
			}
		}
		want := func(shown string, listed string) {
			t.Helper()
			some := []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "nope"}, {Topic: "t", Partitions: []int32{9, 0, 1}}}
			for _, topics := range [][]kmsg.ListPartitionReassignmentsRequestTopic{nil, some} {
				list := kmsg.NewPtrListPartitionReassignmentsRequest()
				list.Topics = topics
				var got []string
				for _, lt := range call[*kmsg.ListPartitionReassignmentsResponse](t, c, 0, list).Topics {
					for _, p := range lt.Partitions {
						got = append(got, fmt.Sprint(lt.Topic, p.Partition, p.Replicas, p.AddingReplicas, p.RemovingReplicas))
					}
				}
				if s := strings.Join(got, " "); s != listed {
					t.Errorf("listed %q, want %q", s, listed)
				}
			}
			p := call[*kmsg.MetadataResponse](t, c, 12, ask("t")).Topics[0].Partitions[0]
			if s := fmt.Sprint(p.Leader, p.Replicas, p.ISR, p.OfflineReplicas); s != shown {
				t.Errorf("shown %s, want %s", s, shown)
			}
		}
		alter([]int32{0, 1}, 0)
		want("0 [0 1] [0 1] []", "")
		alter([]int32{2, 1}, 0)
		want("0 [0 2] [0 2] []", "t0 [2 1 0] [2] [0]")
		alter(nil, 0)
		want("0 [0 1] [0 1] []", "")
		alter(nil, 85)
		alter([]int32{2, 1}, 0)
		h.cluster.move(t, tp, 2)
		want("1 [2 1] [2 1] []", "")

		h.cluster.err = karst.NotController.Errorf("not here")
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "t", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{}}}}
		if resp := call[*kmsg.AlterPartitionAssignmentsResponse](t, c, 1, req); resp.ErrorCode != 41 || len(resp.Topics) != 0 {
			t.Errorf("without a controller: %+v", resp)
		}
	})
}

// A preferred election is answered when the leader has moved, or has not in time.
func TestPreferredElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		id := h.topic(t, "t", 3)
		tp := karst.TopicPartition{Topic: id}
		h.cluster.must(t, &metadata.AssignReplicas{Assignments: []metadata.Assignment{{Partition: tp, Replicas: []karst.BrokerID{2, 0}}}})
		c := h.dial(t)
		elect := func(topics ...kmsg.ElectLeadersRequestTopic) (string, time.Duration) {
			t.Helper()
			req := kmsg.NewPtrElectLeadersRequest()
			req.TimeoutMillis, req.Topics = 10_000, topics
			began := time.Now()
			resp := call[*kmsg.ElectLeadersResponse](t, c, 2, req)
			got := fmt.Sprint(resp.ErrorCode)
			for _, et := range resp.Topics {
				for _, p := range et.Partitions {
					got += fmt.Sprintf(" %s-%d:%d", et.Topic, p.Partition, p.ErrorCode)
				}
			}
			return got, time.Since(began)
		}
		want := func(got string, took time.Duration, answer string, least, most time.Duration) {
			t.Helper()
			if got != answer || took < least || took > most {
				t.Errorf("%s after %v, want %s within %v to %v", got, took, answer, least, most)
			}
		}
		got, took := elect()
		want(got, took, "0 t-0:7", 10*time.Second, 10*time.Second)
		if m := h.cluster.moves; len(m) != 1 || m[0].Partition != tp || m[0].Leader != 3 {
			t.Errorf("asked for %+v", m)
		}
		time.AfterFunc(time.Second, func() { h.cluster.move(t, tp, 3) })
		got, took = elect(kmsg.ElectLeadersRequestTopic{Topic: "t", Partitions: []int32{0, 1}})
		want(got, took, "0 t-0:0 t-1:84", time.Second, time.Second+2*electionPoll)
		got, took = elect()
		want(got, took, "0", 0, 0)

		// For another broker, which forwarded it.
		h.cluster.must(t, &metadata.AssignReplicas{Assignments: []metadata.Assignment{{Partition: tp, Replicas: []karst.BrokerID{0, 2}}}})
		time.AfterFunc(time.Second, func() { h.cluster.move(t, tp, 1) })
		req := kmsg.NewPtrElectLeadersRequest()
		req.Version, req.TimeoutMillis = 2, 10_000
		b, err := h.Execute(t.Context(), req.Key(), 2, "", req.AppendTo(nil))
		resp := kmsg.NewPtrElectLeadersResponse()
		resp.Version = 2
		if err != nil || resp.ReadFrom(b) != nil || len(resp.Topics) != 1 || resp.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Errorf("forwarded: %+v, %v", resp, err)
		}
		h.cluster.err = karst.NotController.Err()
		got, took = elect()
		want(got, took, "41 t-0:41 t-1:41 t-2:41", 0, 0)
		h.cluster.err = nil

		// A topic that goes while it is waited for.
		h.cluster.must(t, &metadata.AssignReplicas{Assignments: []metadata.Assignment{{Partition: tp, Replicas: []karst.BrokerID{1, 2}}}})
		time.AfterFunc(time.Second, func() { h.cluster.must(t, &metadata.DeleteTopic{ID: id}) })
		got, took = elect()
		want(got, took, "0 t-0:3", time.Second, time.Second+2*electionPoll)
	})
}

// Clients are told the addresses of the listener that they came through; of the
// first one where a broker does not have it.
func TestListenersByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for listener, want := range map[string]string{"": "in:1", "IN": "in:1", "OUT": "out:2", "ELSE": "in:1"} {
			h := start(t, Config{Broker: 7, Listener: listener}, nil)
			h.cluster.must(t, &metadata.RegisterBroker{Incarnation: 4, Registration: metadata.Registration{
				ID: 7, Host: "in", Port: 1, Listeners: []metadata.Endpoint{{Name: "IN", Host: "in", Port: 1}, {Name: "OUT", Host: "out", Port: 2}},
			}})
			h.cluster.must(t, &metadata.CreateTopic{
				ID: karst.TopicID{5}, Name: "__consumer_offsets", Internal: true, ReplicationFactor: 1,
				Partitions: []metadata.NewPartition{{Leader: 4, Replicas: []karst.BrokerID{7}}},
			})
			c := h.dial(t)
			check := func(api, host string, port int32) {
				t.Helper()
				if got := fmt.Sprint(host, ":", port); got != want {
					t.Errorf("%s through %q: %s, want %s", api, listener, got, want)
				}
			}
			m := call[*kmsg.MetadataResponse](t, c, 12, ask("nope")).Brokers[3]
			check("Metadata", m.Host, m.Port)
			describe := kmsg.NewPtrDescribeClusterRequest()
			describe.EndpointType = 1
			d := call[*kmsg.DescribeClusterResponse](t, c, 2, describe).Brokers[3]
			check("DescribeCluster", d.Host, d.Port)
			find := kmsg.NewPtrFindCoordinatorRequest()
			find.CoordinatorKeys = []string{"g"}
			f := call[*kmsg.FindCoordinatorResponse](t, c, 4, find).Coordinators[0]
			check("FindCoordinator", f.Host, f.Port)
			quorum := kmsg.NewPtrDescribeQuorumRequest()
			quorum.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: metadataTopic, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
			l := call[*kmsg.DescribeQuorumResponse](t, c, 2, quorum).Nodes[0].Listeners[0]
			check("DescribeQuorum", l.Host, int32(l.Port))
		}
	})
}
