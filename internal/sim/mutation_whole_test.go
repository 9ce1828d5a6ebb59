//go:build break_whole

package sim

const mutation = "break_whole"
