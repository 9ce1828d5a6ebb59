package retry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/retry"
)

// each calls every operation that is retried.
func each(ctx context.Context, st store.Store) map[string]error {
	var listErr error
	for _, listErr = range st.List(ctx, "", "") {
	}
	_, getErr := st.Get(ctx, "a", 0, make([]byte, 3))
	_, headErr := st.Head(ctx, "a")
	return map[string]error{
		"put":    st.Put(ctx, "a", store.Bytes([]byte("abc"))),
		"get":    getErr,
		"head":   headErr,
		"list":   listErr,
		"delete": st.Delete(ctx, []string{"b"}),
	}
}

func TestIdempotentRequestsAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []faults.Kind{faults.Before, faults.After, faults.Throttled, faults.Truncated, faults.Hung} {
			f := faults.New(mem.New("t"), 1)
			_ = f.Put(t.Context(), "a", store.Bytes([]byte("abc")))
			for op := range store.OpCount {
				f.Add(faults.Rule{Kind: kind, Times: 3, Ops: []store.Op{op}})
			}
			start := time.Now()
			for op, err := range each(t.Context(), retry.New(f, retry.Config{})) {
				if err != nil {
					t.Errorf("%s %s: %v", kind, op, err)
				}
			}
			if took := time.Since(start); kind == faults.Throttled && took < 15*500*time.Millisecond {
				t.Errorf("throttled requests waited %v in all", took)
			}
			f.Wait()
		}
	})
}

func TestAnswersAreNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faults.New(mem.New("t"), 1)
		st := retry.New(f, retry.Config{})
		if _, err := st.Head(t.Context(), "none"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("head: %v", err)
		}
		f.Add(faults.Rule{Kind: faults.Before})
		if err := st.Create(t.Context(), "c", store.Bytes(nil)); err == nil {
			t.Error("create succeeded")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := st.Get(ctx, "none", 0, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("get: %v", err)
		}
		for _, op := range []store.Op{store.OpHead, store.OpCreate, store.OpGet} {
			if n := f.Requests(op, store.CallerOther); n != 1 {
				t.Errorf("%d requests of %s", n, op)
			}
		}
	})
}

func TestGivesUpWithTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faults.New(mem.New("t"), 1, faults.Rule{Kind: faults.Before})
		st := retry.New(f, retry.Config{Attempts: 4})
		for op, err := range each(t.Context(), st) {
			if !errors.Is(err, faults.ErrInjected) {
				t.Errorf("%s: %v", op, err)
			}
		}
		if n := f.Requests(store.OpGet, store.CallerOther); n != 4 {
			t.Errorf("%d attempts, want 4", n)
		}
	})
}

func TestBudgetDoesNotMultiplyAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faults.New(mem.New("t"), 1, faults.Rule{Kind: faults.Before})
		st := retry.New(f, retry.Config{Share: 0.1, Burst: 10})
		const n = 1000
		for range n {
			_, _ = st.Head(t.Context(), "a")
		}
		sent := f.Requests(store.OpHead, store.CallerOther)
		if sent < n+100 || sent > n+111 {
			t.Errorf("%d requests became %d", n, sent)
		}
	})
}

func TestListResumesAfterTheLastName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mem.New("t")
		for i := range 40 {
			_ = m.Put(t.Context(), fmt.Sprintf("x/%02d", i), store.Bytes(nil))
		}
		f := faults.New(m, 3, faults.Rule{Kind: faults.Truncated, Times: 9})
		next := 0
		for info, err := range retry.New(f, retry.Config{}).List(t.Context(), "x/", "x/04") {
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("x/%02d", next+5); info.Name != want {
				t.Fatalf("got %s, want %s", info.Name, want)
			}
			next++
			time.Sleep(time.Minute) // the consumer's time is not the store's
		}
		if next != 35 {
			t.Errorf("%d names", next)
		}
	})
}
