//go:build !break_fence

package failover

// fenceFirst keeps I12: the fence is committed before the WAL is sealed, and
// ranges are computed from an image that holds it.
const fenceFirst = true
