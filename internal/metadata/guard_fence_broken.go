//go:build break_fence

package metadata

// adoptFenced is off in this mutation: an adoption is applied as it is, whatever
// was committed since the image it was computed from.
const adoptFenced = false
