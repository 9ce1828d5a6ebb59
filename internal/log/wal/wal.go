package wal

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
)

var (
	// ErrOver: the incarnation is over (I4). It must stop leading and register
	// as a new one.
	ErrOver = errors.New("incarnation is over")
	// ErrStalled: a number could not be written for StallTimeout. Errors that
	// wrap it wrap ErrOver, too.
	ErrStalled = errors.New("write-ahead log made no progress")
	// ErrAbandon as the cause of a context's end makes Run return at once,
	// without draining, as if the process had died.
	ErrAbandon = errors.New("write-ahead log abandoned")
)

// Log is the numbered log of the incarnation, as objlog.Log has it.
type Log interface {
	Header(kind object.Kind, version uint8, n karst.Number) object.Header
	// Create returns nil (there, and ours), objlog.ErrOver, or objlog.ErrUnknown
	// when ctx ended first.
	Create(ctx context.Context, n karst.Number, h object.Header, body store.Body) error
	// Exists reports whether the store shows an object of number n, whatever it
	// is. It tries until ctx ends; its error is ctx's.
	Exists(ctx context.Context, n karst.Number) (bool, error)
}

// WAL is the log of one live incarnation.
type WAL struct {
	config Config
	log    Log
	memory *chunk.Arena
	wake   chan struct{} // buffered; tells Run to look

	refused *Commit // shared by all appends after the end

	started   atomic.Uint64 // highest number whose create may have been attempted
	confirmed atomic.Uint64 // it and all lower ones are durable
	pending   atomic.Int64  // bytes appended, not yet acknowledged
	nudged    atomic.Uint32 // a nudge: what Gather is said to have

	mu      sync.Mutex
	queue   []*group // the last one is open
	spare   []*group // for reuse
	over    bool
	proof   *proof // that calls of Prove join; nil if none waits to be begun
	wakeAt  int    // appends in the head group at which Run wants to look
	room    chan struct{}
	waiting bool // somebody waits on room
}

// New makes the WAL of an incarnation whose log is empty: numbers start at 1.
// Segments take their memory from pool.
func New(log Log, pool *chunk.Pool, c Config) *WAL {
	w := &WAL{
		config: c.withDefaults(), log: log, memory: chunk.NewArena(pool),
		wake: make(chan struct{}, 1), refused: newCommit(), room: make(chan struct{}),
	}
	w.refused.finish(karst.NotLeader.Errorf("this broker's incarnation is over"))
	return w
}

// Append adds a batch to the open buffer and says how its durability will be
// known. The caller holds its partition's lock, so that offsets of a partition
// enter in order. It never blocks. After the end of the incarnation the
// returned Commit is already done, with an error of code NotLeader (definite:
// nothing was written).
func (w *WAL) Append(b Batch) *Commit {
	w.mu.Lock()
	g := w.tail(int64(len(b.Bytes)), 1)
	if g == nil {
		w.mu.Unlock()
		return w.refused
	}
	before := g.count()
	g.add(&b)
	return w.appended(g, before, int64(len(b.Bytes)))
}

// AppendAll adds batches that become durable together or not at all. The caller
// holds the locks of all their partitions.
func (w *WAL) AppendAll(batches []Batch) *Commit {
	var bytes int64
	for i := range batches {
		bytes += int64(len(batches[i].Bytes))
	}
	w.mu.Lock()
	g := w.tail(bytes, len(batches))
	if g == nil {
		w.mu.Unlock()
		return w.refused
	}
	before := g.count()
	for i := range batches {
		g.add(&batches[i])
	}
	return w.appended(g, before, bytes)
}

// AppendTrim adds a DeleteRecords entry.
func (w *WAL) AppendTrim(t segment.Trim) *Commit {
	w.mu.Lock()
	g := w.tail(0, 1)
	if g == nil {
		w.mu.Unlock()
		return w.refused
	}
	before := g.count()
	g.trims = append(g.trims, t)
	return w.appended(g, before, 0)
}

// tail is the open group, a new one if the last has no place for so much more;
// nil after the end. The caller holds mu.
func (w *WAL) tail(bytes int64, count int) *group {
	if w.over {
		return nil
	}
	if n := len(w.queue); n > 0 {
		g := w.queue[n-1]
		if g.bytes+bytes <= groupFactor*int64(w.config.BatchBytes) && g.count()+count <= groupCountMax {
			return g
		}
	}
	g := &group{}
	if n := len(w.spare); n > 0 {
		g, w.spare = w.spare[n-1], w.spare[:n-1]
	}
	g.commit = newCommit()
	w.queue = append(w.queue, g)
	return g
}

// appended ends an append that found before in the group: it unlocks mu, and
// wakes Run if this is news to it.
func (w *WAL) appended(g *group, before int, bytes int64) *Commit {
	c := g.commit
	w.pending.Add(bytes)
	full := int64(w.config.BatchBytes)
	news := before == 0 || before < w.wakeAt && g.count() >= w.wakeAt || g.bytes >= full && g.bytes-bytes < full
	w.mu.Unlock()
	if news {
		w.poke()
	}
	return c
}

// poke makes Run look.
func (w *WAL) poke() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Started is the highest number whose create may have been attempted. A request
// that notes it knows: a higher number was first attempted after the request
// came, and the one after it was not attempted before. Prove does this.
func (w *WAL) Started() karst.Number { return karst.Number(w.started.Load()) }

// Confirmed is the number up to which, gapless, everything is durable.
func (w *WAL) Confirmed() karst.Number { return karst.Number(w.confirmed.Load()) }

// Pending is the number of bytes appended but not yet acknowledged.
func (w *WAL) Pending() int64 { return w.pending.Load() }

// Wait waits until fewer than Config.PendingBytes are unacknowledged, or the
// incarnation is over (then an append is refused at once). Its error is ctx's.
// Append never waits: who must not be throttled does not call Wait.
func (w *WAL) Wait(ctx context.Context) error {
	for {
		w.mu.Lock()
		room := w.room
		free := w.over || w.config.PendingBytes <= 0 || w.pending.Load() < w.config.PendingBytes
		w.waiting = w.waiting || !free
		w.mu.Unlock()
		if free {
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// discount takes bytes off Pending, and lets those go on who wait for that.
func (w *WAL) discount(bytes int64) {
	left := w.pending.Add(-bytes)
	if w.config.PendingBytes <= 0 || left >= w.config.PendingBytes {
		return
	}
	w.mu.Lock()
	room := w.takeRoom()
	w.mu.Unlock()
	if room != nil {
		close(room)
	}
}

// takeRoom is the channel to close, if anybody waits on it. The caller holds mu.
func (w *WAL) takeRoom() chan struct{} {
	if !w.waiting {
		return nil
	}
	room := w.room
	w.room, w.waiting = make(chan struct{}), false
	return room
}
