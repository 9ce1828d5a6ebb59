//go:build !break_prefix && !break_nonce && !break_fence && !break_epoch && !break_proof && !break_drain && !break_whole && !break_seal && !break_collect

package sim

// mutated says that a guard is taken away.
const mutated = false
