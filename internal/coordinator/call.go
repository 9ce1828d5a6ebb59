package coordinator

import (
	"context"
	"sync/atomic"

	"github.com/karst-io/karst"
)

// Call is an operation whose answer may have to wait.
type Call struct {
	done   chan struct{}
	body   any // set before done is closed
	err    error
	forget func() // takes the call out of its shard

	// Of a fresh call: what was there when the operation came.
	proofs *proofs // nil: it is not
	since  karst.Number
	turn   uint64
}

// Wait waits for the answer. Its error is of code NotCoordinator, and then the
// outcome is unknown, or ctx's; after that the answer is dropped when it comes.
// It is called at most once.
func (c *Call) Wait(ctx context.Context) (any, error) {
	select {
	case <-c.done:
	default:
		select {
		case <-c.done:
		case <-ctx.Done():
			c.forget()
			return nil, context.Cause(ctx)
		}
	}
	if c.err != nil || c.proofs == nil {
		return c.body, c.err
	}
	if err := c.proofs.cover(ctx, c); err != nil {
		return nil, err
	}
	return c.body, nil
}

// proofs shows of fresh calls that what they read was true: nobody else led the
// partition by then, because this incarnation was not over after the operation had
// come. Who waits for many calls in a row gets the proof with the first of them.
type proofs struct {
	log   Log
	turns atomic.Uint64 // of operations that came
	given atomic.Uint64 // turns up to it have a proof
}

// begin notes that a fresh operation came.
func (p *proofs) begin(c *Call) {
	c.proofs, c.since, c.turn = p, p.log.Started(), p.turns.Add(1)
}

// cover returns nil once there is a proof for c.
func (p *proofs) cover(ctx context.Context, c *Call) error {
	if p.given.Load() >= c.turn || p.log.Confirmed() > c.since {
		return nil // the latter: a create of a number that was not attempted then
	}
	upTo := p.turns.Load()
	if err := p.log.Prove(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return karst.NotCoordinator.Errorf("this broker cannot prove that it still leads the partition: %v", err)
	}
	for {
		given := p.given.Load()
		if given >= upTo || p.given.CompareAndSwap(given, upTo) {
			return nil
		}
	}
}

// finish gives the answer; exactly once.
func (c *Call) finish(body any, err error) {
	c.body, c.err = body, err
	close(c.done)
}

// finished is a call and what it ends with, until no lock is held.
type finished struct {
	call *Call
	body any
}

func finish(all []finished) {
	for _, f := range all {
		f.call.finish(f.body, nil)
	}
}
