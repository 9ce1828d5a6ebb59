//go:build break_drain

package engine

// drainFirst is off in this mutation: what is in flight at an offer is
// acknowledged after the hand-over. The history checker must notice.
const drainFirst = false
