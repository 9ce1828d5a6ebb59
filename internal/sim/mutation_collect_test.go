//go:build break_collect

package sim

const mutation = "break_collect"
