package wal

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/proptest"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/object"
	"github.com/karst-io/karst/internal/store/objlog"
)

// asked is a call of Prove under way.
type asked struct {
	done chan struct{}
	err  error
}

func (r *running) ask() *asked {
	a := &asked{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.err = r.Prove(context.Background())
	}()
	synctest.Wait() // it has joined
	return a
}

// proven reports whether the call has its proof.
func (a *asked) proven(t *testing.T) bool {
	t.Helper()
	synctest.Wait()
	select {
	case <-a.done:
		if a.err != nil && !errors.Is(a.err, karst.NotLeader.Err()) {
			t.Errorf("Prove: %v, want nothing but NotLeader", a.err)
		}
		return a.err == nil
	default:
		return false
	}
}

// refused reports whether the call was told that the incarnation is over.
func (a *asked) refused(t *testing.T) bool {
	t.Helper()
	return !a.proven(t) && a.err != nil
}

// TestIdleProofsShareOneHead is (b): all who wait share a HEAD, those that come
// while it is under way share the next, and HEADs are spaced as uploads are.
func TestIdleProofsShareOneHead(t *testing.T) {
	skipWithoutProof(t)
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New(""), 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(10 * time.Millisecond)})
		heads := func() int64 { return st.Requests(store.OpHead, store.CallerWAL) }
		r := run(t, logOn(st), quick)
		first := r.ask()
		if heads() != 1 || first.proven(t) {
			t.Errorf("%d HEADs after the first call", heads())
		}
		time.Sleep(time.Millisecond)
		var later []*asked
		for range 100 {
			later = append(later, r.ask())
		}
		time.Sleep(9 * time.Millisecond)
		if !first.proven(t) || later[0].proven(t) || heads() != 1 {
			t.Errorf("a HEAD proves what came before it began, and nothing else; %d HEADs", heads())
		}
		time.Sleep(26 * time.Millisecond)
		for _, a := range later {
			if !a.proven(t) {
				t.Fatal("not proven by the second HEAD")
			}
		}
		if heads() != 2 {
			t.Errorf("%d HEADs", heads())
		}
		if n := st.Requests(store.OpCreate, store.CallerWAL); n != 0 {
			t.Errorf("%d PUTs to prove something", n)
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
		if a := r.ask(); !a.refused(t) {
			t.Error("proven after the end")
		}
	})
}

// TestBusyProofsCostNothing is (a): where segments are written, no HEAD is.
func TestBusyProofsCostNothing(t *testing.T) {
	skipWithoutProof(t)
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New(""), 1, faults.ObjectStore()...)
		r := run(t, logOn(st), quick)
		var wg sync.WaitGroup
		for i := range karst.Offset(1000) {
			r.Append(batch(0, i, 100))
			start := time.Now()
			wg.Go(func() {
				if err := r.Prove(t.Context()); err != nil || time.Since(start) > time.Second {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
			})
			time.Sleep(2 * time.Millisecond)
		}
		wg.Wait()
		if n := st.Requests(store.OpHead, store.CallerWAL); n != 0 {
			t.Errorf("%d HEADs", n)
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

// TestLazyRecordsDoNotHoldProofsUp: a HEAD is quicker than LazyInterval.
func TestLazyRecordsDoNotHoldProofsUp(t *testing.T) {
	skipWithoutProof(t)
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New(""), 1, faults.ObjectStore()...)
		o := runOutside(t, logOn(st), lazily(quick))
		o.add(true)
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		o.add(true) // at 252 ms
		a := o.ask()
		if time.Sleep(21 * time.Millisecond); !a.proven(t) {
			t.Error("waits for the lazy segment")
		}
		if err := o.end(t); err != nil {
			t.Error(err)
		}
	})
}

// script is a log whose answers come when the test says so. Creates take effect
// at once, HEADs when they are answered.
type script struct {
	*objlog.Log
	creates, heads map[karst.Number]chan struct{}
}

