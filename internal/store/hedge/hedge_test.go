package hedge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/hedge"
	"github.com/karst-io/karst/internal/store/mem"
)

// load makes n creates, one every 25 ms, and returns how long each took.
func load(t *testing.T, st store.Store, prefix string, n int) []time.Duration {
	t.Helper()
	took := make([]time.Duration, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			start := time.Now()
			// A hedge may meet the first attempt's object: that is an answer too.
			if err := st.Create(t.Context(), fmt.Sprintf("%s/%05d", prefix, i), store.Bytes([]byte("x"))); err != nil && !errors.Is(err, store.ErrExists) {
				t.Error(err)
			}
			took[i] = time.Since(start)
		})
		time.Sleep(25 * time.Millisecond)
	}
	wg.Wait()
	return took
}

func TestStuckUploadHoldsNothingUp(t *testing.T) {
	const p99 = 150 * time.Millisecond
	for _, warm := range []int{0, 5, 1000} {
		synctest.Test(t, func(t *testing.T) {
			f := faults.New(mem.New("t"), 1, faults.ObjectStore()...)
			st := hedge.New(f, hedge.Config{})
			load(t, st, "warm", warm)
			f.Add(faults.Rule{Kind: faults.Slow, Delay: faults.Constant(5 * time.Second), Times: 1, Ops: []store.Op{store.OpCreate}})
			start := time.Now()
			err := st.Create(t.Context(), "stuck", store.Bytes([]byte("x")))
			limit := 2 * p99
			if warm < 20 {
				limit = time.Second + 2*p99 // three times the slowest so far, a second at most
			}
			if took := time.Since(start); (err != nil && !errors.Is(err, store.ErrExists)) || took > limit {
				t.Errorf("after %d samples: took %v, %v", warm, took, err)
			}
			_ = st.Close()
			f.Wait()
		})
	}
}

func TestHedgingShortensTheTailWithinItsBudget(t *testing.T) {
	tail := func(cfg hedge.Config) (p99 time.Duration, counts hedge.Counts) {
		synctest.Test(t, func(t *testing.T) {
			f := faults.New(mem.New("t"), 1, faults.ObjectStore()...)
			st := hedge.New(f, cfg)
			took := load(t, st, "x", 4000)
			slices.Sort(took)
			p99, counts = took[len(took)*99/100], st.Counts()
			_ = st.Close()
			f.Wait()
		})
		return p99, counts
	}
	without, _ := tail(hedge.Config{Initial: time.Hour, Floor: time.Hour})
	with, counts := tail(hedge.Config{})
	t.Logf("p99 %v without, %v with hedging; %+v", without, with, counts)
	if with > without*9/10 {
		t.Errorf("p99 %v without, %v with hedging", without, with)
	}
	if share := float64(counts.Hedges) / float64(counts.Requests); share < 0.02 || share > 0.09 {
		t.Errorf("%.3f of the requests were hedged", share)
	}
}

func TestSlowStoreIsNotAskedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := faults.New(mem.New("t"), 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(30 * time.Millisecond)})
		st := hedge.New(slow, hedge.Config{})
		load(t, st, "a", 500)
		slow.Heal()
		slow.Add(faults.Rule{Kind: faults.Slow, Delay: faults.Constant(2 * time.Second)})
		before := st.Counts()
		load(t, st, "b", 1000)
		if n := st.Counts().Hedges - before.Hedges; n > 100 {
			t.Errorf("%d of 1000 requests were hedged while all were slow", n)
		}
		_ = st.Close()
		slow.Wait()
	})
}

// scripted answers the first and second attempt as told.
type scripted struct {
	store.Store
	calls   atomic.Int64
	attempt [2]func(ctx context.Context) error
}

func (s *scripted) Create(ctx context.Context, _ string, _ store.Body) error {
	return s.attempt[s.calls.Add(1)-1](ctx)
}

