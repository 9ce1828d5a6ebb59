package disk_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/disk"
	"github.com/karst-io/karst/internal/store/disk/powercut"
)

// fact is what is known of an object across power cuts.
type fact struct {
	there   bool // someone was told that it exists
	gone    bool // someone was told that it is deleted
	deleted bool // someone tried to delete it
}

// facts are what the users of the store were told.
type facts struct {
	mu  sync.Mutex
	all map[string]*fact
}

func (f *facts) learn(name string, what func(*fact)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all[name] == nil {
		f.all[name] = &fact{}
	}
	what(f.all[name])
}

// content is what the object of a name holds: the name decides.
func content(name string) string {
	return name + strings.Repeat("+"+name, 1+len(name)*int(name[len(name)-1])%300)
}

// use works on the store until the power fails. No name is used again once
// deleting it was tried, as in the rest of the system.
func use(s *disk.Store, known *facts, rng *rand.Rand, writer, round int) {
	ctx := context.Background()
	for i := 0; ; i++ {
		name := fmt.Sprintf("%d/%d/%d", rng.IntN(3), rng.IntN(3), rng.IntN(40)+100*(writer%2))
		if rng.IntN(4) == 0 {
			name = fmt.Sprintf("deep/%d/%d/%d/%d", writer, i, rng.IntN(2), i)
		}
		var err error
		switch op := rng.IntN(10); {
		case op < 6:
			err = s.Create(ctx, name, store.Body{Parts: [][]byte{[]byte(content(name)[:1]), []byte(content(name)[1:])}})
			if err == nil || errors.Is(err, store.ErrExists) {
				known.learn(name, func(f *fact) { f.there = true })
				err = nil
			}
		case op < 9:
			_, err = s.Get(ctx, name, 0, make([]byte, 1))
			if err == nil {
				known.learn(name, func(f *fact) { f.there = true })
			}
		default:
			name = fmt.Sprintf("trash/%d/%d-%d", writer, round, i)
			err = s.Put(ctx, name, store.Bytes([]byte(content(name))))
			if err != nil {
				break
			}
			known.learn(name, func(f *fact) { f.there, f.deleted = true, true })
			if err = s.Delete(ctx, []string{name}); err == nil {
				known.learn(name, func(f *fact) { f.gone = true })
			}
		}
		if errors.Is(err, powercut.ErrPowerOff) {
			return
		}
	}
}

// check compares the store with what is known, and returns what is wrong.
func check(s *disk.Store, known *facts) (wrong []string) {
	there := map[string]bool{}
	for info, err := range s.List(context.Background(), "", "") {
		if err != nil {
			return []string{err.Error()}
		}
		there[info.Name] = true
		want := content(info.Name)
		p := make([]byte, len(want)+1)
		if n, err := s.Get(context.Background(), info.Name, 0, p); err != nil || string(p[:n]) != want {
			wrong = append(wrong, fmt.Sprintf("%s has %d of %d right bytes, %v", info.Name, n, len(want), err))
		}
	}
	for name, f := range known.all {
		switch {
		case f.gone && there[name]:
			wrong = append(wrong, name+" was deleted and is back")
		case f.there && !f.deleted && !there[name]:
			wrong = append(wrong, name+" existed and is lost")
		}
	}
	return wrong
}

// life runs a store through several power cuts and kills, and returns what was
// wrong after one of them. It changes each new file system with setup.
func life(seed uint64, setup func(*powercut.FS)) []string {
	rng := rand.New(rand.NewPCG(seed, 0))
	files := powercut.New()
	known := &facts{all: map[string]*fact{}}
	for round := range 4 {
		setup(files)
		// A kill -9 without a power cut first: the next Store finds names that
		// nobody synced.
		killed := disk.New(dying(files, 1+rng.Int64N(60)), "file:///powercut")
		use(killed, known, rng, 9, round)

		files.FailAfter(1 + rng.Int64N(400))
		s := disk.New(files, "file:///powercut")
		var users sync.WaitGroup
		for w := range 3 {
			mine := rand.New(rand.NewPCG(seed, rng.Uint64()))
			users.Go(func() { use(s, known, mine, w, round) })
		}
		users.Wait()
		files = files.Cut(rng)
		if wrong := check(disk.New(files, "file:///powercut"), known); len(wrong) > 0 {
			return wrong
		}
	}
	return nil
}

// TestPowerCut: nothing that anybody was told is undone by a power cut.
func TestPowerCut(t *testing.T) {
	for seed := range uint64(60) {
		if wrong := life(seed, func(*powercut.FS) {}); wrong != nil {
			t.Errorf("seed %d: %d wrong, such as %s", seed, len(wrong), wrong[0])
		}
	}
}

// TestEverySyncIsNeeded: without any one kind of sync, TestPowerCut fails.
func TestEverySyncIsNeeded(t *testing.T) {
	depth := func(dir string) int {
		if dir == "." {
			return 0
		}
		return 1 + strings.Count(dir, "/")
	}
	for name, setup := range map[string]func(*powercut.FS){
		"of files":       (*powercut.FS).IgnoreSync,
		"of all folders": func(f *powercut.FS) { f.IgnoreSyncDir(func(string) bool { return true }) },
		"of the root":    func(f *powercut.FS) { f.IgnoreSyncDir(func(dir string) bool { return depth(dir) == 0 }) },
		"of parents":     func(f *powercut.FS) { f.IgnoreSyncDir(func(dir string) bool { return depth(dir) == 1 }) },
		"of leaves":      func(f *powercut.FS) { f.IgnoreSyncDir(func(dir string) bool { return depth(dir) == 2 }) },
		"after deletes": func(f *powercut.FS) {
			syncs := map[string]int{} // FS calls one at a time
			f.IgnoreSyncDir(func(dir string) bool {
				syncs[dir]++
				return strings.HasPrefix(dir, "trash/") && syncs[dir]%2 == 0 // put, delete, put, ...
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(100) {
				if life(seed, setup) != nil {
					return
				}
			}
			t.Error("without these syncs nothing was lost")
		})
	}
}
