//go:build break_fence

package failover

// fenceFirst is off in this mutation: there is no fence, the ranges are computed
// from the image before the WAL is sealed, and package metadata, under the same
// tag, does not ask whether they still fit.
const fenceFirst = false
