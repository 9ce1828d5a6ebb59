package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// ListPartitionReassignments (key 46), version 0.
//
// The partitions whose leader is not one of the replicas that they were assigned,
// of those asked for or of all (null). As in Kafka the replicas are those assigned
// and, behind them, those that are given up; topics and partitions that do not
// exist are left out.
var listPartitionReassignmentsAPI = API{
	Key: int16(kmsg.ListPartitionReassignments), Max: 0, apply: (*Server).listPartitionReassignments, frameMax: 16 << 20,
}

func (s *Server) listPartitionReassignments(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.ListPartitionReassignmentsRequest)
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	resp.Version = r.Version
	img := s.deps.Images.Image()
	list := func(t *metadata.TopicState, partitions func(yield func(*metadata.PartitionState) bool)) {
		a := kmsg.NewListPartitionReassignmentsResponseTopic()
		a.Topic = t.Name
		for p := range partitions {
			if p.Reassigning() {
				a.Partitions = append(a.Partitions, reassigning(p))
			}
		}
		if len(a.Partitions) > 0 {
			resp.Topics = append(resp.Topics, a)
		}
	}
	if req.Topics == nil {
		for t := range img.Topics() {
			list(t, img.PartitionsOf(t.ID))
		}
		return Answer(resp), nil
	}
	for _, asked := range req.Topics {
		t, ok := img.Topic(asked.Topic)
		if !ok {
			continue
		}
		list(t, func(yield func(*metadata.PartitionState) bool) {
			for _, n := range asked.Partitions {
				p, ok := img.Partition(karst.TopicPartition{Topic: t.ID, Partition: karst.Partition(n)})
				if ok && !yield(p) {
					return
				}
			}
		})
	}
	return Answer(resp), nil
}

// reassigning shows a reassignment that is in progress.
func reassigning(p *metadata.PartitionState) kmsg.ListPartitionReassignmentsResponseTopicPartition {
	a := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
	a.Partition = int32(p.ID.Partition)
	a.AddingReplicas, a.RemovingReplicas = missingFrom(p.Replicas, p.Previous), missingFrom(p.Previous, p.Replicas)
	for _, id := range p.Replicas {
		a.Replicas = append(a.Replicas, int32(id))
	}
	a.Replicas = append(a.Replicas, a.RemovingReplicas...)
	return a
}

// missingFrom lists those of all that are not in others, ascending.
func missingFrom(all, others []karst.BrokerID) []int32 {
	out := []int32{}
	for _, id := range all {
		if !slices.Contains(others, id) {
			out = append(out, int32(id))
		}
	}
	slices.Sort(out)
	return out
}
