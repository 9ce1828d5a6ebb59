//go:build break_epoch

package sim

const mutation = "break_epoch"
