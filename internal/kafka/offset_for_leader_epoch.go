package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// OffsetForLeaderEpoch tells a client that has come to a new leader where the
// epoch of its last record ended there (KIP-320).
//
// Versions 2 to 4.
func offsetForLeaderEpochAPI() API {
	return API{Key: int16(kmsg.OffsetForLeaderEpoch), Min: 2, Max: 4, Advertised: 2, apply: applyOffsetForLeaderEpoch, frameMax: 8 << 20}
}

func applyOffsetForLeaderEpoch(s *Server, _ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.OffsetForLeaderEpochRequest)
	resp := &kmsg.OffsetForLeaderEpochResponse{Version: r.Version, Topics: make([]kmsg.OffsetForLeaderEpochResponseTopic, len(req.Topics))}
	for i := range req.Topics {
		t := &req.Topics[i]
		answers := make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(t.Partitions))
		resp.Topics[i] = kmsg.OffsetForLeaderEpochResponseTopic{Topic: t.Topic, Partitions: answers}
		for j := range t.Partitions {
			p, a := &t.Partitions[j], &answers[j]
			a.Partition, a.LeaderEpoch, a.EndOffset = p.Partition, -1, -1
			where, err := s.records.find(false, karst.TopicID{}, t.Topic, p.Partition)
			if err == nil {
				end, err2 := s.records.log.EpochEnd(where, karst.Epoch(p.CurrentLeaderEpoch), karst.Epoch(p.LeaderEpoch))
				if err = asNamed(false, err2); err == nil {
					a.LeaderEpoch, a.EndOffset = int32(end.Epoch), int64(end.End)
				}
			}
			a.ErrorCode = r.Code(err)
		}
	}
	return Answer(resp), nil
}
