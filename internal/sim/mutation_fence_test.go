//go:build break_fence

package sim

const mutation = "break_fence"
