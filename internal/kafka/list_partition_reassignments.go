package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListPartitionReassignments (key 46), version 0.
//
// None is ever in progress: what AlterPartitionReassignments accepts is complete
// when it is answered.
var listPartitionReassignmentsAPI = API{
	Key: int16(kmsg.ListPartitionReassignments), Max: 0, apply: (*Server).listPartitionReassignments, frameMax: 16 << 20,
}

func (s *Server) listPartitionReassignments(_ context.Context, r *Request) (Pending, error) {
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	resp.Version = r.Version
	return Answer(resp), nil
}
