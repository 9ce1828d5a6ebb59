package wal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
	"github.com/karst-io/karst/internal/store/objlog"
)

// flight is one segment between its start and its acknowledgement.
type flight struct {
	number  karst.Number
	group   *group
	commit  *Commit
	count   int // appends, without gathered ones: those are nobody's burst
	bytes   int64
	startAt time.Time

	// Set by the uploader before it reports.
	built *segment.Built
	mem   *memory
	err   error

	ended bool // reported
	acked bool // its Commit is done
}

// runner is the state of one Run: touched by its goroutine alone.
type runner struct {
	*WAL
	pace    pacer
	durable func(*Segment)
	results chan *flight
	flights []*flight // not yet acknowledged, in number order
	running int       // uploaders
	upload  context.Context
	drain   bool
	coming  bool // a group waits for its time or for a slot, not for LazyInterval

	proofs []*proof // begun, in the order of their beginning
	heads  chan head
	asking bool // a HEAD is under way
	asked  time.Time
}

// Run does the work until ctx ends (then it drains what is open, bounded by
// StallTimeout, and returns nil) or the incarnation is over (ErrOver). Appends
// are refused from then on. Durable segments are handed to durable in number
// order, before their Commits are done; it must not block.
func (w *WAL) Run(ctx context.Context, durable func(*Segment)) error {
	upload, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	r := &runner{
		WAL: w, pace: pacer{config: w.config}, durable: durable,
		results: make(chan *flight, w.config.Inflight), heads: make(chan head, 1),
		upload: store.WithCaller(upload, store.CallerWAL),
	}
	err := r.loop(ctx)
	queued := w.end()
	r.fail(queued, err)
	r.disprove()
	cancel()
	for r.running > 0 {
		r.collect(<-r.results)
	}
	if r.asking {
		<-r.heads
	}
	for _, f := range r.flights {
		if f.mem != nil {
			f.mem.Release()
		}
	}
	r.memory.Close()
	return err
}

// loop starts and settles uploads. It returns nil when everything is drained.
func (r *runner) loop(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	done := ctx.Done()
	var drained <-chan time.Time
	for {
		wait, waiting := r.startDue()
		if r.drain && !waiting && r.running == 0 {
			return nil
		}
		if ask, due := r.askDue(); due && (!waiting || ask < wait) {
			wait, waiting = ask, true
		}
		if waiting {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-r.wake:
		case <-timer.C:
		case f := <-r.results:
			if err := r.settle(f); err != nil {
				return err
			}
		case h := <-r.heads:
			if err := r.answered(h); err != nil {
				return err
			}
		case <-done:
			if errors.Is(context.Cause(ctx), ErrAbandon) {
				return fmt.Errorf("%w: %w", ErrOver, ErrAbandon)
			}
			done, r.drain = nil, true
			r.gather()
			r.refuse()
			limit := time.NewTimer(r.config.StallTimeout)
			defer limit.Stop()
			drained = limit.C
		case <-drained:
			return fmt.Errorf("%w: %w while draining", ErrOver, ErrStalled)
		}
	}
}

// startDue starts every group whose time has come, and says how long to wait
// for the next look, and whether a group is left waiting.
func (r *runner) startDue() (wait time.Duration, waiting bool) {
	for {
		now := time.Now()
		nudged := nudge(r.nudged.Load())
		r.mu.Lock()
		queued, count, bytes := len(r.queue), 0, int64(0)
		if queued > 0 {
			count, bytes = r.queue[0].count(), r.queue[0].bytes
		}
		r.coming = queued > 0 || nudged == nudgedNow
		if queued == 0 && nudged == notNudged {
			r.wakeAt = 0
			r.mu.Unlock()
			return 0, false
		}
		busy := r.running == r.config.Inflight
		wait = r.pace.look(now, count, bytes, !r.coming, queued > 1, busy, r.newest())
		if busy || wait > 0 && !r.drain {
			r.wakeAt = 0
			if !r.pace.waited {
				r.wakeAt = r.pace.target(now)
			}
			r.mu.Unlock()
			return wait, true
		}
		r.mu.Unlock()
		r.gather()
		if g := r.take(); g != nil {
			r.pace.started(now)
			r.start(now, g, count)
		} else {
			r.pace.vanished()
		}
	}
}

// take takes the group at the head out of the queue; nil if there is none.
func (r *runner) take() *group {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return nil
	}
	g := r.queue[0]
	r.queue = append(r.queue[:0], r.queue[1:]...)
	return g
}

// newest is when the newest upload still running started; zero if none is.
func (r *runner) newest() time.Time {
	if n := len(r.flights); n > 0 && !r.flights[n-1].ended {
		return r.flights[n-1].startAt
	}
	return time.Time{}
}