func after(d time.Duration, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestCreateOutcomes(t *testing.T) {
	unknown := errors.New("unknown")
	const slow, slower = 3 * time.Second, 5 * time.Second // the threshold is 1 s
	for name, c := range map[string]struct {
		first, second func(context.Context) error
		want          error
		took          time.Duration
	}{
		"first in time":         {after(0, nil), nil, nil, 0},
		"first fails in time":   {after(0, unknown), nil, unknown, 0},
		"second wins":           {after(slow, nil), after(time.Second, nil), nil, 2 * time.Second},
		"first wins":            {after(slow, nil), after(slower, nil), nil, slow},
		"second finds it":       {after(slow, nil), after(0, store.ErrExists), store.ErrExists, time.Second},
		"first fails, then won": {after(slow, unknown), after(slower, nil), nil, 6 * time.Second},
		"second fails, then":    {after(slow, nil), after(0, unknown), nil, slow},
		"lost, then exists":     {after(slow, unknown), after(slower, store.ErrExists), store.ErrExists, 6 * time.Second},
		"unknown stays unknown": {after(slow, store.ErrThrottled), after(slower, unknown), unknown, 6 * time.Second},
		"unknown, throttled":    {after(slow, unknown), after(slower, store.ErrThrottled), unknown, 6 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := hedge.New(&scripted{Store: mem.New("t"), attempt: [2]func(context.Context) error{c.first, c.second}}, hedge.Config{})
				start := time.Now()
				err := st.Create(t.Context(), "x", store.Bytes(nil))
				if took := time.Since(start); !errors.Is(err, c.want) || (c.want == nil) != (err == nil) || took != c.took {
					t.Errorf("%v after %v, want %v after %v", err, took, c.want, c.took)
				}
				_ = st.Close()
			})
		})
	}
}

// hold counts.
type hold struct{ n atomic.Int64 }

func (h *hold) Retain()  { h.n.Add(1) }
func (h *hold) Release() { h.n.Add(-1) }

func TestHoldLastsAsLongAsEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stubborn := func(context.Context) error { time.Sleep(time.Minute); return nil } // deaf to ctx
		st := hedge.New(&scripted{Store: mem.New("t"), attempt: [2]func(context.Context) error{stubborn, after(0, nil)}}, hedge.Config{})
		h := &hold{}
		if err := st.Create(t.Context(), "x", store.Body{Hold: h}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := h.n.Load(); n != 1 {
			t.Errorf("%d holds while the loser still reads", n)
		}
		_ = st.Close()
		if n := h.n.Load(); n != 0 {
			t.Errorf("%d holds after Close", n)
		}
	})
}

func TestContextEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faults.New(mem.New("t"), 1, faults.Rule{Kind: faults.Hung})
		st := hedge.New(f, hedge.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := st.Put(ctx, "x", store.Bytes(nil)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("put: %v", err)
		}
		if _, err := st.Get(ctx, "x", 0, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("get: %v", err)
		}
		_ = st.Close()
		f.Wait()
	})
}

func TestGetReadsRightBytesWhoeverWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mem.New("t")
		want := bytes.Repeat([]byte("karst"), 1000)
		_ = m.Put(t.Context(), "x", store.Bytes(want))
		f := faults.New(m, 1, faults.Rule{Kind: faults.Slow, Delay: faults.LognormalOf(20*time.Millisecond, 2*time.Second)})
		st := hedge.New(f, hedge.Config{})
		for range 500 {
			p := make([]byte, len(want)+7)
			n, err := st.Get(t.Context(), "x", 0, p)
			if err != nil || !bytes.Equal(p[:n], want) {
				t.Fatalf("%d bytes, %v", n, err)
			}
		}
		f.Add(faults.Rule{Kind: faults.Slow, Delay: faults.Constant(time.Hour), Times: 1})
		start := time.Now()
		if _, err := st.Get(t.Context(), "none", 0, make([]byte, 10)); !errors.Is(err, store.ErrNotFound) || time.Since(start) > 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if c := st.Counts(); c.Wins == 0 {
			t.Errorf("the second attempt never won: %+v", c)
		}
		_ = st.Close()
	})
}
