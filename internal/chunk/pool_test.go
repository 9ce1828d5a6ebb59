package chunk

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestClassesFit(t *testing.T) {
	if got := classOf(slabBytes); got != classes-1 || classBytes(got) != slabBytes {
		t.Fatalf("largest class %d has %d bytes", got, classBytes(got))
	}
	for n := 0; n <= slabBytes; n += 1 + n/97 {
		for _, n := range []int{n, min(n+1, slabBytes)} {
			c := classOf(n)
			if c < 0 || c >= classes {
				t.Fatalf("class of %d bytes is %d of %d", n, c, classes)
			}
			if got := classBytes(c); got < n {
				t.Fatalf("class %d of %d bytes holds only %d", c, n, got)
			}
			if c > 0 && n > 0 && classBytes(c-1) >= n {
				t.Fatalf("%d bytes fit in class %d of %d bytes, not only in %d", n, c-1, classBytes(c-1), c)
			}
		}
	}
	if classOf(slabBytes+1) != ownMapping {
		t.Fatal("more than the largest class needs a mapping of its own")
	}
}

func TestBlocksAreDisjointAndReused(t *testing.T) {
	p := NewPool(1 << 30)
	sizes := []int{0, 1, 4096, 5000, 16 << 10, 100 << 10, 1 << 20, 4<<20 + 1}
	held := map[*Chunk]byte{}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		if len(held) > 20 || i > 160 {
			for c, mark := range held {
				for _, b := range c.Bytes() {
					if b != mark {
						t.Fatalf("a held chunk's bytes changed from %d to %d", mark, b)
					}
				}
				delete(held, c)
				c.Release()
				break
			}
			continue
		}
		size := sizes[rng.IntN(len(sizes))]
		c := p.Get(size)
		if len(c.Bytes()) != size || cap(c.Bytes()) != size {
			t.Fatalf("asked for %d bytes, got %d of %d", size, len(c.Bytes()), cap(c.Bytes()))
		}
		for j := range c.Bytes() {
			c.Bytes()[j] = byte(i)
		}
		held[c] = byte(i)
	}
	for c := range held {
		c.Release()
	}
	if p.InUse() != 0 {
		t.Fatalf("%d bytes in use after all releases", p.InUse())
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestIdleBudget(t *testing.T) {
	p := NewPool(1 << 20)
	var cs []*Chunk
	for range 64 {
		c := p.Get(64 << 10)
		c.Bytes()[0] = 1
		cs = append(cs, c)
	}
	if p.Close() == nil {
		t.Fatal("a pool with held chunks was closed")
	}
	for _, c := range cs {
		c.Release()
	}
	if got := p.Idle(); got > 1<<20 || got < 1<<19 {
		t.Fatalf("%d bytes idle, budget 1 MiB", got)
	}
	for range 64 {
		p.Get(64 << 10)
	}
	if carved && len(p.slabs) != 1 {
		t.Fatalf("%d slabs: cooled blocks were not used again", len(p.slabs))
	}
}

func mustPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		if r, _ := recover().(string); !strings.Contains(r, want) {
			t.Errorf("panicked with %q, want %q", r, want)
		}
	}()
	f()
}

func TestMisuseShows(t *testing.T) {
	p := New(Config{IdleBytes: 1 << 20, Poison: true})
	c := p.Get(100)
	b := c.Bytes()
	b[0] = 1
	c.Retain()
	c.Release()
	if b[0] != 1 {
		t.Fatal("a held chunk was poisoned")
	}
	c.Release()
	if b[0] != poison {
		t.Fatal("a released chunk was not poisoned")
	}
	mustPanic(t, "BUG: chunk released", c.Release)
	c2 := p.Get(100)
	c2.Release()
	mustPanic(t, "BUG: chunk retained", c2.Retain)
	mustPanic(t, "BUG: chunk of -1", func() { p.Get(-1) })
}

func TestAcquireWaitsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{LimitBytes: 64 << 10})
		first, err := p.Acquire(t.Context(), 48<<10)
		if err != nil {
			t.Fatal(err)
		}
		var order []int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i, size := range []int{32 << 10, 4 << 10, 20 << 10} {
			wg.Go(func() {
				time.Sleep(time.Duration(i+1) * time.Second)
				c, err := p.Acquire(t.Context(), size)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Second)
				c.Release()
			})
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		if len(order) != 0 {
			t.Errorf("%v went past the one that waits first", order)
		}
		mu.Unlock()
		first.Release()
		wg.Wait()
		if p.InUse() != 0 || len(order) != 3 {
			t.Fatalf("in use %d, served %v", p.InUse(), order)
		}
	})
}

func TestAcquireGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{LimitBytes: 64 << 10})
		if _, err := p.Acquire(t.Context(), 65<<10); !errors.Is(err, ErrTooLarge) {
			t.Fatalf("more than the budget: %v", err)
		}
		c := p.Get(80 << 10) // Get may exceed the limit
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := p.Acquire(ctx, 64<<10); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("acquire in a full pool: %v", err)
			}
		})
		wg.Go(func() {
			time.Sleep(time.Millisecond) // stands behind the one that gives up
			c, err := p.Acquire(t.Context(), 4<<10)
			if err != nil {
				t.Error(err)
				return
			}
			c.Release()
		})
		time.Sleep(2 * time.Second)
		c.Release()
		wg.Wait()
		if p.InUse() != 0 {
			t.Fatalf("%d bytes in use", p.InUse())
		}
	})
}

func TestAcquireUnderLoad(t *testing.T) {
	const limit = 128 << 10
	p := New(Config{LimitBytes: limit, IdleBytes: 64 << 10, Poison: true})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 3))
			for range 100 {
				c, err := p.Acquire(t.Context(), rng.IntN(limit/2))
				if err != nil {
					t.Error(err)
					return
				}
				if used := p.InUse(); used > limit {
					t.Errorf("%d of %d bytes in use", used, limit)
				}
				for i := 0; i < len(c.Bytes()); i += pageBytes {
					c.Bytes()[i] = byte(g)
				}
				for i := 0; i < len(c.Bytes()); i += pageBytes {
					if c.Bytes()[i] != byte(g) {
						t.Error("two holders share a block")
					}
				}
				c.Release()
			}
		})
	}
	wg.Wait()
	if p.InUse() != 0 {
		t.Fatalf("%d bytes in use", p.InUse())
	}
}

func BenchmarkGetRelease(b *testing.B) {
	p := NewPool(1 << 30)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.Get(17 << 10).Release()
		}
	})
}
