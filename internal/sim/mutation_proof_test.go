//go:build break_proof

package sim

const mutation = "break_proof"
