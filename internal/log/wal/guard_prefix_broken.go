//go:build break_prefix

package wal

// checkPrefix is off in this mutation: a segment is acknowledged as soon as its
// own number exists. The history checker must notice.
const checkPrefix = false
