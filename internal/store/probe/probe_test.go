package probe_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/meter"
	"github.com/karst-io/karst/internal/store/probe"
)

// ignorant ignores If-None-Match.
type ignorant struct{ store.Store }

func (s ignorant) Create(ctx context.Context, name string, body store.Body) error {
	return s.Put(ctx, name, body)
}

// racy checks first and writes later.
type racy struct{ store.Store }

func (s racy) Create(ctx context.Context, name string, body store.Body) error {
	if _, err := s.Head(ctx, name); err == nil {
		return store.ErrExists
	}
	time.Sleep(10 * time.Millisecond)
	return s.Put(ctx, name, body)
}

// overlapping checks when the body begins and writes when it ends; creates that
// come in one piece are right.
type overlapping struct{ store.Store }

func (s overlapping) CreateFrom(ctx context.Context, name string, _ int64, body io.Reader) error {
	if _, err := s.Head(ctx, name); err == nil {
		return store.ErrExists
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return s.Put(ctx, name, store.Bytes(b))
}

// honest takes a streamed body and decides at its end.
type honest struct{ store.Store }

func (s honest) CreateFrom(ctx context.Context, name string, _ int64, body io.Reader) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return s.Create(ctx, name, store.Bytes(b))
}

// sized is wrong only when a large create overlaps a small one.
type sized struct{ store.Store }

func (s sized) Create(ctx context.Context, name string, body store.Body) error {
	if body.Size() < 1000 {
		time.Sleep(time.Millisecond)
		return s.Store.Create(ctx, name, body)
	}
	return racy(s).Create(ctx, name, body)
}

// replacing refuses a create, but keeps its bytes.
type replacing struct{ store.Store }

func (s replacing) Create(ctx context.Context, name string, body store.Body) error {
	err := s.Store.Create(ctx, name, body)
	if errors.Is(err, store.ErrExists) {
		_ = s.Put(ctx, name, body)
	}
	return err
}

// forgetful remembers for a while that a name was absent.
type forgetful struct {
	store.Store
	mu     sync.Mutex
	absent map[string]bool
}

func (s *forgetful) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.absent[name] {
		return 0, store.ErrNotFound
	}
	n, err := s.Store.Get(ctx, name, off, p)
	if errors.Is(err, store.ErrNotFound) {
		s.absent[name] = true
	}
	return n, err
}

// staleList lists nothing that is new.
type staleList struct{ store.Store }

func (staleList) List(context.Context, string, string) iter.Seq2[store.Info, error] {
	return func(func(store.Info, error) bool) {}
}

func TestUnfitStoresAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		broken func(store.Store) store.Store
		says   string
	}{
		"ignores the condition": {func(s store.Store) store.Store { return ignorant{s} }, "accepted a second create"},
		"racy":                  {func(s store.Store) store.Store { return racy{s} }, "concurrent creates of one name were accepted"},
		"streamed overlap":      {func(s store.Store) store.Store { return overlapping{s} }, "overlapping creates"},
		"sized overlap":         {func(s store.Store) store.Store { return sized{s} }, "overlapping creates"},
		"replaces":              {func(s store.Store) store.Store { return replacing{s} }, "changed or removed"},
		"stale reads":           {func(s store.Store) store.Store { return &forgetful{Store: s, absent: map[string]bool{}} }, "read right after a write"},
		"stale lists":           {func(s store.Store) store.Store { return staleList{s} }, "list right after a write"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := probe.Run(t.Context(), c.broken(mem.New("t")))
				if !errors.Is(err, probe.ErrUnfit) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestGoodStoresPassQuicklyAndClean(t *testing.T) {
	for name, wrap := range map[string]func(store.Store) store.Store{
		"plain":    func(s store.Store) store.Store { return s },
		"streamed": func(s store.Store) store.Store { return honest{s} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bucket := mem.New("t")
				m := meter.New(faults.New(bucket, 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(30 * time.Millisecond)}), nil)
				start := time.Now()
				if err := probe.Run(t.Context(), wrap(m)); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > 5*30*time.Millisecond {
					t.Errorf("took %v: more than five requests one after the other", took)
				}
				snap := m.Snapshot()
				if total, mine := snap.Total().Requests, requestsOf(snap, store.CallerProbe); total > 22 || total != mine {
					t.Errorf("%d requests, %d as the probe:\n%s", total, mine, snap)
				}
				for info := range bucket.List(t.Context(), "", "") {
					t.Errorf("left %s behind", info.Name)
				}
			})
		})
	}
}

func requestsOf(s *meter.Snapshot, c store.Caller) (n int64) {
	for op := range store.OpCount {
		n += s.By(op, c).Requests
	}
	return n
}

func TestGoodStoreIsNeverCalledUnfit(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			f := faults.New(mem.New("t"), seed,
				faults.Rule{Kind: faults.Slow, Delay: faults.LognormalOf(30*time.Millisecond, time.Second)},
				faults.Rule{Kind: faults.Before, Chance: 0.1 * r.Float64()},
				faults.Rule{Kind: faults.After, Chance: 0.1 * r.Float64()},
				faults.Rule{Kind: faults.Throttled, Chance: 0.1 * r.Float64()},
				faults.Rule{Kind: faults.Late, Chance: 0.1 * r.Float64(), Delay: faults.Uniform(time.Second)})
			if err := probe.Run(t.Context(), f); errors.Is(err, probe.ErrUnfit) {
				t.Errorf("seed %d: %v", seed, err)
			}
			f.Wait()
		})
	}
}

func TestUnreachableStoreIsNotUnfit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faults.New(mem.New("t"), 1, faults.Rule{Kind: faults.Before})
		if err := probe.Run(t.Context(), f); err == nil || errors.Is(err, probe.ErrUnfit) || !errors.Is(err, faults.ErrInjected) {
			t.Errorf("got %v", err)
		}
		hung := faults.New(mem.New("t"), 1, faults.Rule{Kind: faults.Hung})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := probe.Run(ctx, hung); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		hung.Wait()
	})
}
