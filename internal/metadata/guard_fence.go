//go:build !break_fence

package metadata

// adoptFenced keeps I8 and I12 for adoptions: only a fenced incarnation is
// adopted, each range starts at its partition's end, and only what cannot have
// been deleted is named.
const adoptFenced = true
