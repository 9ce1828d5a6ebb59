//go:build break_drain

package sim

const mutation = "break_drain"
