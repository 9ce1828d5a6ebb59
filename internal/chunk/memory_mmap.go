//go:build unix && !race

package chunk

import (
	"fmt"
	"syscall"
)

// carved says that blocks are cut from slabs and keep their addresses when
// their pages are given back.
const carved = true

// mapMemory maps n bytes of zeroes.
func mapMemory(n int) []byte {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		// As for the Go heap: out of memory is not an error that anybody handles.
		panic(fmt.Sprintf("chunk: map %d bytes: %v", n, err))
	}
	wantHuge(b)
	return b
}

// unmapMemory undoes mapMemory, given the same slice.
func unmapMemory(b []byte) {
	if err := syscall.Munmap(b); err != nil {
		panic(fmt.Sprintf("BUG: chunk: unmap %d bytes: %v", len(b), err))
	}
}
