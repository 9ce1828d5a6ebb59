//go:build break_collect

package metadata

// adoptedOnly is off in this mutation: the write-ahead log of a fenced incarnation
// is garbage before it was adopted. The history checker must notice.
const adoptedOnly = false
