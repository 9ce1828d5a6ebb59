package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/karst-io/karst/internal/store"
)

func testCreateOnce(t *testing.T, s store.Store) {
	first := []byte("first")
	create(t, s, "once/a", store.Bytes(first))
	for _, second := range []string{"second", "first", ""} {
		if err := s.Create(t.Context(), "once/a", store.Bytes([]byte(second))); !errors.Is(err, store.ErrExists) {
			t.Errorf("Create over an object: %v, want ErrExists", err)
		}
		expect(t, s, "once/a", first)
	}
	create(t, s, "once/empty", store.Body{})
	if err := s.Create(t.Context(), "once/empty", store.Bytes(first)); !errors.Is(err, store.ErrExists) {
		t.Errorf("Create over an empty object: %v, want ErrExists", err)
	}
}

func testPutTwice(t *testing.T, s store.Store) {
	data := fillBytes(9, 5000)
	for range 3 {
		if err := s.Put(t.Context(), "put/a", store.Bytes(data)); err != nil {
			t.Fatalf("Put: %v", err)
		}
		expect(t, s, "put/a", data)
	}
	if err := s.Create(t.Context(), "put/a", store.Bytes(data)); !errors.Is(err, store.ErrExists) {
		t.Errorf("Create over a put object: %v, want ErrExists", err)
	}
	if got := names(t, s, "", ""); len(got) != 1 {
		t.Errorf("list after three puts = %v", got)
	}
}

// testCreateRace lets many create the same names at once: each has one winner,
// whose bytes are in the store.
func testCreateRace(t *testing.T, s store.Store) {
	const racers, rounds = 8, 12
	for round := range rounds {
		name := fmt.Sprintf("race/%d/x", round)
		var winner atomic.Pointer[[]byte]
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range racers {
			data := fillBytes(uint64(round*racers+i), 1+i*700*(round%3))
			wg.Go(func() {
				<-start
				err := s.Create(t.Context(), name, store.Bytes(data))
				switch {
				case err == nil:
					if old := winner.Swap(&data); old != nil {
						t.Errorf("%s has two winners", name)
					}
				case errors.Is(err, store.ErrExists):
					// A definite loser can read the winner's object at once.
					if _, err := s.Head(t.Context(), name); err != nil {
						t.Errorf("Head after ErrExists: %v", err)
					}
				default:
					t.Logf("Create %s: outcome unknown: %v", name, err)
				}
			})
		}
		close(start)
		wg.Wait()
		if w := winner.Load(); w != nil {
			expect(t, s, name, *w)
		} else {
			t.Errorf("%s has no winner", name)
		}
	}
}

// testCreateOverlap starts a long create before a short one of the same name,
// and ends it after: whoever succeeds, the other must not.
func testCreateOverlap(t *testing.T, s store.Store) {
	long, short := fillBytes(1, 6<<20), fillBytes(2, 10)
	for round := range 4 {
		name := fmt.Sprintf("overlap/%d", round)
		results := make(chan error, 1)
		hold := newHold(split(long, 1<<20, 2<<20, 3<<20, 4<<20))
		go func() { results <- s.Create(t.Context(), name, hold.body) }()
		shortErr := s.Create(t.Context(), name, store.Bytes(short))
		longErr := <-results
		if longErr == nil && shortErr == nil {
			t.Fatalf("%s: two creates succeeded", name)
		}
		switch {
		case longErr == nil:
			expect(t, s, name, long)
		case shortErr == nil:
			expect(t, s, name, short)
		default:
			t.Errorf("%s: no winner: %v; %v", name, longErr, shortErr)
		}
	}
}

// testCreateWhole reads an object while it is created: absent or whole.
func testCreateWhole(t *testing.T, s store.Store) {
	data := fillBytes(3, 4<<20)
	for round := range 3 {
		name := fmt.Sprintf("whole/%d", round)
		done := make(chan error, 1)
		go func() { done <- s.Create(t.Context(), name, split(data, 1000, 2<<20)) }()
		for {
			info, err := s.Head(t.Context(), name)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil || info.Size != int64(len(data)) {
				t.Errorf("Head during a create = %d bytes, %v", info.Size, err)
			}
			expect(t, s, name, data)
			break
		}
		if err := <-done; err != nil {
			t.Errorf("Create %s: %v", name, err)
		}
	}
}

// testCreateCancelled gives up on creates at different moments. What is there
// afterwards, now or later, is nothing or the whole.
func testCreateCancelled(t *testing.T, s store.Store) {
	for i := range 12 {
		data := fillBytes(uint64(i), 2<<20+i)
		name := fmt.Sprintf("cancelled/%d", i)
		ctx, cancel := context.WithCancel(t.Context())
		hold := newHold(split(bytes.Clone(data), 1<<20))
		done := make(chan error, 1)
		go func() { done <- s.Create(ctx, name, hold.body) }()
		for range i * 3 { // different moments, without a clock
			if _, err := s.Head(t.Context(), "other"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Head: %v", err)
			}
		}
		cancel()
		err := <-done
		hold.drop()
		if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrThrottled) {
			t.Errorf("cancelled create: %v, want success or an unknown outcome", err)
		}
		hold.wait()
		// Again, as a retry would.
		again := s.Create(t.Context(), name, store.Bytes(data))
		if again != nil && !errors.Is(again, store.ErrExists) {
			t.Logf("retry: outcome unknown: %v", again)
			continue
		}
		if err == nil && again == nil {
			t.Errorf("%s: two creates succeeded", name)
		}
		expect(t, s, name, data)
	}
}

func testContextEnded(t *testing.T, s store.Store) {
	create(t, s, "a", store.Bytes([]byte("x")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Create(ctx, "b", store.Bytes([]byte("x"))); !errors.Is(err, context.Canceled) {
		t.Errorf("Create: %v", err)
	}
	if err := s.Put(ctx, "b", store.Bytes([]byte("x"))); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
	if _, err := s.Get(ctx, "a", 0, make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	if _, err := s.Head(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Head: %v", err)
	}
	if err := s.Delete(ctx, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete: %v", err)
	}
	for _, err := range s.List(ctx, "", "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("List: %v", err)
		}
	}
	if got := names(t, s, "", ""); len(got) != 1 {
		t.Errorf("list = %v, want a alone", got)
	}
}

// testHolds scribbles over each body as soon as nobody holds it: what is stored
// must not notice.
func testHolds(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			data := fillBytes(uint64(i), 1+i*50_000)
			name := fmt.Sprintf("holds/%d", i)
			hold := newHold(split(bytes.Clone(data), len(data)/3))
			var err error
			if i%2 == 0 {
				err = s.Create(t.Context(), name, hold.body)
			} else {
				err = s.Put(t.Context(), name, hold.body)
			}
			if err != nil {
				t.Errorf("write %s: %v", name, err)
			}
			hold.drop()
			hold.wait()
			expect(t, s, name, data)
		})
	}
	wg.Wait()
	hold := newHold(store.Bytes([]byte("x")))
	if err := s.Create(t.Context(), "holds/0", hold.body); !errors.Is(err, store.ErrExists) {
		t.Errorf("Create: %v, want ErrExists", err)
	}
	hold.drop()
	hold.wait()
}
