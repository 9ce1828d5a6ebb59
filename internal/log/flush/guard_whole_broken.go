//go:build break_whole

package flush

// checkApplied is off in this mutation, which is to be found by what clients see.
const checkApplied = false
