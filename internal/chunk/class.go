package chunk

import "math/bits"

const (
	pageBytes  = 4 << 10
	slabBytes  = 4 << 20 // also the largest class
	ownMapping = -1      // class of blocks larger than any
	classes    = 36      // 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64 KiB … 4 MiB
)

// classOf is the smallest class whose blocks hold n bytes. Four classes per
// doubling waste a fifth at most; powers of two would double the cost of a
// 1 MiB batch with its frame header.
func classOf(n int) int {
	if n > slabBytes {
		return ownMapping
	}
	pages := (max(n, 1) + pageBytes - 1) / pageBytes
	if pages <= 4 {
		return pages - 1
	}
	shift := bits.Len(uint(pages-1)) - 3 // pages-1 is in [4<<shift, 8<<shift)
	return 4*shift + (pages-1)>>shift
}

// classBytes is the size of a class's blocks.
func classBytes(class int) int {
	if class < 4 {
		return (class + 1) * pageBytes
	}
	shift := class/4 - 1
	return (class%4 + 5) << shift * pageBytes
}
