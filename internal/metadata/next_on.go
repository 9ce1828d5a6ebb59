//go:build karst_next

package metadata

// LevelMax of the build that stands for the next release in tests of upgrades.
const LevelMax = 2
