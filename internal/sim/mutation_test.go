//go:build break_prefix || break_nonce || break_fence || break_epoch || break_proof || break_drain || break_whole || break_seal || break_collect

package sim

import (
	"slices"
	"testing"
)

// mutated says that a guard is taken away.
const mutated = true

// TestMutationIsFound passes exactly if the checker finds the bug that a build
// tag plants:
//
//	go test -tags break_prefix ./internal/sim -run TestMutationIsFound
func TestMutationIsFound(t *testing.T) {
	seeds := setting(t, "KARST_TEST_SIM_SEEDS", 300)
	s, first := scenarios[mutation], setting(t, "KARST_TEST_SIM_FIRST", 1)
	for seed := first; seed < first+seeds; seed++ {
		w := bubble(t, seed, s.play)
		for _, f := range w.Findings() {
			if slices.Contains(s.findings, f.Kind) {
				t.Logf("seed %d: %s", seed, f)
				return
			}
		}
	}
	t.Fatalf("%d seeds, and nothing found: the checker does not see that a guard is gone", seeds)
}
