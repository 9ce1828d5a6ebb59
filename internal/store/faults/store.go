package faults

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/karst-io/karst/internal/store"
)

// Store decorates a store with faults.
type Store struct {
	under store.Store
	start time.Time
	dead  chan struct{} // closed by Crash
	wg    sync.WaitGroup

	mu    sync.Mutex // never held across I/O or a wait
	rng   *rand.Rand
	rules []*Active
	gone  bool

	injected [KindCount][store.OpCount][store.CallerCount]atomic.Int64
	requests [store.OpCount][store.CallerCount]atomic.Int64
}

// Active is a rule in force.
type Active struct {
	s       *Store
	rule    Rule
	matched int64
	hit     int64
}

// New decorates under. Times of rules count from now.
func New(under store.Store, seed uint64, rules ...Rule) *Store {
	s := &Store{
		under: under, start: time.Now(), dead: make(chan struct{}),
		rng: rand.New(rand.NewPCG(seed, 0x6b61727374)),
	}
	for _, r := range rules {
		s.Add(r)
	}
	return s
}

// Add puts a rule in force, after those there are.
func (s *Store) Add(r Rule) *Active {
	if r.Kind >= Crashed {
		panic("BUG: not a kind for rules")
	}
	a := &Active{s: s, rule: r}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, a)
	return a
}

// Remove takes the rule out of force and says how often it hit.
func (a *Active) Remove() int64 {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	for i, other := range a.s.rules {
		if other == a {
			a.s.rules = append(a.s.rules[:i:i], a.s.rules[i+1:]...)
			break
		}
	}
	return a.hit
}

// Heal takes every rule out of force.
func (s *Store) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// Crash ends the process: every call in flight and every later one returns an
// error, and each effect that is outstanding happens after a random time of up
// to 10 s, or never.
func (s *Store) Crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gone {
		s.gone = true
		close(s.dead)
	}
}

// Wait returns when no late effect is outstanding. No call may be in flight.
func (s *Store) Wait() { s.wg.Wait() }

// Close waits for late effects. The store below stays open: others share it.
func (s *Store) Close() error {
	s.wg.Wait()
	return nil
}

func (s *Store) String() string { return s.under.String() }

// Requests is how many requests of a kind a caller made.
func (s *Store) Requests(op store.Op, c store.Caller) int64 { return s.requests[op][c].Load() }

// Count is how often one fault was injected.
type Count struct {
	Kind   Kind
	Op     store.Op
	Caller store.Caller
	N      int64
}

// Injected lists the faults injected so far: the coverage of a run.
func (s *Store) Injected() []Count {
	var all []Count
	for k := range s.injected {
		for o := range s.injected[k] {
			for c := range s.injected[k][o] {
				if n := s.injected[k][o][c].Load(); n > 0 {
					all = append(all, Count{Kind(k), store.Op(o), store.Caller(c), n})
				}
			}
		}
	}
	return all
}

// plan is what will happen to one request.
type plan struct {
	request
	fault  Kind // Slow if none
	late   time.Duration
	before time.Duration // wait before the effect
	after  time.Duration // wait after it
	cut    float64       // where a read breaks off, or which bit flips; from 0 to 1
	fate   bool          // if ctx ends first: the effect happens
}

// plan draws what happens to a request.
func (s *Store) plan(ctx context.Context, op store.Op, name string, size int64) plan {
	q := request{op: op, caller: store.CallerOf(ctx), name: name, since: time.Since(s.start)}
	s.requests[op][q.caller].Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := plan{request: q, cut: s.rng.Float64(), fate: s.rng.Uint64()&1 == 0}
	var slow time.Duration
	for _, a := range s.rules {
		r := &a.rule
		if !r.matches(q) || (r.Kind != Slow && p.fault != Slow) {
			continue
		}
		a.matched++
		if a.matched <= r.Skip || (r.Times > 0 && a.hit >= r.Times) || (r.Chance > 0 && s.rng.Float64() >= r.Chance) {
			continue
		}
		a.hit++
		s.injected[r.Kind][op][q.caller].Add(1)
		var d time.Duration
		if r.Delay != nil {
			d = r.Delay.Of(s.rng, size)
		}
		if r.Kind == Slow {
			slow += d
		} else {
			p.fault, p.late = r.Kind, d
		}
	}
	p.before = time.Duration(float64(slow) * s.rng.Float64())
	p.after = slow - p.before
	return p
}

func (p plan) err() error {
	if p.fault == Throttled {
		return fmt.Errorf("%s %s: %w", p.op, p.name, store.ErrThrottled)
	}
	return fmt.Errorf("%s %s: %w (%s)", p.op, p.name, ErrInjected, p.fault)
}

// sleep waits for d, the end of ctx or a crash.
func (s *Store) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-s.dead:
		return errCrashed
	default:
	}
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.dead:
		return errCrashed
	}
}

var errCrashed = fmt.Errorf("%w: the process is dead: %w", ErrInjected, context.Canceled)

