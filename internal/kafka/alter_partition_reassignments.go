package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/controller"
)

// AlterPartitionReassignments (key 45), versions 0–1.
//
//	v1 whether the replication factor may change (KIP-1073)
//
// Checked as in Kafka, partition by partition. What is assigned is kept, the
// preferred leader first. Null cancels what is in progress.
//
// Difference: replicas are names, for records are in the bucket: no data moves. A
// reassignment is complete at once if a replica leads the partition already;
// otherwise when one does, to which the cluster hands it over. Until then Metadata
// shows the leader and the first of the replicas.
var alterPartitionReassignmentsAPI = API{
	Key: int16(kmsg.AlterPartitionAssignments), Max: 1, apply: (*Server).alterPartitionReassignments, forward: forwardAlways, frameMax: 16 << 20,
}

func (s *Server) alterPartitionReassignments(ctx context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.AlterPartitionAssignmentsRequest)
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.Version = r.Version
	resp.AllowReplicationFactorChange = r.Version < 1 || req.AllowReplicationFactorChange
	if len(req.Topics) == 0 {
		resp.ErrorMessage = new("") // as in Kafka
		return Answer(resp), nil
	}
	ctx, cancel := adminContext(ctx, req.TimeoutMillis)
	defer cancel()
	errs, err := s.deps.Topics.Reassign(ctx, reassignments(req), resp.AllowReplicationFactorChange)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = r.Code(err), text(err)
		return Answer(resp), nil
	}
	for _, t := range req.Topics {
		a := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		a.Topic = t.Topic
		for _, p := range t.Partitions {
			ap := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			ap.Partition, ap.ErrorCode, ap.ErrorMessage = p.Partition, r.Code(errs[0]), text(errs[0])
			a.Partitions, errs = append(a.Partitions, ap), errs[1:]
		}
		resp.Topics = append(resp.Topics, a)
	}
	return Answer(resp), nil
}

// reassignments are those of a request, in their order.
func reassignments(req *kmsg.AlterPartitionAssignmentsRequest) []controller.Reassignment {
	var all []controller.Reassignment
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			r := controller.Reassignment{PartitionName: controller.PartitionName{Topic: t.Topic, Partition: karst.Partition(p.Partition)}}
			if p.Replicas != nil {
				r.Replicas = brokerIDs(p.Replicas)
			}
			all = append(all, r)
		}
	}
	return all
}
