package engine

import (
	"context"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/wal"
)

// memory knows which WAL segments the partitions' tails hold, oldest first, so
// that whole segments are let go when the budget is passed.
type memory struct {
	limit int64 // bytes

	mu      sync.Mutex
	held    []heldSegment
	bytes   int64
	trimmed karst.Number // flushed up to here
}

type heldSegment struct {
	number     karst.Number
	bytes      int64
	partitions []karst.TopicPartition
}

func (m *memory) add(s *wal.Segment) {
	h := heldSegment{number: s.Number, bytes: s.Size, partitions: make([]karst.TopicPartition, len(s.Slices))}
	for k := range s.Slices {
		h.partitions[k] = s.Slices[k].Partition
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = append(m.held, h)
	m.bytes += h.bytes
}

func (m *memory) flushed(trim karst.Number) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trimmed = max(m.trimmed, trim)
}

// over takes the oldest segment out if the budget is passed and it is flushed.
func (m *memory) over() (heldSegment, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes <= m.limit || len(m.held) == 0 || m.held[0].number > m.trimmed {
		return heldSegment{}, false
	}
	h := m.held[0]
	m.held[0] = heldSegment{}
	m.held = m.held[1:]
	m.bytes -= h.bytes
	return h, true
}

// TailBytes is the memory held by durable WAL segments.
func (e *Engine) TailBytes() int64 {
	e.memory.mu.Lock()
	defer e.memory.mu.Unlock()
	return e.memory.bytes
}

// evict lets go of flushed segments above the budget.
func (e *Engine) evict() {
	for {
		h, ok := e.memory.over()
		if !ok {
			return
		}
		for _, tp := range h.partitions {
			if p := e.open(tp); p != nil {
				p.Evict(h.number)
			}
		}
	}
}

// room is where appends wait while the store is behind.
type room struct {
	mu    sync.Mutex
	freed chan struct{} // closed and replaced when something was freed
}

func (r *room) next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.freed
}

func (r *room) free() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.freed)
	r.freed = make(chan struct{})
}

// Freed is to be called when Unflushed has become less: appends wait for that.
func (e *Engine) Freed() { e.room.free() }

// waitForRoom holds an append back while too much is not flushed: the producer
// feels it as back-pressure, and after WaitMax gets a retriable error.
func (e *Engine) waitForRoom(ctx context.Context) error {
	if e.behind() <= e.cfg.UnflushedBytes {
		return nil
	}
	late := time.NewTimer(e.cfg.WaitMax)
	defer late.Stop()
	for {
		freed := e.room.next()
		if e.behind() <= e.cfg.UnflushedBytes {
			return nil
		}
		select {
		case <-freed:
		case <-late.C:
			return karst.Overloaded.Errorf("%d bytes wait for the store, the bound is %d", e.behind(), e.cfg.UnflushedBytes)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (e *Engine) behind() int64 { return e.deps.Log.Pending() + e.deps.Unflushed() }
