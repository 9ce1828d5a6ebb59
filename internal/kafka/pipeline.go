package kafka

import (
	"context"
	"sync"
)

// inflight is a request that was applied and not yet answered.
type inflight struct {
	*Request
	pending Pending
}

// pipeline is the requests of one connection between reader and writer. It is
// bounded by their count and by the bytes of their frames; the last frame may
// exceed the bytes.
type pipeline struct {
	queue    chan inflight // room for countMax, so that a put never waits
	countMax int
	bytesMax int64

	mu    sync.Mutex
	count int
	bytes int64
	freed chan struct{} // holds one token when something was answered
}

func newPipeline(countMax int, bytesMax int64) pipeline {
	return pipeline{
		queue:    make(chan inflight, countMax),
		countMax: countMax,
		bytesMax: bytesMax,
		freed:    make(chan struct{}, 1),
	}
}

func (p *pipeline) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count >= p.countMax || p.bytes >= p.bytesMax
}

// busy reports whether a request waits for its answer.
func (p *pipeline) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count > 0
}

// room waits until another request fits. Only the reader calls it.
func (p *pipeline) room(ctx context.Context) error {
	for p.full() {
		select {
		case <-p.freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// put queues an applied request for the writer, after room.
func (p *pipeline) put(in inflight) {
	p.mu.Lock()
	p.count++
	p.bytes += in.size
	over := p.count > p.countMax
	p.mu.Unlock()
	if over {
		panic("BUG: request put into a full pipeline")
	}
	p.queue <- in
}

// answered makes room.
func (p *pipeline) answered(in inflight) {
	p.mu.Lock()
	p.count--
	p.bytes -= in.size
	p.mu.Unlock()
	select {
	case p.freed <- struct{}{}:
	default:
	}
}
