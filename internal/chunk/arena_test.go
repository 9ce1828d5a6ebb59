package chunk

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Pieces are disjoint, and their memory is in use for as long as any piece of
// its chunk is held.
func TestArena(t *testing.T) {
	p := New(Config{})
	a := NewArena(p)
	rng := rand.New(rand.NewPCG(1, 2))
	type piece struct {
		b    []byte
		c    *Chunk
		mark byte
	}
	var held []piece
	check := func(x piece) {
		t.Helper()
		if !bytes.Equal(x.b, bytes.Repeat([]byte{x.mark}, len(x.b))) {
			t.Fatal("a held piece changed")
		}
	}
	var sum int64
	for k := range 2000 {
		n := 1 + rng.IntN(pieceMax/8)
		if k%50 == 0 {
			n = pieceMax + rng.IntN(arenaBytes)
		}
		b, c := a.Get(n)
		if len(b) != n || cap(b) != n {
			t.Fatalf("asked for %d bytes, got %d of %d", n, len(b), cap(b))
		}
		x := piece{b, c, byte(k)}
		for i := range b {
			b[i] = x.mark
		}
		held, sum = append(held, x), sum+int64(n)
		for sum > 8<<20 { // the oldest go, as a tail does
			check(held[0])
			held[0].c.Release()
			held, sum = held[1:], sum-int64(len(held[0].b))
		}
		if p.InUse() > sum*5/4+3*arenaBytes {
			t.Fatalf("%d bytes in use for pieces of %d", p.InUse(), sum)
		}
	}
	a.Close()
	for _, x := range held {
		check(x)
		x.c.Release()
	}
	if p.InUse() != 0 {
		t.Fatalf("%d bytes in use after all releases", p.InUse())
	}
}

func TestArenaAllocatesNothing(t *testing.T) {
	a := NewArena(NewPool(1 << 30))
	defer a.Close()
	if n := testing.AllocsPerRun(1000, func() {
		_, c := a.Get(20 << 10)
		c.Release()
	}); n > 0 && carved {
		t.Errorf("%v allocations for each piece", n)
	}
}
