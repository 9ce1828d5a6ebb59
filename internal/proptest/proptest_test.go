package proptest

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestIntReachesTheEdges wants both ends and zero of ranges that even draws would
// not hit, and nothing outside.
func TestIntReachesTheEdges(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	for _, c := range [][2]int64{{math.MinInt64, math.MaxInt64}, {0, math.MaxInt64}, {-1e9, 1e6}, {7, 7}, {math.MinInt64, math.MinInt64 + 1}} {
		seen := map[int64]bool{}
		for range 2000 {
			x := Int(r, c[0], c[1])
			if x < c[0] || x > c[1] {
				t.Fatalf("%d is not from %d to %d", x, c[0], c[1])
			}
			seen[x] = true
		}
		if !seen[c[0]] || !seen[c[1]] || c[0] <= 0 && c[1] >= 0 && !seen[0] {
			t.Errorf("from %d to %d: an edge is missing", c[0], c[1])
		}
	}
}

func TestRunTakesTheSeedGiven(t *testing.T) {
	t.Setenv(seedVariable, "18446744073709551615") // the next one is 0
	var drawn []uint64
	Run(t, 2, func(_ *testing.T, r *rand.Rand) { drawn = append(drawn, r.Uint64()) })
	if len(drawn) != 2 || drawn[0] != rand.New(rand.NewPCG(math.MaxUint64, 0)).Uint64() || drawn[1] != rand.New(rand.NewPCG(0, 0)).Uint64() {
		t.Errorf("drawn %v", drawn)
	}
}
