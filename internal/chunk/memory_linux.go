//go:build linux && !race

package chunk

import "syscall"

// giveBack drops the pages of b, which must start on a page; they come back as
// zeroes. A failure only means that the memory stays resident.
func giveBack(b []byte) { _ = syscall.Madvise(b, syscall.MADV_DONTNEED) }

// hugeBytes is the size of the large pages that a mapping of at least that
// size asks for: filling fresh memory page by page costs more than copying into
// it.
const hugeBytes = 2 << 20

// wantHuge asks for large pages. A failure only means small ones.
func wantHuge(b []byte) {
	if len(b) >= hugeBytes {
		_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE)
	}
}
