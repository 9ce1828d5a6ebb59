package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
)

const (
	// coldSlots bounds the reads that go to the store at once, for all fetches.
	coldSlots = 64
	// coldPerFetch bounds those of one fetch.
	coldPerFetch = 16
	// coldTimeout ends a read that the store does not answer.
	coldTimeout = 30 * time.Second
)

// coldReads are reads of segments. A read goes on when the fetch that wanted it
// has been answered: the next fetch of the same finds it in progress, or its
// blocks in the cache. Otherwise a store slower than the client's patience would
// stop that client for ever. Fetches that want the same share a read.
//
// What they read stays in memory until slow clients have taken it, so they draw
// from a budget: who finds it spent waits, and its fetch is answered without.
type coldReads struct {
	log    Log
	slots  chan struct{}
	bytes  int64 // the budget's size
	memory budget
	ctx    context.Context //nolint:containedctx // the life of all reads, ended by close
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu    sync.Mutex
	reads map[coldKey]*coldRead
}

type coldKey struct {
	at  karst.TopicPartition
	req engine.ReadRequest
}

// coldRead is one read; its result may be looked at once ready is closed.
type coldRead struct {
	of      *coldReads
	key     coldKey
	started time.Time
	share   draw
	ready   chan struct{}
	read    *engine.Read
	err     error

	// Of the lock of coldReads.
	holds   int          // who may look at the result, the read itself included
	waiters []chan<- int // told once, without blocking
}

func newColdReads(log Log, bytes int64) *coldReads {
	ctx, cancel := context.WithCancel(context.Background())
	return &coldReads{
		log: log, slots: make(chan struct{}, coldSlots), bytes: bytes, memory: budget{free: bytes},
		ctx: ctx, cancel: cancel, reads: make(map[coldKey]*coldRead),
	}
}

// close ends all reads and waits for them.
func (c *coldReads) close() {
	c.cancel()
	c.done.Wait()
}

// start joins the read, or begins it. When it is over, wake gets a token: it has
// room for one from each read it is given to. release it in the end.
func (c *coldReads) start(at karst.TopicPartition, req engine.ReadRequest, wake chan<- int) *coldRead {
	key := coldKey{at, req}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.reads[key]
	if r == nil {
		r = &coldRead{of: c, key: key, started: time.Now(), ready: make(chan struct{}), holds: 1}
		c.reads[key] = r
		c.done.Go(r.run)
	}
	r.holds++
	r.waiters = append(r.waiters, wake)
	return r
}

func (r *coldRead) run() {
	c := r.of
	ctx, cancel := context.WithTimeout(c.ctx, coldTimeout)
	defer cancel()
	if r.err = c.memory.take(ctx, &r.share, min(int64(r.key.req.MaxBytes), c.bytes)); r.err == nil {
		r.err = r.fill(ctx)
	}
	c.mu.Lock()
	if c.reads[r.key] == r {
		delete(c.reads, r.key)
	}
	close(r.ready)
	for _, w := range r.waiters {
		select {
		case w <- 1:
		default:
		}
	}
	r.waiters = nil
	c.mu.Unlock()
	r.release()
}

// fill reads, once there is a slot.
func (r *coldRead) fill(ctx context.Context) (err error) {
	c := r.of
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !r.wanted() {
		return context.Canceled
	}
	r.read, err = c.log.Read(ctx, r.key.at, r.key.req)
	return err
}

// wanted reports whether somebody waits for the read that is about to begin;
// if not, nobody can join it any more.
func (r *coldRead) wanted() bool {
	c := r.of
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.holds > 1 {
		return true
	}
	delete(c.reads, r.key)
	return false
}

// isReady reports whether the result is there.
func (r *coldRead) isReady() bool {
	select {
	case <-r.ready:
		return true
	default:
		return false
	}
}

// release gives up the hold that start returned.
func (r *coldRead) release() {
	r.of.mu.Lock()
	r.holds--
	last := r.holds == 0
	r.of.mu.Unlock()
	if !last {
		return
	}
	if r.read != nil {
		r.read.Release()
	}
	r.of.memory.give(&r.share)
}
