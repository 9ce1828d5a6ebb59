package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/coordinator/group"
)

// OffsetDelete (key 47), version 0 (KIP-496).
//
// Partitions that do not exist, or of topics that the group is subscribed to, fail
// by themselves. An error of the group is told without any partition.
var offsetDeleteAPI = API{Key: int16(kmsg.OffsetDelete), Max: 0, apply: (*Server).offsetDelete, frameMax: 16 << 20}

func (s *Server) offsetDelete(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.OffsetDeleteRequest)
	resp := kmsg.NewPtrOffsetDeleteResponse()
	resp.Topics = make([]kmsg.OffsetDeleteResponseTopic, len(req.Topics))
	q := group.DeleteOffsetsRequest{Group: req.Group}
	var offers []*kmsg.OffsetDeleteResponseTopicPartition
	img := s.deps.Images.Image()
	for i, t := range req.Topics {
		a := &resp.Topics[i]
		a.Topic, a.Partitions = t.Topic, make([]kmsg.OffsetDeleteResponseTopicPartition, len(t.Partitions))
		ts, known := img.Topic(t.Topic)
		for j, p := range t.Partitions {
			ap := &a.Partitions[j]
			ap.Partition = p.Partition
			if !known || p.Partition < 0 || p.Partition >= ts.Partitions {
				ap.ErrorCode = kerr.UnknownTopicOrPartition.Code
				r.Note(ap.ErrorCode)
				continue
			}
			q.Offsets = append(q.Offsets, group.PartitionRef{Topic: t.Topic, Partition: p.Partition})
			offers = append(offers, ap)
		}
	}
	answer := func(a group.DeleteOffsetsAnswer, err error) kmsg.Response {
		if err == nil {
			err = a.Err
		}
		if err != nil {
			resp.ErrorCode, resp.Topics = r.coordinatorCode(err), nil
			return resp
		}
		for i, p := range offers {
			p.ErrorCode = r.Code(a.Errs[i])
		}
		return resp
	}
	if err := errNoGroupID(req.Group); err != nil {
		return Answer(answer(group.DeleteOffsetsAnswer{}, err)), nil
	}
	call, err := s.deps.Groups.DeleteOffsets(q)
	r.Body = nil
	return await(call, err, answer), nil
}
