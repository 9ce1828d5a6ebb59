//go:build !break_epoch

package failover

// checkEpoch keeps I13: only what carries the partition's current leader epoch
// is adopted.
const checkEpoch = true
