package kafka

import (
	"context"
	"sync"
)

// A budget bounds the memory of frames over all connections. Who waits for it
// does not read its socket, so that TCP stops the client.
//
// A frame draws in steps while its bytes arrive, so two half-read frames could
// wait for each other's memory. Therefore growth goes before new frames, and one
// frame at a time may grow beyond the budget: it completes, is applied and gives
// everything back. The memory in use is at most the budget plus one frame.
//
// Rejected: drawing the claimed size at once. A 4-byte claim of 100 MiB would
// take the memory of all other clients.
type budget struct {
	mu        sync.Mutex
	free      int64 // negative while a frame is overdrawn
	overdrawn bool
	growing   []*draw // waiting, in order
	starting  []*draw
}

// draw is a frame's share of a budget.
type draw struct {
	held      int64
	overdrawn bool

	want  int64
	ready chan struct{} // closed when want was granted
}

// try adds n bytes to d if they are there.
func (b *budget) try(d *draw, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	d.want = n
	ok := b.grant(d, len(b.growing)+len(b.starting) > 0)
	d.want = 0
	return ok
}

// take adds n bytes to d, waiting for them until ctx ends.
func (b *budget) take(ctx context.Context, d *draw, n int64) error {
	b.mu.Lock()
	d.want = n
	if b.grant(d, len(b.growing)+len(b.starting) > 0) {
		b.mu.Unlock()
		return nil
	}
	d.ready = make(chan struct{})
	if d.held > 0 {
		b.growing = append(b.growing, d)
	} else {
		b.starting = append(b.starting, d)
	}
	b.mu.Unlock()

	select {
	case <-d.ready:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	b.growing, b.starting = without(b.growing, d), without(b.starting, d)
	got := d.want == 0 // granted meanwhile
	d.want = 0
	granted := b.admit() // those behind d may want less
	b.mu.Unlock()
	release(granted)
	if got {
		return nil
	}
	return context.Cause(ctx)
}

// grant gives d what it wants if that is there. queued says that others wait.
func (b *budget) grant(d *draw, queued bool) bool {
	grows := d.held > 0
	switch {
	case b.free >= d.want && (grows || !queued):
	case grows && (d.overdrawn || !b.overdrawn):
		d.overdrawn, b.overdrawn = true, true
	default:
		return false
	}
	b.free -= d.want
	d.held += d.want
	d.want = 0
	return true
}

// give returns all that d holds.
func (b *budget) give(d *draw) {
	b.mu.Lock()
	b.free += d.held
	if d.overdrawn {
		b.overdrawn = false
	}
	d.held, d.overdrawn = 0, false
	granted := b.admit()
	b.mu.Unlock()
	release(granted)
}

// admit grants what can be granted, in order.
func (b *budget) admit() (granted []*draw) {
	for len(b.growing) > 0 && b.grant(b.growing[0], false) {
		granted = append(granted, b.growing[0])
		b.growing = b.growing[1:]
	}
	for len(b.growing) == 0 && len(b.starting) > 0 && b.grant(b.starting[0], false) {
		granted = append(granted, b.starting[0])
		b.starting = b.starting[1:]
	}
	return granted
}

func release(granted []*draw) {
	for _, d := range granted {
		close(d.ready)
	}
}

func without(list []*draw, d *draw) []*draw {
	for i, x := range list {
		if x == d {
			return append(list[:i:i], list[i+1:]...)
		}
	}
	return list
}
