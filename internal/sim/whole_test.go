//go:build !break_prefix && !break_nonce && !break_fence && !break_epoch && !break_proof

package sim

// mutated says that a guard is taken away.
const mutated = false
