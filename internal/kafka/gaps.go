package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
)

// gapCode is what a batch behind a gap is answered with: it was not appended, and
// is to be sent again, after what comes before it. OUT_OF_ORDER_SEQUENCE_NUMBER
// would say so, too, but librdkafka takes a new producer epoch for it and then
// writes what was in flight to other partitions twice (confluentinc/librdkafka#4953).
// Apache Kafka gives this answer for all that is in flight, since all of it comes
// to a broker that does not lead any more.
var gapCode = kerr.NotLeaderForPartition.Code

// gapsMax bounds what a connection remembers; beyond it, it forgets.
const gapsMax = 1024

// gaps are the batches of idempotent producers that a connection was told to
// send again. What is in flight behind such a batch must not be appended before
// it: the log cannot tell, since it accepts any first sequence of a producer it
// does not know. Only the connection's reader touches them.
//
// In a cluster the batch may come again to another broker, to which the partition
// went, and the partition come back: then the gap is closed without this
// connection having seen it. So one counts by itself only while the partition is
// led at the epoch in which the batch was refused. At another one the log is asked
// whether it has the batch: if so it knows the producer, and tells by itself what
// comes next. If not, what is in flight behind the batch is still to be refused:
// this broker may have lost the partition to nobody but its own next incarnation.
//
// Rejected: forgetting gaps of other epochs. A broker that registers anew leads at
// the next epoch, within the time that requests are in flight.
type gaps map[gapKey]gap

// The client's own words for a partition count: a broker whose image is behind may
// not know yet what they mean.
type gapKey struct {
	called   producedTo
	producer karst.ProducerID
	epoch    karst.ProducerEpoch
}

type gap struct {
	first karst.Sequence // of the batch that is to come again
	epoch karst.Epoch    // of the partition, when it was refused; NoEpoch if it was not known
	since time.Time
}

// unknownFor is how long a gap of a partition that was not known counts: longer than
// any image is behind, and not so long that a topic which is created later suffers.
const unknownFor = 30 * time.Second

// gapLog tells what gaps need to know of a partition.
type gapLog interface {
	// epochOf is the epoch at which a partition is led.
	epochOf(at karst.TopicPartition) karst.Epoch
	// has reports whether the log has a sequence of a producer, or a newer epoch
	// of it. It may read the store.
	has(ctx context.Context, at karst.TopicPartition, producer karst.ProducerID, epoch karst.ProducerEpoch, s karst.Sequence) (bool, error)
}

func gapOf(called producedTo, i record.Info) gapKey {
	return gapKey{called, i.Producer, i.ProducerEpoch}
}

// check refuses a batch that follows one which has not come again yet.
func (g gaps) check(ctx context.Context, log gapLog, called producedTo, at karst.TopicPartition, i record.Info) error {
	k := gapOf(called, i)
	open, ok := g[k]
	if !ok || i.Producer < 0 {
		return nil
	}
	if open.epoch == karst.NoEpoch && time.Since(open.since) > unknownFor {
		delete(g, k)
		return nil
	}
	if i.BaseSequence > open.first {
		closed := false
		if log.epochOf(at) != open.epoch {
			var err error
			if closed, err = log.has(ctx, at, i.Producer, i.ProducerEpoch, open.first); err != nil {
				return err
			}
		}
		if !closed {
			return kafkaError{gapCode, fmt.Sprintf("producer %d is to send sequence %d again before %d", i.Producer, open.first, i.BaseSequence)}
		}
	}
	delete(g, k)
	return nil
}

// refused notes a batch that the client sends again.
func (g gaps) refused(log gapLog, called producedTo, at karst.TopicPartition, i record.Info, err error) {
	if i.Producer < 0 || !again(err) {
		return
	}
	if len(g) >= gapsMax {
		clear(g)
	}
	g[gapOf(called, i)] = gap{first: i.BaseSequence, epoch: log.epochOf(at), since: time.Now()}
}

// again reports whether a client sends a batch again after the error.
func again(err error) bool {
	var k *karst.Error
	if !errors.As(err, &k) {
		return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	}
	switch k.Code {
	case karst.NotLeader, karst.TimedOut, karst.StorageError, karst.Overloaded, karst.ShuttingDown, karst.UnknownTopic, karst.UnknownTopicID:
		return true
	}
	return false
}

// epochOf is -1 for a partition that is gone.
func (d *records) epochOf(at karst.TopicPartition) karst.Epoch {
	if p, ok := d.images.Image().Partition(at); ok {
		return p.Epoch
	}
	return karst.NoEpoch
}

func (d *records) has(ctx context.Context, at karst.TopicPartition, producer karst.ProducerID, epoch karst.ProducerEpoch, s karst.Sequence) (bool, error) {
	all, err := d.log.Producers(ctx, at)
	if err != nil {
		return false, err
	}
	for _, p := range all {
		if p.ID == producer {
			return p.Epoch > epoch || p.Epoch == epoch && p.LastSequence >= s, nil
		}
	}
	return false, nil
}
