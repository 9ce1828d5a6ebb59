package flush

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
)

// pending is what waits for a flush, and what is in one. Under Flusher.mu.
type pending struct {
	segments []*wal.Segment
	oldest   time.Time // when segments[0] came
	last     karst.Number
	bytes    int64 // of segments and of what is in flight
	count    int

	starts  map[karst.TopicPartition]karst.Offset // wishes for a log start
	wished  time.Time                             // the oldest of starts
	waiters []*waiter
	busy    bool // a batch was taken and is not finished
	stopped bool
}

// waiter is one call of Flush or HandOver.
type waiter struct {
	moves map[karst.TopicPartition]karst.Incarnation
	done  chan error // of capacity 1
}

// result is what a waiter is told of its batch.
func (w *waiter) result(b *batch, err error) error {
	if err != nil {
		return errors.Join(ErrStopped, err)
	}
	if len(w.moves) > 0 {
		return b.moveErr
	}
	return nil
}

// batch is what one flush takes on.
type batch struct {
	segments []*wal.Segment
	bytes    int64
	starts   map[karst.TopicPartition]karst.Offset
	moves    map[karst.TopicPartition]karst.Incarnation
	moveErr  error
	// settle asks for a request even if there is nothing to flush: an attempt of a
	// refused one may still be on its way to another controller, and a hand-over
	// must not happen once appends go on. The next request excludes it (I9).
	settle  bool
	waiters []*waiter
}

func newPending() pending {
	return pending{starts: map[karst.TopicPartition]karst.Offset{}}
}

// Add hands a durable WAL segment to the flusher, in number order; it takes
// over the caller's hold on the slices and releases it after the flush. It does
// not block.
func (f *Flusher) Add(s *wal.Segment) {
	f.mu.Lock()
	if s.Number != f.last+1 {
		f.mu.Unlock()
		panic(fmt.Sprintf("BUG: I1: WAL segment %d after %d", s.Number, f.last))
	}
	f.last = s.Number
	stopped := f.stopped
	if !stopped {
		if len(f.segments) == 0 {
			f.oldest = time.Now()
		}
		f.segments = append(f.segments, s)
		f.bytes += s.Size
		f.count++
		if len(f.segments) == 1 || f.bytes >= f.c.Bytes || f.count >= f.c.Segments {
			poke(f.kick)
		}
	}
	f.mu.Unlock()
	if stopped {
		letGo([]*wal.Segment{s})
	}
}

// SetLogStart asks that the log start of a partition be raised to at least
// start, within Config.Age: retention's way to commit. A start above what is
// flushed then is cut to that. It does not block.
func (f *Flusher) SetLogStart(tp karst.TopicPartition, start karst.Offset) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wish()
	f.starts[tp] = max(f.starts[tp], start)
}

func (f *Flusher) wish() {
	if len(f.starts) == 0 {
		f.wished = time.Now()
		poke(f.kick)
	}
}

// Flush flushes all that was added, and returns when the image shows it.
func (f *Flusher) Flush(ctx context.Context) error { return f.wait(ctx, nil) }

// HandOver flushes all that was added and hands the partitions over in the same
// commit. No append to them may be in flight, nor follow (I2). When it returns
// nil the image shows the flush; look there for who leads. An error other than
// ErrOver or ErrStopped says that the partitions are still led by this
// incarnation, except for the context's: then the outcome is unknown.
func (f *Flusher) HandOver(ctx context.Context, moves map[karst.TopicPartition]karst.Incarnation) error {
	if len(moves) == 0 {
		return nil
	}
	return f.wait(ctx, maps.Clone(moves))
}

func (f *Flusher) wait(ctx context.Context, moves map[karst.TopicPartition]karst.Incarnation) error {
	w := &waiter{moves: moves, done: make(chan error, 1)}
	f.mu.Lock()
	switch {
	case f.stopped:
		f.mu.Unlock()
		return ErrStopped
	case moves == nil && len(f.segments) == 0 && len(f.starts) == 0 && !f.busy:
		f.mu.Unlock()
		return nil
	}
	f.waiters = append(f.waiters, w)
	f.mu.Unlock()
	poke(f.kick)
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Unflushed is how much WAL the image does not cover yet.
func (f *Flusher) Unflushed() (bytes int64, segments int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bytes, f.count
}

// due says whether to flush now, or else how long to wait; below 0 is for ever.
func (p *pending) due(c Config, now time.Time) (bool, time.Duration) {
	if len(p.waiters) > 0 || p.bytes >= c.Bytes && len(p.segments) > 0 || p.count >= c.Segments {
		return true, 0
	}
	wait := time.Duration(-1)
	sooner := func(since time.Time) {
		if d := max(0, since.Add(c.Age).Sub(now)); wait < 0 || d < wait {
			wait = d
		}
	}
	if len(p.segments) > 0 {
		sooner(p.oldest)
	}
	if len(p.starts) > 0 {
		sooner(p.wished)
	}
	return wait == 0, wait
}

// take makes all that waits a batch.
func (p *pending) take() *batch {
	b := &batch{
		segments: p.segments, starts: p.starts, waiters: p.waiters,
		moves: map[karst.TopicPartition]karst.Incarnation{},
	}
	for _, s := range b.segments {
		b.bytes += s.Size
	}
	for _, w := range b.waiters {
		maps.Copy(b.moves, w.moves)
	}
	p.segments, p.waiters = nil, nil
	p.starts = map[karst.TopicPartition]karst.Offset{}
	p.busy = true
	return b
}

// finish takes a batch off the books, if it is flushed, or back to what waits.
func (p *pending) finish(b *batch, err error) {
	p.busy = false
	if err != nil {
		p.segments = append(b.segments, p.segments...)
		return
	}
	p.bytes -= b.bytes
	p.count -= len(b.segments)
}

func (p *pending) stop() (rest []*wal.Segment, waiters []*waiter) {
	rest, waiters = p.segments, p.waiters
	p.segments, p.waiters, p.stopped = nil, nil, true
	return rest, waiters
}

// newestState is where the newest checkpoint of a partition ends, how many
// deltas follow the last full one, and how many sources lie above.
func newestState(p *metadata.PartitionState) (next karst.Offset, deltas, above int) {
	for i := len(p.States) - 1; i >= 0 && !p.States[i].Full; i-- {
		deltas++
	}
	if n := len(p.States); n > 0 {
		next = p.States[n-1].Next
	}
	for i := len(p.Sources) - 1; i >= 0 && p.Sources[i].Last >= next; i-- {
		above++
	}
	return next, deltas, above
}
