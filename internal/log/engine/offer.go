package engine

import (
	"context"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/wal"
)

// Offer prepares partitions for their hand-over: clients are told to look
// elsewhere from now on, and when it returns without an error nothing of the
// partitions is in flight (I2). Those that are not led here any more are left
// out. After an error, or when the hand-over did not happen, Withdraw.
func (e *Engine) Offer(ctx context.Context, tps []karst.TopicPartition) error {
	var flying []*wal.Commit
	for _, tp := range tps {
		p, err := e.lead(tp)
		if err != nil {
			continue
		}
		if c := p.Offer(); c != nil && drainFirst {
			flying = append(flying, c)
		}
		e.deps.Watchers.Notify(tp) // long polls look elsewhere
	}
	for _, c := range flying {
		select {
		case <-c.Done():
			if c.Err() != nil {
				return c.Err()
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Withdraw takes offers back.
func (e *Engine) Withdraw(tps []karst.TopicPartition) {
	for _, tp := range tps {
		if p := e.open(tp); p != nil {
			p.Withdraw()
			e.deps.Watchers.Notify(tp)
		}
	}
}
