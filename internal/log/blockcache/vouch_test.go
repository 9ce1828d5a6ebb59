package blockcache

import (
	"math/rand/v2"
	"testing"

	"github.com/karst-io/karst"
)

// TestVouched: a view is vouched for exactly if each of its bytes was, in the
// memory that it lies in now. A model knows the bytes; the bound on spans may
// only make the cache forget.
func TestVouched(t *testing.T) {
	const size = 40 * block
	bubble(t, Config{MemoryBytes: 64 * block}, size, func(t *testing.T, f *fixture) {
		rng := rand.New(rand.NewPCG(3, 3))
		vouched := make([]bool, size)
		var yes, no int
		for range 4000 {
			at := rng.Int64N(size / 16)
			span := karst.Span{Pos: at * 16, Len: 16 * (1 + rng.Int64N(min(size/16-at, 600)))}
			v, err := f.Read(t.Context(), object1, span, karst.Span{})
			if err != nil {
				t.Fatal(err)
			}
			all := true
			for _, is := range vouched[span.Pos : span.Pos+span.Len] {
				all = all && is
			}
			if got := v.Vouched(); got && !all {
				t.Fatalf("%v is vouched for, and some of it never was", span)
			} else if got {
				yes++
			} else {
				no++
			}
			switch rng.IntN(10) {
			case 0, 1, 2, 3:
				v.Vouch()
				if span.Len > 20*block && !v.Vouched() {
					t.Fatalf("%v is not vouched for right after Vouch", span)
				}
				for i := span.Pos; i < span.Pos+span.Len; i++ {
					vouched[i] = true
				}
			case 4:
				if rng.IntN(8) == 0 { // what comes from the store again was not looked at
					v.Discredit()
					lo, hi := extents(v)
					clear(vouched[lo:min(hi, size)])
				}
			}
			v.Hold.Release()
		}
		if yes < 500 || no < 500 {
			t.Errorf("vouched %d times, not %d times: one of them is not tested", yes, no)
		}
	})
}

// extents is what the memory of a view covers of its object.
func extents(v View) (lo, hi int64) {
	xs := v.Hold.(*viewHold).xs
	last := xs[len(xs)-1]
	return xs[0].pos, last.pos + int64(last.n)
}

// TestVouchedInOrder: what a sequential reader vouches for is one span.
func TestVouchedInOrder(t *testing.T) {
	var spans []karst.Span
	for i := range int64(1000) {
		spans = join(spans, karst.Span{Pos: i * 10, Len: 10})
	}
	if len(spans) != 1 || spans[0] != (karst.Span{Pos: 0, Len: 10_000}) {
		t.Errorf("got %v", spans)
	}
	for i := range int64(1000) {
		spans = join(spans, karst.Span{Pos: 20_000 + i*20, Len: 10})
	}
	if len(spans) != vouchedSpans {
		t.Errorf("%d spans are kept of a reader at random, not %d", len(spans), vouchedSpans)
	}
}
