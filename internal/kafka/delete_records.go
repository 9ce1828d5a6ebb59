package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// DeleteRecords moves the log start of partitions forward.
//
// Versions 0 to 2.
//
// The new log start is applied with the request, in order, and answered when it
// is in the bucket. Kafka Streams calls this all the time.
func deleteRecordsAPI() API {
	return API{Key: int16(kmsg.DeleteRecords), Min: 0, Max: 2, Advertised: 0, apply: applyDeleteRecords, frameMax: 8 << 20}
}

// deleteRecords is a DeleteRecords request on its way to the store.
type deleteRecords struct {
	r        *Request
	resp     *kmsg.DeleteRecordsResponse
	deadline time.Time
	waits    []deleteWait
}

type deleteWait struct {
	commit Commit
	answer *kmsg.DeleteRecordsResponseTopicPartition
}

func applyDeleteRecords(s *Server, _ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DeleteRecordsRequest)
	d := &deleteRecords{
		r:        r,
		resp:     &kmsg.DeleteRecordsResponse{Version: r.Version, Topics: make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))},
		deadline: r.Received.Add(time.Duration(req.TimeoutMillis) * time.Millisecond),
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		answers := make([]kmsg.DeleteRecordsResponseTopicPartition, len(t.Partitions))
		d.resp.Topics[i] = kmsg.DeleteRecordsResponseTopic{Topic: t.Topic, Partitions: answers}
		for j := range t.Partitions {
			p, a := &t.Partitions[j], &answers[j]
			a.Partition, a.LowWatermark = p.Partition, -1
			where, err := s.deletable(t.Topic, p.Partition)
			if err == nil && p.Offset < -1 {
				err = karst.OffsetOutOfRange.Errorf("offset %d is negative", p.Offset)
			}
			if err == nil {
				low, commit, err2 := s.records.log.DeleteRecords(where, karst.Offset(p.Offset))
				if err = asNamed(false, err2); err == nil {
					a.LowWatermark = int64(low)
				}
				if err == nil && commit != nil {
					d.waits = append(d.waits, deleteWait{commit, a})
				}
			}
			a.ErrorCode = r.Code(err)
		}
	}
	return d, nil
}

// deletable finds a partition whose records may be deleted by a client.
func (s *Server) deletable(topic string, index int32) (karst.TopicPartition, error) {
	where, err := s.records.find(false, karst.TopicID{}, topic, index)
	if err != nil {
		return where, err
	}
	img := s.records.images.Image()
	t, ok := img.TopicByID(where.Topic)
	switch {
	case !ok:
		return where, karst.UnknownTopic.Errorf("no topic is named %q", topic)
	case t.Internal:
		return where, karst.InvalidTopic.Errorf("topic %q is internal", topic)
	}
	layers := s.deps.Configs.Layers(img)
	if c := layers.Topic(t.Configs); c.Compact && !c.Delete {
		return where, karst.PolicyViolation.Errorf("topic %q is compacted and not deleted from", topic)
	}
	return where, nil
}

// Wait waits until every trim is durable or the client's time is over.
func (d *deleteRecords) Wait(ctx context.Context) (Response, error) {
	late := time.NewTimer(time.Until(d.deadline))
	defer late.Stop()
	over := late.C
	for _, w := range d.waits {
		select {
		case <-w.commit.Done():
		case <-over:
			over = expired
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if err := outcome(w.commit); err != nil {
			w.answer.LowWatermark, w.answer.ErrorCode = -1, d.r.Code(err)
		}
	}
	return Message(d.resp), nil
}
