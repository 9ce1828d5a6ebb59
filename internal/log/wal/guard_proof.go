//go:build !break_proof

package wal

// proveLive keeps section 4's rule: what others act on needs a proof.
const proveLive = true
