//go:build break_proof

package wal

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

// TestMutationIsFound passes exactly if the property of proofs finds the bug that
// the build tag plants:
//
//	go test -tags break_proof ./internal/log/wal -run TestMutationIsFound
func TestMutationIsFound(t *testing.T) {
	for seed := range uint64(60) {
		var unproven int64
		synctest.Test(t, func(t *testing.T) {
			unproven = checkProofProperty(t, rand.New(rand.NewPCG(seed, 0)))
		})
		if unproven > 0 {
			t.Logf("seed %d: a sealed incarnation proved itself to %d of 3 callers", seed, unproven)
			return
		}
	}
	t.Fatal("60 seeds, and nothing found: the property does not see that no proof is taken")
}
