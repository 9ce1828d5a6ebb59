package kafka

import (
	"context"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// DescribeProducers (key 61), version 0.
//
// Who writes to partitions with a producer id, as their leader remembers it
// (KIP-664): id, epoch, last sequence and when it last appended. What a leader has
// not needed yet is read from the bucket first.
//
// Difference: there are no transactions yet, so no producer has a coordinator or
// an open transaction (-1). When a producer last appended is told by the broker's
// clock; Kafka tells the largest timestamp of the last batch. An answer with more than a million producers, as a
// request can ask for that names partitions again and again, is not given: the
// connection is closed.
var describeProducersAPI = API{
	Key: int16(kmsg.DescribeProducers), Max: 0, apply: (*Server).describeProducers, frameMax: 4 << 20,
}

const (
	// describeProducersMillis bounds the reading, in milliseconds; clients ask again.
	describeProducersMillis = 15_000
	// producersPerAnswer bounds what one answer holds.
	producersPerAnswer = 1_000_000
)

func (s *Server) describeProducers(ctx context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DescribeProducersRequest)
	resp := kmsg.NewPtrDescribeProducersResponse()
	resp.Version = r.Version
	ctx, cancel := adminContext(ctx, describeProducersMillis)
	defer cancel()

	type question struct {
		topic  string
		answer *kmsg.DescribeProducersResponseTopicPartition
	}
	var all []question
	resp.Topics = make([]kmsg.DescribeProducersResponseTopic, len(req.Topics))
	for i, t := range req.Topics {
		a := &resp.Topics[i]
		a.Topic, a.Partitions = t.Topic, make([]kmsg.DescribeProducersResponseTopicPartition, len(t.Partitions))
		for k, n := range t.Partitions {
			a.Partitions[k].Partition = n
			all = append(all, question{t.Topic, &a.Partitions[k]})
		}
	}
	errs := make([]error, len(all))
	var room atomic.Int64
	room.Store(producersPerAnswer)
	concurrently(len(all), func(i int) { errs[i] = s.producersOf(ctx, all[i].topic, all[i].answer, &room) })
	if room.Load() < 0 {
		return nil, refused("question about more than %d producers", producersPerAnswer)
	}
	for i, err := range errs {
		all[i].answer.ErrorCode, all[i].answer.ErrorMessage = r.Code(err), text(err)
	}
	return Answer(resp), nil
}

// producersOf fills in the producers of a partition of a topic, if there is room.
func (s *Server) producersOf(ctx context.Context, topic string, a *kmsg.DescribeProducersResponseTopicPartition, room *atomic.Int64) error {
	if err := checkTopicName(topic); err != nil {
		return err
	}
	ts, ok := s.deps.Images.Image().Topic(topic)
	switch {
	case !ok:
		return karst.UnknownTopic.Errorf("This server does not host this topic-partition.")
	case a.Partition < 0 || a.Partition >= ts.Partitions:
		return karst.UnknownTopic.Err()
	}
	known, err := s.deps.Data.Producers(ctx, karst.TopicPartition{Topic: ts.ID, Partition: karst.Partition(a.Partition)})
	if room.Add(-int64(len(known))) < 0 {
		return nil // there will be no answer
	}
	for _, k := range known {
		p := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		p.ProducerID, p.ProducerEpoch, p.LastSequence = int64(k.ID), int32(k.Epoch), int32(k.LastSequence)
		p.LastTimestamp, p.CoordinatorEpoch, p.CurrentTxnStartOffset = int64(k.LastSeen), -1, -1
		a.ActiveProducers = append(a.ActiveProducers, p)
	}
	return err
}
