//go:build !break_whole

package metadata

// refuseWhole keeps I8: a commit with a range that does not hold is refused with
// its trim.
const refuseWhole = true
