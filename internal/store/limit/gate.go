package limit

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/karst-io/karst/internal/store"
)

// fairness: one grant in so many goes to who has waited longest.
const fairness = 16

// gate lets requests in, most urgent first.
type gate struct {
	cfg Config

	mu      sync.Mutex // held for bookkeeping only
	in      [store.CallerCount]int
	total   int
	relaxed int // slots held by callers that are not urgent
	queues  [store.CallerCount][]*waiter
	queued  int
	arrived uint64 // waiters so far
	granted uint64 // grants to waiters so far
	// accounts: [direction][0] is charged by all and waited for by those who are
	// not urgent, [direction][1] by and for the urgent alone.
	accounts [directions][2]account
	timer    *time.Timer // runs dispatch when a debt is paid; nil if none is due
	closed   bool
}

// waiter is a request in a queue.
type waiter struct {
	caller store.Caller
	dir    direction
	size   int64
	order  uint64
	ready  chan struct{} // closed by the grant
}

func newGate(cfg Config) *gate {
	g := &gate{cfg: cfg}
	now := time.Now()
	for i := range 2 {
		g.accounts[up][i] = account{rate: float64(cfg.Up), at: now}
		g.accounts[down][i] = account{rate: float64(cfg.Down), at: now}
	}
	return g
}

// enter waits for a slot and bandwidth; leave gives the slot back.
func (g *gate) enter(ctx context.Context, dir direction, size int64) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := store.CallerOf(ctx)
	w := &waiter{caller: c, dir: dir, size: size, ready: make(chan struct{})}
	if err := g.join(w); err != nil {
		return nil, err
	}
	select {
	case <-w.ready:
	case <-ctx.Done():
		g.quit(w)
		return nil, ctx.Err()
	}
	return func() { g.leave(c) }, nil
}

func (g *gate) join(w *waiter) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.queued >= g.cfg.Queue {
		return errFull(g.queued)
	}
	g.arrived++
	w.order = g.arrived
	g.queues[w.caller] = append(g.queues[w.caller], w)
	g.queued++
	g.dispatch()
	return nil
}

// quit takes back a request whose context ended: out of its queue, or out of
// the slot it was just given.
func (g *gate) quit(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queues[w.caller], w); i >= 0 {
		g.queues[w.caller] = slices.Delete(g.queues[w.caller], i, i+1)
		g.queued--
	} else {
		g.free(w.caller)
	}
	g.dispatch()
}

func (g *gate) leave(c store.Caller) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free(c)
	g.dispatch()
}

func (g *gate) free(c store.Caller) {
	g.in[c]--
	g.total--
	if !urgent(c) {
		g.relaxed--
	}
	if g.in[c] < 0 {
		panic("BUG: limiter slot given back twice")
	}
}

// dispatch grants what can be granted. Called with mu held.
func (g *gate) dispatch() {
	now := time.Now()
	for d := range g.accounts {
		g.accounts[d][0].fill(now)
		g.accounts[d][1].fill(now)
	}
	for g.queued > 0 {
		w, debt := g.pick()
		if w == nil {
			g.wakeIn(debt)
			return
		}
		g.grant(w)
	}
}

// pick chooses the next request: the most urgent of the heads of the queues that
// can go, or the oldest when fairness is due. If bandwidth alone holds requests
// back, it returns when the first debt is paid.
func (g *gate) pick() (best *waiter, debt time.Duration) {
	oldest := g.granted%fairness == fairness-1
	for c := range g.queues {
		if len(g.queues[c]) == 0 || !g.slot(store.Caller(c)) {
			continue
		}
		w := g.queues[c][0]
		if wait := g.account(w).wait(); wait > 0 {
			if debt == 0 || wait < debt {
				debt = wait
			}
			continue
		}
		if best == nil || (oldest && w.order < best.order) {
			best = w
		}
	}
	return best, debt
}

// slot reports whether the caller may have one more slot.
func (g *gate) slot(c store.Caller) bool {
	if g.total >= g.cfg.Concurrency || g.in[c] >= g.cfg.Caps[c] {
		return false
	}
	return urgent(c) || g.relaxed < max(g.cfg.Concurrency-g.cfg.Concurrency/4, 1)
}

func (g *gate) account(w *waiter) *account {
	if urgent(w.caller) {
		return &g.accounts[w.dir][1]
	}
	return &g.accounts[w.dir][0]
}

func (g *gate) grant(w *waiter) {
	g.queues[w.caller] = g.queues[w.caller][1:]
	g.queued--
	g.granted++
	g.in[w.caller]++
	g.total++
	if !urgent(w.caller) {
		g.relaxed++
	}
	g.charge(w.caller, w.dir, w.size)
	close(w.ready)
}

// charge takes bytes from the accounts of a direction. Called with mu held.
func (g *gate) charge(c store.Caller, dir direction, size int64) {
	if urgent(c) {
		g.accounts[dir][1].take(size)
		size -= size / fairness // the rest is the reserve of the others
	}
	g.accounts[dir][0].take(size)
}

// refund gives back bytes that were charged and not moved.
func (g *gate) refund(c store.Caller, dir direction, size int64) {
	if size == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.charge(c, dir, -size)
}

// wakeIn arranges for a dispatch when a debt is paid; 0 is no need for it.
func (g *gate) wakeIn(debt time.Duration) {
	if debt == 0 || g.closed {
		return
	}
	if g.timer == nil {
		g.timer = time.AfterFunc(debt, g.wake)
		return
	}
	g.timer.Reset(debt)
}

func (g *gate) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dispatch()
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.timer != nil {
		g.timer.Stop()
	}
}

func (g *gate) waiting(c store.Caller) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queues[c])
}

func (g *gate) running(c store.Caller) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.in[c]
}
