package broker

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/kafka"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/store"
)

// backend is the log as the listener sees it: that of the incarnation there is,
// if there is one. Between two it answers NotLeader, which is definite and makes
// clients ask again.
type backend struct {
	watchers *engine.Watchers
	current  atomic.Pointer[current]
	isolated func() bool // others may lead what we think we do
}

// current is the log of an incarnation.
type current struct{ kafka.Log }

func (b *backend) set(l kafka.Log) {
	if l == nil {
		b.current.Store(nil)
		return
	}
	b.current.Store(&current{l})
}

func (b *backend) log() (kafka.Log, error) {
	if c := b.current.Load(); c != nil && !b.isolated() {
		return c.Log, nil
	}
	return nil, karst.NotLeader.Errorf("this broker leads nothing right now")
}

func (b *backend) Append(ctx context.Context, tp karst.TopicPartition, batch []byte, hold store.Holder) (kafka.Appended, error) {
	l, err := b.log()
	if err != nil {
		return kafka.Appended{}, err
	}
	return l.Append(ctx, tp, batch, hold)
}

func (b *backend) ReadMemory(tp karst.TopicPartition, r engine.ReadRequest) (*engine.Read, bool, error) {
	l, err := b.log()
	if err != nil {
		return nil, false, err
	}
	return l.ReadMemory(tp, r)
}

func (b *backend) Read(ctx context.Context, tp karst.TopicPartition, r engine.ReadRequest) (*engine.Read, error) {
	l, err := b.log()
	if err != nil {
		return nil, err
	}
	return l.Read(ctx, tp, r)
}

func (b *backend) ListOffset(ctx context.Context, tp karst.TopicPartition, at karst.Timestamp, current karst.Epoch, committed bool) (engine.Found, error) {
	l, err := b.log()
	if err != nil {
		return engine.Found{}, err
	}
	return l.ListOffset(ctx, tp, at, current, committed)
}

func (b *backend) EpochEnd(tp karst.TopicPartition, current, want karst.Epoch) (engine.EpochEnd, error) {
	l, err := b.log()
	if err != nil {
		return engine.EpochEnd{}, err
	}
	return l.EpochEnd(tp, current, want)
}

func (b *backend) DeleteRecords(tp karst.TopicPartition, before karst.Offset) (karst.Offset, kafka.Commit, error) {
	l, err := b.log()
	if err != nil {
		return 0, nil, err
	}
	return l.DeleteRecords(tp, before)
}

func (b *backend) Producers(ctx context.Context, tp karst.TopicPartition) ([]engine.ProducerState, error) {
	l, err := b.log()
	if err != nil {
		return nil, err
	}
	return l.Producers(ctx, tp)
}

func (b *backend) Size(tp karst.TopicPartition) (int64, error) {
	l, err := b.log()
	if err != nil {
		return 0, err
	}
	return l.Size(tp)
}

// Subscribe watches partitions across incarnations.
func (b *backend) Subscribe() kafka.Subscription { return b.watchers.Subscribe() }

// producerIDs hands out ids from blocks, one block at a time (KIP-730).
type producerIDs struct {
	allocate func(ctx context.Context) (karst.ProducerID, int64, error)

	turn chan struct{} // holds one token: who has it may allocate
	mu   sync.Mutex
	next karst.ProducerID
	left int64
}

func newProducerIDs(allocate func(ctx context.Context) (karst.ProducerID, int64, error)) *producerIDs {
	p := &producerIDs{allocate: allocate, turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

func (p *producerIDs) take() (karst.ProducerID, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left == 0 {
		return 0, false
	}
	p.left--
	p.next++
	return p.next - 1, true
}

// Next is a producer id that was never given out before.
func (p *producerIDs) Next(ctx context.Context) (karst.ProducerID, error) {
	for {
		if id, ok := p.take(); ok {
			return id, nil
		}
		select {
		case <-p.turn:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		err := p.refill(ctx)
		p.turn <- struct{}{}
		if err != nil {
			return 0, err
		}
	}
}

func (p *producerIDs) refill(ctx context.Context) error {
	p.mu.Lock()
	have := p.left > 0
	p.mu.Unlock()
	if have {
		return nil
	}
	first, n, err := p.allocate(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.left = first, n
	return nil
}