func scripted(st objlog.Store) *script {
	s := &script{Log: logOn(st), creates: map[karst.Number]chan struct{}{}, heads: map[karst.Number]chan struct{}{}}
	for n := range karst.Number(10) {
		s.creates[n], s.heads[n] = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	return s
}

func (s *script) Create(ctx context.Context, n karst.Number, h object.Header, b store.Body) error {
	if err := s.Log.Create(ctx, n, h, b); err != nil {
		return err
	}
	select {
	case <-s.creates[n]:
		return s.Log.Create(ctx, n, h, b) // by now it may have been collected
	case <-ctx.Done():
		return objlog.ErrUnknown
	}
}

func (s *script) Exists(ctx context.Context, n karst.Number) (bool, error) {
	select {
	case <-s.heads[n]:
		return s.Log.Exists(ctx, n)
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// heir seals the log and collects what was in it, as after an adoption.
func heir(t *testing.T, st store.Store, log *objlog.Log) {
	t.Helper()
	end, _, err := log.Seal(t.Context(), 1, 8, nil)
	if err != nil {
		t.Error(err)
		return
	}
	for n := karst.Number(1); n < end; n++ {
		if err := st.Delete(t.Context(), []string{log.Name(n)}); err != nil {
			t.Error(err)
		}
	}
}

// TestProofsByTheRules walks through the interleavings that tell the rule from
// its neighbours (models/proof.py of the design finds a loss for each of those).
func TestProofsByTheRules(t *testing.T) {
	skipWithoutProof(t)
	type world struct {
		*running
		*script
		st   store.Store
		next karst.Offset
	}
	write := func(w *world) { // starts the next number; its answer is held
		w.Append(batch(0, w.next, 100))
		w.next++
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
	}
	for name, walk := range map[string]func(t *testing.T, w *world){
		"a create that had started before proves nothing": func(t *testing.T, w *world) {
			write(w)
			a := w.ask() // HEAD 2
			w.creates[1] <- struct{}{}
			if a.proven(t) {
				t.Error("by number 1")
			}
			if w.heads[2] <- struct{}{}; !a.proven(t) {
				t.Error("not by HEAD 2")
			}
		},
		"a HEAD does not prove before all below is confirmed": func(t *testing.T, w *world) {
			write(w)
			a := w.ask()
			if w.heads[2] <- struct{}{}; a.proven(t) {
				t.Error("while number 1 is open")
			}
			if w.creates[1] <- struct{}{}; !a.proven(t) {
				t.Error("not by HEAD 2 and number 1")
			}
		},
		"a create does not prove before all below is confirmed": func(t *testing.T, w *world) {
			write(w)
			a := w.ask() // HEAD 2, never answered
			write(w)
			if w.creates[2] <- struct{}{}; a.proven(t) {
				t.Error("while number 1 is open")
			}
			if w.creates[1] <- struct{}{}; !a.proven(t) {
				t.Error("not by numbers 1 and 2")
			}
		},
		"a number attempted meanwhile is not there, and may have been": func(t *testing.T, w *world) {
			a := w.ask()
			write(w)
			b := w.ask()
			heir(t, w.st, w.Log) // a tombstone at 2, and 1 is collected
			c := w.ask()
			w.heads[1] <- struct{}{}
			if a.proven(t) || b.proven(t) || c.proven(t) {
				t.Error("by the absence of number 1")
			}
			// Its bytes come to be there again; that says that they first were after
			// the first call, and nothing about the others.
			if w.creates[1] <- struct{}{}; !a.proven(t) || b.proven(t) || c.proven(t) {
				t.Error("number 1 proves the first call alone")
			}
			if w.heads[2] <- struct{}{}; !b.refused(t) || !c.refused(t) {
				t.Error("number 2 is a tombstone")
			}
		},
		"a number attempted meanwhile is there, and is ours": func(t *testing.T, w *world) {
			a := w.ask()
			write(w)
			if w.heads[1] <- struct{}{}; a.proven(t) || a.refused(t) {
				t.Error("judged by a HEAD of a number that is in flight")
			}
			if w.creates[1] <- struct{}{}; !a.proven(t) {
				t.Error("not by number 1")
			}
		},
		"the lowest unconfirmed number is not asked for": func(t *testing.T, w *world) {
			write(w)
			heir(t, w.st, w.Log)
			a := w.ask()
			w.heads[1] <- struct{}{}
			if a.proven(t) {
				t.Error("by the absence of number 1")
			}
			if w.heads[2] <- struct{}{}; !a.refused(t) {
				t.Error("number 2 is a tombstone")
			}
		},
		"numbers that were collected come back, and prove nothing": func(t *testing.T, w *world) {
			write(w)
			write(w)
			heir(t, w.st, w.Log) // a tombstone at 3
			a := w.ask()
			w.creates[1] <- struct{}{}
			if w.creates[2] <- struct{}{}; a.proven(t) {
				t.Error("by numbers that were attempted before")
			}
			if w.heads[3] <- struct{}{}; !a.refused(t) {
				t.Error("number 3 is a tombstone")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := mem.New("")
				w := &world{script: scripted(st), st: st}
				w.running = run(t, w.script, quick)
				walk(t, w)
				w.stop(ErrAbandon)
				<-w.done
				w.end(t)
			})
		})
	}
}

// TestProofsWaitForTheStore: an outage neither proves nor refutes; the caller's
// patience counts.
func TestProofsWaitForTheStore(t *testing.T) {
	skipWithoutProof(t)
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New(""), 1, faults.Outage(0, 20*time.Second)...)
		r := run(t, logOn(st), quick)
		a := r.ask()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Prove(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Prove: %v", err)
		}
		if time.Sleep(18 * time.Second); a.proven(t) {
			t.Error("proven during the outage")
		}
		if time.Sleep(5 * time.Second); !a.proven(t) {
			t.Error("not proven after the outage")
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

// TestProofIsTaken is the property: whatever the store does, an incarnation that
// was sealed before a call of Prove does not prove itself to it, though its
// objects are collected; and while it is not, proofs come.
func TestProofIsTaken(t *testing.T) {
	skipWithoutProof(t)
	proptest.Run(t, 60, func(t *testing.T, rng *rand.Rand) {
		synctest.Test(t, func(t *testing.T) {
			if n := checkProofProperty(t, rng); n > 0 {
				t.Errorf("a sealed incarnation proved itself to %d of 3 callers", n)
			}
		})
	})
}

// checkProofProperty is one life of a log, and its heir's beginning. It returns
// how many callers were given a proof that they asked for after the heir served.
func checkProofProperty(t *testing.T, rng *rand.Rand) (wrong int64) {
	under := mem.New("")
	writes := []store.Op{store.OpCreate}
	st := faults.New(under, rng.Uint64(),
		faults.Rule{Kind: faults.Slow, Delay: faults.LognormalOf(20*time.Millisecond, 400*time.Millisecond)},
		faults.Rule{Kind: faults.After, Chance: 0.1, Ops: writes},
		faults.Rule{Kind: faults.Late, Chance: 0.1, Ops: writes, Delay: faults.Uniform(time.Second)},
		faults.Rule{Kind: faults.Before, Chance: 0.15},
	)
	defer st.Wait()
	c := quick
	c.StallTimeout = 5 * time.Second
	c.Inflight = 1 + rng.IntN(8)
	r := run(t, logOn(st), c)

	sealed := make(chan struct{}) // closed when the heir serves
	isSealed := func() bool {
		select {
		case <-sealed:
			return true
		default:
			return false
		}
	}
	var wg sync.WaitGroup
	sealAt := time.Duration(rng.Int64N(int64(3 * time.Second)))
	wg.Go(func() {
		time.Sleep(sealAt)
		slow := faults.New(under, 1, faults.Rule{Kind: faults.Slow, Delay: faults.Uniform(20 * time.Millisecond)})
		end, _, err := logOn(slow).Seal(t.Context(), 1, 8, nil)
		if err != nil {
			t.Error(err)
		}
		close(sealed)
		for n := karst.Number(1); n < end; n++ {
			if err := slow.Delete(t.Context(), []string{logOn(slow).Name(n)}); err != nil {
				t.Error(err)
			}
		}
	})
	gap := 1 + rng.IntN(300)
	seed := rng.Uint64()
	wg.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 1))
		for base := karst.Offset(0); outcome(t, r.Append(batch(0, base, 100))) == nil; base++ {
			time.Sleep(time.Duration(rng.IntN(gap)) * time.Millisecond)
		}
	})
	proofs := 0
	var unproven atomic.Int64
	for k := range 3 {
		rng := rand.New(rand.NewPCG(seed, uint64(2+k)))
		wg.Go(func() {
			for {
				late := isSealed()
				err := r.Prove(t.Context())
				if err == nil && late {
					unproven.Add(1)
					return
				}
				if err != nil {
					if !isSealed() && !errors.Is(err, karst.NotLeader.Err()) {
						t.Errorf("Prove: %v", err)
					}
					return
				}
				if k == 0 {
					proofs++
				}
				time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
			}
		})
	}
	wg.Wait()
	<-r.done
	if !errors.Is(r.err, ErrOver) {
		t.Errorf("Run: %v", r.err)
	}
	if sealAt > 2*time.Second && proofs == 0 {
		t.Error("no proof in two seconds")
	}
	r.end(t)
	return unproven.Load()
}

func skipWithoutProof(t *testing.T) {
	t.Helper()
	if !proveLive {
		t.Skip("nothing is proven in this mutation")
	}
}
