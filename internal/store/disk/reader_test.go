package disk_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/disk"
	"github.com/karst-io/karst/internal/store/disk/powercut"
)

// leave makes the object a/b/x as a process does that dies before any sync of a
// folder.
func leave(t *testing.T, files *powercut.FS) {
	t.Helper()
	for _, dir := range []string{"a", "a/b"} {
		if err := files.Mkdir(dir); err != nil {
			t.Fatal(err)
		}
	}
	temp, err := files.Temp("a/b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := temp.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(temp.Sync(), temp.Link("a/b/x"), temp.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestWhatWasSeenStays: an object that a dead process left unsynced is there
// after a power cut if anybody saw it.
func TestWhatWasSeenStays(t *testing.T) {
	for name, see := range map[string]func(*disk.Store) error{
		"get":  func(s *disk.Store) error { _, err := s.Get(t.Context(), "a/b/x", 0, make([]byte, 1)); return err },
		"head": func(s *disk.Store) error { _, err := s.Head(t.Context(), "a/b/x"); return err },
		"list": func(s *disk.Store) error {
			for _, err := range s.List(t.Context(), "", "") {
				return err
			}
			return errors.New("nothing listed")
		},
		"create": func(s *disk.Store) error {
			if err := s.Create(t.Context(), "a/b/x", store.Body{}); !errors.Is(err, store.ErrExists) {
				return errors.Join(err, errors.New("want ErrExists"))
			}
			return nil
		},
	} {
		for seed := range uint64(12) {
			files := powercut.New()
			leave(t, files)
			if err := see(disk.New(files, "file:///powercut")); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			s := disk.New(files.Cut(rand.New(rand.NewPCG(seed, 0))), "file:///powercut")
			if _, err := s.Head(t.Context(), "a/b/x"); err != nil {
				t.Errorf("after %s and a power cut (seed %d): %v", name, seed, err)
				break
			}
		}
	}
}

// stuckLink is a file system whose Link takes effect and then does not return
// until released.
type stuckLink struct {
	*gate
	release chan struct{}
}

func (s stuckLink) Temp(dir string) (disk.Temp, error) {
	temp, err := s.gate.Temp(dir)
	return stuckTemp{temp, s.release}, err
}

type stuckTemp struct {
	disk.Temp
	release chan struct{}
}

func (s stuckTemp) Link(path string) error {
	err := s.Temp.Link(path)
	<-s.release
	return err
}

// TestReadDuringLink: a reader may see a name before its creator knows that it
// is there, and syncs the folder itself.
func TestReadDuringLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		free := make(chan struct{})
		s := disk.New(stuckLink{g, free}, "file:///gate")
		if err := s.Put(t.Context(), "d/first", store.Body{}); err != nil { // does not link
			t.Fatal(err)
		}
		op := start(func() error { return s.Create(t.Context(), "d/x", store.Body{}) })
		synctest.Wait()
		before := g.syncs.Load()
		if _, err := s.Head(t.Context(), "d/x"); err != nil {
			t.Fatal(err)
		}
		if g.syncs.Load() == before {
			t.Error("an object was seen that is not durable")
		}
		close(free)
		synctest.Wait()
		if p := op.Load(); p == nil || *p != nil {
			t.Errorf("Create: %v", p)
		}
	})
}
