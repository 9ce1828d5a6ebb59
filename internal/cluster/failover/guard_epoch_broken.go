//go:build break_epoch

package failover

// checkEpoch is off in this mutation: whatever continues the end is adopted.
const checkEpoch = false
