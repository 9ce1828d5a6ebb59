// Package proptest runs property tests on drawn input, from seeds that a failure names.
package proptest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// seedVariable gives the first seed, so that a failure can be repeated.
const seedVariable = "KARST_TEST_SEED"

// Run checks property for n successive seeds, up to the first that fails. The
// first seed differs from run to run, unless KARST_TEST_SEED gives it.
func Run(t *testing.T, n int, property func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	first := uint64(rand.Uint32())
	if s := os.Getenv(seedVariable); s != "" {
		var err error
		if first, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
	}
	for i := range uint64(n) {
		seed := first + i
		if !t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("%s=%d repeats this", seedVariable, seed)
				}
			})
			property(t, rand.New(rand.NewPCG(seed, 0)))
		}) {
			return
		}
	}
}

// Int draws from lo to hi, both included: evenly half of the time, otherwise an
// edge of the range or of zero, or a number of few bits.
func Int[N ~int | ~int16 | ~int32 | ~int64](r *rand.Rand, lo, hi N) N {
	switch r.IntN(4) {
	case 0:
		if x := Pick(r, []int64{int64(lo), int64(hi), -1, 0, 1}); int64(lo) <= x && x <= int64(hi) {
			return N(x)
		}
	case 1:
		x := int64(r.Uint64() >> r.IntN(64))
		if r.IntN(2) == 0 {
			x = ^x
		}
		if int64(lo) <= x && x <= int64(hi) {
			return N(x)
		}
	}
	if span := uint64(hi) - uint64(lo) + 1; span != 0 {
		return N(uint64(lo) + r.Uint64N(span))
	}
	return N(r.Uint64()) // all of int64
}

// Pick draws one of all.
func Pick[E any](r *rand.Rand, all []E) E { return all[r.IntN(len(all))] }

// Bool draws evenly.
func Bool(r *rand.Rand) bool { return r.IntN(2) == 0 }

// String draws up to n characters of one to four bytes each.
func String(r *rand.Rand, n int) string {
	s := make([]rune, Int(r, 0, n))
	for i := range s {
		s[i] = Int(r, 0, Pick(r, []rune{0x7f, 0x7ff, 0xffff, 0x10ffff}))
	}
	return string(s)
}