// write runs a request that has an effect. effect is called with the caller's
// ctx now; detach prepares it to run later, without the caller's memory.
func (s *Store) write(ctx context.Context, p plan, effect func(context.Context) error, detach func() func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.crashed() {
		return errCrashed // the dead send nothing
	}
	switch p.fault {
	case Before, Throttled:
		if err := s.sleep(ctx, p.before+p.after); err != nil {
			return err
		}
		return p.err()
	case Late:
		s.later(p.late, detach())
		return p.err()
	case Hung:
		s.later(p.late, detach())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.dead:
			return errCrashed
		}
	}
	if err := s.sleep(ctx, p.before); err != nil {
		s.orphan(p, detach)
		return err
	}
	if err := effect(ctx); err != nil {
		return err
	}
	if err := s.sleep(ctx, p.after); err != nil {
		s.countCrash(p)
		return err
	}
	if p.fault == After {
		return p.err()
	}
	return nil
}

// orphan decides what becomes of a request whose caller went away before its
// effect.
func (s *Store) orphan(p plan, detach func() func()) {
	s.countCrash(p)
	if p.fate {
		s.later(p.before, detach())
	}
}

func (s *Store) countCrash(p plan) {
	if s.crashed() {
		s.injected[Crashed][p.op][p.caller].Add(1)
	}
}

func (s *Store) crashed() bool {
	select {
	case <-s.dead:
		return true
	default:
		return false
	}
}

// later runs an effect after d, on its own. A crash meanwhile draws anew: after
// up to 10 s, or never.
func (s *Store) later(d time.Duration, effect func()) {
	s.wg.Go(func() {
		dead := s.dead
		if s.crashed() {
			dead = nil
		}
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-dead:
			s.mu.Lock()
			drop, again := s.rng.Uint64()&1 == 0, time.Duration(s.rng.Int64N(int64(10*time.Second)))
			s.mu.Unlock()
			if drop {
				return
			}
			time.Sleep(again)
		}
		effect()
	})
}

// upload is Create or Put.
func (s *Store) upload(ctx context.Context, op store.Op, name string, body store.Body, do func(context.Context, string, store.Body) error) error {
	p := s.plan(ctx, op, name, body.Size())
	return s.write(ctx, p,
		func(ctx context.Context) error { return do(ctx, name, body) },
		func() func() {
			// The caller's memory may be reused once we return: copy it now.
			copied := make([]byte, 0, body.Size())
			for _, part := range body.Parts {
				copied = append(copied, part...)
			}
			ctx := context.WithoutCancel(ctx)
			return func() { _ = do(ctx, name, store.Bytes(copied)) } // nobody is left to be told
		})
}

// Create implements store.Creator.
func (s *Store) Create(ctx context.Context, name string, body store.Body) error {
	return s.upload(ctx, store.OpCreate, name, body, s.under.Create)
}

// Put implements store.Writer.
func (s *Store) Put(ctx context.Context, name string, body store.Body) error {
	return s.upload(ctx, store.OpPut, name, body, s.under.Put)
}

// Delete implements store.Deleter.
func (s *Store) Delete(ctx context.Context, names []string) error {
	name := ""
	if len(names) > 0 {
		name = names[0]
	}
	p := s.plan(ctx, store.OpDelete, name, 0)
	return s.write(ctx, p,
		func(ctx context.Context) error { return s.under.Delete(ctx, names) },
		func() func() {
			copied, ctx := append([]string(nil), names...), context.WithoutCancel(ctx)
			return func() { _ = s.under.Delete(ctx, copied) }
		})
}

// read waits as planned and fails as planned, before the read itself.
func (s *Store) read(ctx context.Context, p plan) error {
	if p.fault == Hung {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.dead:
			return errCrashed
		}
	}
	if err := s.sleep(ctx, p.before+p.after); err != nil {
		return err
	}
	if p.fault == Before || p.fault == Throttled {
		return p.err()
	}
	return nil
}

// Get implements store.Reader.
func (s *Store) Get(ctx context.Context, name string, off int64, b []byte) (int, error) {
	p := s.plan(ctx, store.OpGet, name, int64(len(b)))
	if err := s.read(ctx, p); err != nil {
		return 0, err
	}
	n, err := s.under.Get(ctx, name, off, b)
	if err != nil || n == 0 {
		return n, err
	}
	switch p.fault {
	case Truncated:
		n = int(p.cut * float64(n))
		return n, fmt.Errorf("%w: %w", p.err(), io.ErrUnexpectedEOF)
	case Flipped:
		bit := int(p.cut * float64(8*n))
		b[bit/8] ^= 1 << (bit % 8)
	}
	return n, nil
}

// Head implements store.Reader.
func (s *Store) Head(ctx context.Context, name string) (store.Info, error) {
	p := s.plan(ctx, store.OpHead, name, 0)
	if err := s.read(ctx, p); err != nil {
		return store.Info{}, err
	}
	return s.under.Head(ctx, name)
}

// List implements store.Reader.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		p := s.plan(ctx, store.OpList, prefix, 0)
		if err := s.read(ctx, p); err != nil {
			yield(store.Info{}, err)
			return
		}
		left := int(p.cut * 10)
		for info, err := range s.under.List(ctx, prefix, after) {
			if err == nil && p.fault == Truncated {
				if left == 0 {
					yield(store.Info{}, p.err())
					return
				}
				left--
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}
