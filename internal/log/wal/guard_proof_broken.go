//go:build break_proof

package wal

// proveLive is off in this mutation: an incarnation that has not heard of its end
// believes itself live, without a look at the store. The property and the history
// checker must notice.
const proveLive = false
