package engine

import (
	"context"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/partition"
)

// ProducerState is what is known of one producer of a partition.
type ProducerState = partition.ProducerState

// Producers lists the producers that a partition remembers, by id. It reads the
// store where they have not been needed yet.
func (e *Engine) Producers(ctx context.Context, tp karst.TopicPartition) ([]ProducerState, error) {
	p, err := e.lead(tp)
	if err != nil {
		return nil, err
	}
	return p.Producers(ctx, e.deps.Segments, time.Now(), e.producerExpiry())
}

// Size is the number of bytes of a partition's durable record batches, whether
// flushed or not. It opens no partition and reads no store.
func (e *Engine) Size(tp karst.TopicPartition) (int64, error) {
	if p := e.open(tp); p != nil {
		return p.Size(), nil
	}
	e.mu.RLock()
	img, closed := e.image, e.closed
	e.mu.RUnlock()
	s, ok := img.Partition(tp)
	if closed || !ok || s.Leader != e.cfg.Self {
		return 0, karst.NotLeader.Errorf("partition %s is not led here", tp)
	}
	return partition.ManifestSize(s, s.LogStart), nil
}