// start gives the group its number and uploads it. count is the number of its
// appends that were not gathered.
func (r *runner) start(now time.Time, g *group, count int) {
	n := karst.Number(r.started.Add(1))
	r.attempts(n)
	f := &flight{number: n, group: g, commit: g.commit, count: count, bytes: g.bytes, startAt: now}
	r.flights = append(r.flights, f)
	r.running++
	go func() { // waited for through results
		r.put(f)
		r.results <- f // never blocks: as many places as uploaders
	}()
}

// put seals the flight's group and creates its object.
func (r *runner) put(f *flight) {
	f.mem = newMemory()
	f.built, f.err = r.seal(f)
	f.group.letGo()
	if f.err != nil {
		return
	}
	f.mem.Retain()
	defer f.mem.Release()
	ctx, cancel := context.WithTimeoutCause(r.upload, r.config.StallTimeout, ErrStalled)
	defer cancel()
	f.err = r.log.Create(ctx, f.number, f.built.Directory.Header, f.built.Body)
	if f.err != nil && !errors.Is(f.err, objlog.ErrOver) && ctx.Err() != nil {
		f.err = fmt.Errorf("%w: %w", ErrStalled, f.err)
	}
}

// seal copies the group into a segment.
func (r *runner) seal(f *flight) (*segment.Built, error) {
	alloc := func(n int) []byte {
		b, c := r.memory.Get(n)
		f.mem.chunks = append(f.mem.chunks, c)
		return b
	}
	header := r.log.Header(object.Segment, 1, f.number)
	b, err := segment.Build(header, f.group.batches, slices.Clone(f.group.trims), nil, r.config.ChunkBytes, alloc)
	if err != nil {
		return nil, fmt.Errorf("seal WAL segment %d: %w", f.number, err)
	}
	b.Body.Hold = f.mem
	return b, nil
}

// collect takes back what an uploader has ended with.
func (r *runner) collect(f *flight) {
	r.running--
	f.ended = true
	g := f.group
	f.group = nil
	r.mu.Lock()
	if len(r.spare) < r.config.Inflight {
		r.spare = append(r.spare, g)
	}
	r.mu.Unlock()
}

// settle takes an uploader's report and acknowledges what may be (I1).
func (r *runner) settle(f *flight) error {
	r.collect(f)
	if f.err != nil {
		return fmt.Errorf("%w: number %d: %w", ErrOver, f.number, f.err)
	}
	now := time.Now()
	if !checkPrefix {
		r.acknowledge(f)
	}
	acknowledged := 0
	for len(r.flights) > 0 && r.flights[0].ended {
		head := r.flights[0]
		r.flights[0] = nil
		r.flights = r.flights[1:]
		acknowledged += head.count
		r.confirmed.Store(uint64(head.number))
		r.deliver(head)
	}
	r.prove()
	if acknowledged > 0 {
		r.mu.Lock()
		pending := 0
		if len(r.queue) > 0 {
			pending = r.queue[0].count()
		}
		r.mu.Unlock()
		r.pace.acked(now, acknowledged, pending, now.Sub(f.startAt))
	}
	return nil
}

// deliver hands a durable segment on and acknowledges it. Its bytes count as
// pending until then, and not beside what counts them next.
func (r *runner) deliver(f *flight) {
	r.discount(f.bytes)
	r.durable(sealed(f.number, f.built, f.mem))
	f.mem.Release()
	r.acknowledge(f)
}

// acknowledge tells the appends of a flight that they are durable.
func (r *runner) acknowledge(f *flight) {
	if f.acked {
		return // only without checkPrefix
	}
	f.acked = true
	f.commit.finish(nil)
}

// refuse makes later appends fail.
func (w *WAL) refuse() {
	w.mu.Lock()
	w.over = true
	room := w.takeRoom()
	w.mu.Unlock()
	if room != nil {
		close(room)
	}
}

// end refuses later appends and returns the groups that never started.
func (w *WAL) end() []*group {
	w.refuse()
	w.mu.Lock()
	defer w.mu.Unlock()
	queued := w.queue
	w.queue, w.spare = nil, nil
	return queued
}

// fail ends every Commit that is not acknowledged: its outcome is unknown.
func (r *runner) fail(queued []*group, why error) {
	unknown := karst.TimedOut.Errorf("not known to be durable: %v", why)
	for _, f := range r.flights {
		if f.acked {
			continue // only without checkPrefix
		}
		f.commit.finish(unknown)
		r.discount(f.bytes)
	}
	for _, g := range queued {
		g.commit.finish(unknown)
		r.discount(g.bytes)
		g.letGo()
	}
}
