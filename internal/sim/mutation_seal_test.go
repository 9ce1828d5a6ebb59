//go:build break_seal

package sim

const mutation = "break_seal"
