package disk_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/disk"
	"github.com/karst-io/karst/internal/store/disk/powercut"
)

// gate is a file system whose folder syncs wait for a permit once it is closed.
type gate struct {
	disk.Files
	closed  atomic.Bool
	syncs   atomic.Int64
	permits chan error // what the sync returns
}

func newGate() *gate { return &gate{Files: powercut.New(), permits: make(chan error)} }

func (g *gate) SyncDir(dir string) error {
	g.syncs.Add(1)
	if g.closed.Load() {
		if err := <-g.permits; err != nil {
			return err
		}
	}
	return g.Files.SyncDir(dir)
}

// start runs op and returns its result as a pointer, nil while it runs.
func start(op func() error) *atomic.Pointer[error] {
	var result atomic.Pointer[error]
	go func() { err := op(); result.Store(&err) }()
	return &result
}

// TestNothingIsSeenBeforeItIsDurable: between an object's publication and the
// sync of its folder, nobody hears of it: not its creator, nor a reader, nor one
// who tries to create it again.
func TestNothingIsSeenBeforeItIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := disk.New(g, "file:///gate")
		body := store.Bytes([]byte("x"))
		if err := s.Create(t.Context(), "d/first", body); err != nil {
			t.Fatal(err)
		}
		g.closed.Store(true)
		ops := map[string]*atomic.Pointer[error]{
			"create": start(func() error { return s.Create(t.Context(), "d/x", body) }),
		}
		synctest.Wait()
		ops["get"] = start(func() error { _, err := s.Get(t.Context(), "d/x", 0, make([]byte, 1)); return err })
		ops["head"] = start(func() error { _, err := s.Head(t.Context(), "d/x"); return err })
		ops["again"] = start(func() error { return s.Create(t.Context(), "d/x", body) })
		ops["list"] = start(func() error {
			for range s.List(t.Context(), "d/", "") {
				break
			}
			return nil
		})
		synctest.Wait()
		for name, op := range ops {
			if op.Load() != nil {
				t.Errorf("%s answered before the folder was synced", name)
			}
		}
		for ops["again"].Load() == nil {
			g.permits <- nil
			synctest.Wait()
		}
		for name, op := range ops {
			want := map[string]error{"again": store.ErrExists}[name]
			if got := op.Load(); got == nil || !errors.Is(*got, want) {
				t.Errorf("%s = %v, want %v", name, got, want)
			}
		}
	})
}

// TestSyncsAreShared: who waits while a sync is in flight shares the next one.
func TestSyncsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := disk.New(g, "file:///gate")
		create := func(i int) func() error {
			return func() error { return s.Create(t.Context(), fmt.Sprintf("d/%d", i), store.Bytes(nil)) }
		}
		if err := create(0)(); err != nil {
			t.Fatal(err)
		}
		g.closed.Store(true)
		g.syncs.Store(0)
		first := start(create(1))
		synctest.Wait()
		var rest []*atomic.Pointer[error]
		for i := range 10 {
			rest = append(rest, start(create(2+i)))
		}
		synctest.Wait()
		g.permits <- nil
		synctest.Wait()
		if p := first.Load(); p == nil || *p != nil {
			t.Errorf("first create: %v", p)
		}
		for _, op := range rest {
			if op.Load() != nil {
				t.Error("a create is covered by a sync that began before it")
			}
		}
		g.permits <- nil
		synctest.Wait()
		for _, op := range rest {
			if p := op.Load(); p == nil || *p != nil {
				t.Errorf("create: %v", p)
			}
		}
		if n := g.syncs.Load(); n != 2 {
			t.Errorf("%d syncs for 11 creates, want 2", n)
		}
	})
}

// TestFailedSyncIsFinal: after a sync of a folder failed, none is believed.
func TestFailedSyncIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := disk.New(g, "file:///gate")
		body := store.Bytes([]byte("x"))
		if err := s.Create(t.Context(), "d/old", body); err != nil {
			t.Fatal(err)
		}
		g.closed.Store(true)
		broken := errors.New("broken")
		op := start(func() error { return s.Create(t.Context(), "d/x", body) })
		synctest.Wait()
		g.permits <- broken
		synctest.Wait()
		if err := *op.Load(); !errors.Is(err, broken) {
			t.Errorf("Create = %v, want broken", err)
		}
		g.closed.Store(false)
		for _, name := range []string{"d/x", "d/y"} {
			err := s.Create(t.Context(), name, body)
			if !errors.Is(err, broken) || errors.Is(err, store.ErrExists) {
				t.Errorf("Create %s = %v, want broken", name, err)
			}
		}
		if _, err := s.Get(t.Context(), "d/old", 0, make([]byte, 1)); err != nil {
			t.Errorf("Get of an older object: %v", err)
		}
		if err := s.Create(t.Context(), "other/x", body); err != nil {
			t.Errorf("Create in another folder: %v", err)
		}
	})
}
