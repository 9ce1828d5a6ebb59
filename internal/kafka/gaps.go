package kafka

import (
	"context"
	"errors"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
)

// gapsMax bounds what a connection remembers; beyond it, it forgets.
const gapsMax = 1024

// gaps are the batches of idempotent producers that a connection was told to
// send again. What is in flight behind such a batch must not be appended before
// it: the log cannot tell, since it accepts any first sequence of a producer it
// does not know. Only the connection's reader touches them.
type gaps map[gapKey]karst.Sequence

type gapKey struct {
	at       karst.TopicPartition
	producer karst.ProducerID
	epoch    karst.ProducerEpoch
}

func gapOf(at karst.TopicPartition, i record.Info) gapKey {
	return gapKey{at, i.Producer, i.ProducerEpoch}
}

// check refuses a batch that follows one which has not come again yet.
func (g gaps) check(at karst.TopicPartition, i record.Info) error {
	first, ok := g[gapOf(at, i)]
	if !ok || i.Producer < 0 {
		return nil
	}
	if i.BaseSequence > first {
		return karst.OutOfOrderSequence.Errorf("producer %d is to send sequence %d again before %d", i.Producer, first, i.BaseSequence)
	}
	delete(g, gapOf(at, i))
	return nil
}

// refused notes a batch that the client sends again.
func (g gaps) refused(at karst.TopicPartition, i record.Info, err error) {
	if i.Producer < 0 || !again(err) {
		return
	}
	if len(g) >= gapsMax {
		clear(g)
	}
	g[gapOf(at, i)] = i.BaseSequence
}

// again reports whether a client sends a batch again after the error.
func again(err error) bool {
	var k *karst.Error
	if !errors.As(err, &k) {
		return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	}
	switch k.Code {
	case karst.NotLeader, karst.TimedOut, karst.StorageError, karst.Overloaded, karst.ShuttingDown:
		return true
	}
	return false
}
