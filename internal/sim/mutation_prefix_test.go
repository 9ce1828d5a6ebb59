//go:build break_prefix

package sim

const mutation = "break_prefix"
