package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// AlterPartitionReassignments (key 45), versions 0–1.
//
//	v1 whether the replication factor may change (KIP-1073)
//
// Checked as in Kafka. A reassignment to the replicas that a partition shows
// already is complete at once; nothing can be cancelled, for none is ever in
// progress (NO_REASSIGNMENT_IN_PROGRESS).
//
// Difference: replicas are names, and leaders are placed by the cluster. Any other
// assignment, which takes more than one broker, is INVALID_REPLICA_ASSIGNMENT.
var alterPartitionReassignmentsAPI = API{
	Key: int16(kmsg.AlterPartitionAssignments), Max: 1, apply: (*Server).alterPartitionReassignments, forward: forwardAlways, frameMax: 16 << 20,
}

func (s *Server) alterPartitionReassignments(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.AlterPartitionAssignmentsRequest)
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.Version = r.Version
	resp.AllowReplicationFactorChange = r.Version < 1 || req.AllowReplicationFactorChange
	if len(req.Topics) == 0 {
		resp.ErrorMessage = new("") // as in Kafka
	}
	img := s.deps.Images.Image()
	replicas := metadata.NewReplicas(img)
	for _, t := range req.Topics {
		a := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		a.Topic = t.Topic
		for _, p := range t.Partitions {
			err := reassign(img, replicas, t.Topic, p)
			ap := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			ap.Partition, ap.ErrorCode, ap.ErrorMessage = p.Partition, r.Code(err), text(err)
			a.Partitions = append(a.Partitions, ap)
		}
		resp.Topics = append(resp.Topics, a)
	}
	return Answer(resp), nil
}

// reassign says why a partition's replicas cannot become those asked for; nil if
// they are.
func reassign(img *metadata.Image, replicas metadata.Replicas, topic string, want kmsg.AlterPartitionAssignmentsRequestTopicPartition) error {
	ts, ok := img.Topic(topic)
	if !ok {
		return karst.UnknownTopic.Errorf("Unable to find a topic named %s.", topic)
	}
	p, ok := img.Partition(karst.TopicPartition{Topic: ts.ID, Partition: karst.Partition(want.Partition)})
	if !ok {
		return karst.UnknownTopic.Errorf("Unable to find partition %s:%d.", topic, want.Partition)
	}
	if want.Replicas == nil {
		return karst.NoReassignment.Err()
	}
	if len(want.Replicas) == 0 {
		return karst.InvalidAssignment.Errorf("The manual partition assignment includes an empty replica list.")
	}
	ids := brokerIDs(want.Replicas)
	for k, id := range ids {
		switch {
		case !replicas.Live(id):
			return karst.InvalidAssignment.Errorf("The manual partition assignment includes broker %d, but no such broker is registered.", id)
		case slices.Contains(ids[:k], id):
			return karst.InvalidAssignment.Errorf("The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if shown := replicas.Of(p, ts.ReplicationFactor); !slices.Equal(shown, ids) {
		return karst.InvalidAssignment.Errorf("Replicas cannot be assigned: records are in the bucket, and the cluster places the leaders.")
	}
	return nil
}
