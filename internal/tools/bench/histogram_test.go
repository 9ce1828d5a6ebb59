package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestBuckets walks all buckets: they must touch, in order, up to the largest value.
func TestBuckets(t *testing.T) {
	begin := int64(0)
	for i := range bucketCount {
		end := bucketEnd(i)
		if bucketOf(begin) != i || bucketOf(end) != i {
			t.Fatalf("bucket %d is %d…%d, but these map to %d and %d", i, begin, end, bucketOf(begin), bucketOf(end))
		}
		if begin >= linear && float64(end-begin) > float64(begin)/linear {
			t.Fatalf("bucket %d, %d…%d, is wider than 1/%d", i, begin, end, linear)
		}
		if end == math.MaxInt64 {
			if i != bucketCount-1 {
				t.Fatalf("bucket %d of %d ends at the largest value", i, bucketCount)
			}
			return
		}
		begin = end + 1
	}
	t.Fatal("the last bucket does not end at the largest value")
}

func TestQuantilesAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var h, other Histogram
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(math.Exp(r.NormFloat64()*2 + 14)) // around 1 ms, with a long tail
		all = append(all, d)
		if i%3 == 0 {
			other.Record(d)
		} else {
			h.Record(d)
		}
	}
	h.Merge(&other)
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.95, 0.99, 0.999, 1} {
		want := all[max(int(math.Ceil(q*float64(len(all))))-1, 0)]
		got := h.Quantile(q)
		if got < want || float64(got) > float64(want)*(1+1.0/linear) {
			t.Errorf("quantile %v is %v, sorting says %v", q, got, want)
		}
	}
	if h.Quantile(1) != all[len(all)-1] {
		t.Errorf("the maximum is %v, not %v", h.Quantile(1), all[len(all)-1])
	}
	if h.Count() != uint64(len(all)) {
		t.Errorf("count %d", h.Count())
	}
}

func TestEmptyAndNegative(t *testing.T) {
	var h Histogram
	if h.Quantile(0.99) != 0 || h.Summary() != (Latency{}) {
		t.Error("an empty histogram is not 0")
	}
	h.Record(-time.Second)
	if h.Quantile(1) != 0 || h.Count() != 1 {
		t.Error("a negative duration does not count as 0")
	}
}
