package limit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/limit"
	"github.com/karst-io/karst/internal/store/mem"
)

// slowly is a limited store whose requests take d.
func slowly(d time.Duration, cfg limit.Config) *limit.Store {
	return limit.New(faults.New(mem.New("t"), 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(d)}), cfg)
}

func as(t *testing.T, c store.Caller) context.Context { return store.WithCaller(t.Context(), c) }

// crowd makes n requests of each caller at once, and returns the callers in the
// order of their ends.
func crowd(t *testing.T, st store.Store, n int, callers ...store.Caller) []store.Caller {
	var mu sync.Mutex
	var order []store.Caller
	var wg sync.WaitGroup
	for _, c := range callers {
		for range n {
			wg.Go(func() {
				_, _ = st.Head(as(t, c), "x")
				mu.Lock()
				defer mu.Unlock()
				order = append(order, c)
			})
		}
		synctest.Wait()
	}
	wg.Wait()
	return order
}

func TestUrgentCallersGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := slowly(time.Second, limit.Config{Concurrency: 1})
		order := crowd(t, st, 3, store.CallerReap, store.CallerCatchUp, store.CallerTail, store.CallerWAL)
		// The first had the slot already; then by urgency.
		want := []store.Caller{store.CallerReap}
		for _, c := range []store.Caller{store.CallerWAL, store.CallerTail, store.CallerCatchUp} {
			want = append(want, c, c, c)
		}
		want = append(want, store.CallerReap, store.CallerReap)
		if !slices.Equal(order, want) {
			t.Errorf("order %v", order)
		}
		_ = st.Close()
	})
}

func TestNothingStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := slowly(time.Second, limit.Config{Concurrency: 1, Queue: 1000})
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 5 { // more than the store can do, for ever
			wg.Go(func() {
				for ctx.Err() == nil {
					_, _ = st.Head(store.WithCaller(ctx, store.CallerWAL), "x")
				}
			})
		}
		time.Sleep(time.Second / 2)
		start := time.Now()
		_, _ = st.Head(as(t, store.CallerReap), "x")
		if took := time.Since(start); took > 40*time.Second {
			t.Errorf("waited %v", took)
		}
		stop()
		wg.Wait()
	})
}

func TestClassesLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := slowly(time.Hour, limit.Config{Concurrency: 16})
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for c := range store.CallerCount {
			if c > store.CallerTail {
				for range 20 {
					wg.Go(func() { _, _ = st.Head(store.WithCaller(ctx, c), "x") })
				}
			}
		}
		synctest.Wait()
		relaxed := 0
		for c := range store.CallerCount {
			relaxed += st.Running(c)
		}
		if catchUp, reap := st.Running(store.CallerCatchUp), st.Running(store.CallerReap); relaxed != 12 || catchUp > 8 || reap > 4 {
			t.Errorf("running %d, %d catch-up, %d reap", relaxed, catchUp, reap)
		}
		for range 4 {
			wg.Go(func() { _, _ = st.Head(store.WithCaller(ctx, store.CallerWAL), "x") })
		}
		synctest.Wait()
		if n := st.Running(store.CallerWAL); n != 4 {
			t.Errorf("%d of 4 urgent requests run", n)
		}
		stop()
		wg.Wait()
		for c := range store.CallerCount {
			if st.Running(c) != 0 || st.Waiting(c) != 0 {
				t.Errorf("%s: %d running, %d waiting at the end", c, st.Running(c), st.Waiting(c))
			}
		}
	})
}

func TestWaitingIsBoundedAndHonoursContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := slowly(time.Hour, limit.Config{Concurrency: 1, Queue: 2})
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		errs := make(chan error, 4)
		for range 4 {
			go func() {
				_, err := st.Get(ctx, "x", 0, nil)
				errs <- err
			}()
		}
		synctest.Wait()
		if err := <-errs; !errors.Is(err, store.ErrThrottled) {
			t.Errorf("one too many: %v", err)
		}
		for range 3 {
			if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("at the deadline: %v", err)
			}
		}
	})
}

func TestBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mib = 1 << 20
		st := slowly(0, limit.Config{Up: 10 * mib, Down: 5 * mib})
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { _ = st.Put(as(t, store.CallerFlush), fmt.Sprint(i), store.Bytes(make([]byte, mib))) })
		}
		// The urgent do not wait for the debt of the flush.
		time.Sleep(2 * time.Second)
		urgent := time.Now()
		if err := st.Create(as(t, store.CallerWAL), "wal", store.Bytes(make([]byte, mib))); err != nil || time.Since(urgent) != 0 {
			t.Errorf("urgent: %v after %v", err, time.Since(urgent))
		}
		wg.Wait()
		if took := time.Since(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("100 MiB up at 10 MiB/s took %v", took)
		}
		start = time.Now()
		for range 11 {
			_, _ = st.Get(as(t, store.CallerCatchUp), "1", 0, make([]byte, 4*mib)) // pays for what it gets
		}
		if took := time.Since(start); took < 1800*time.Millisecond || took > 2200*time.Millisecond {
			t.Errorf("11 MiB down at 5 MiB/s took %v", took)
		}
		_ = st.Close()
	})
}

func TestRelaxedGoOnUnderUrgentLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const kib = 1 << 10
		st := slowly(0, limit.Config{Up: 10 * kib})
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_ = st.Create(store.WithCaller(ctx, store.CallerWAL), fmt.Sprintf("w/%d", i), store.Bytes(make([]byte, kib)))
			}
		})
		flushed := 0
		for ctx.Err() == nil {
			if st.Put(store.WithCaller(ctx, store.CallerFlush), "f", store.Bytes(make([]byte, kib))) == nil {
				flushed++
			}
		}
		wg.Wait()
		if flushed < 20 || flushed > 60 {
			t.Errorf("%d KiB of 600 went to the flush", flushed)
		}
		_ = st.Close()
	})
}

func TestListGivesItsSlotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := slowly(time.Second, limit.Config{Concurrency: 1})
		for i := range 3 {
			_ = st.Put(t.Context(), fmt.Sprint(i), store.Bytes([]byte("x")))
		}
		n := 0
		for info, err := range st.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Head(t.Context(), info.Name); err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 3 || st.Running(store.CallerOther) != 0 {
			t.Errorf("%d objects, %d slots held", n, st.Running(store.CallerOther))
		}
		_ = st.Close()
	})
}
