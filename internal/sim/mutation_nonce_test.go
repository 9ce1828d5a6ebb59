//go:build break_nonce

package sim

const mutation = "break_nonce"
