//go:build break_whole

package metadata

// refuseWhole is off in this mutation: a range that does not hold is left out, and
// the trim survives it. The history checker must notice.
const refuseWhole = false
