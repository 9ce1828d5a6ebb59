//go:build !karst_next

package metadata

// LevelMax is the highest level that this program reads.
const LevelMax = 1
