// Package chunk is counted memory outside the reach of the garbage collector:
// frames read from sockets, WAL segments on their way to the store, and the
// tail cache live in it, and are freed whole.
//
// Blocks come in size classes (four per doubling, from 4 KiB to 4 MiB), carved
// from anonymous mappings. A freed block is kept for reuse; above the pool's
// idle budget its pages are given back to the system, its addresses kept. Larger
// blocks have a mapping of their own, unmapped when freed. Builds for the race
// detector, and systems other than Unix, use garbage-collected memory instead:
// the detector cannot see mapped memory.
//
// An Arena cuts small pieces from chunks, for what is freed in order.
//
// Rejected: sync.Pool of Go slices. The collector empties it under load, and
// gigabytes of tail cache would count into every collection's target.
package chunk

import (
	"fmt"
	"sync/atomic"
)

// poison is what freed memory is filled with when a pool is told to.
const poison = 0xdb

// Chunk is a counted block of memory. It starts with one hold.
type Chunk struct {
	b     []byte // what was asked for
	block []byte // the whole block of its class
	class int    // ownMapping for a block of its own
	pool  *Pool
	holds atomic.Int32
}

// Bytes is the whole block. It must not be used after the last Release.
func (c *Chunk) Bytes() []byte { return c.b }

// Retain adds a hold. Only somebody who has one may call it.
func (c *Chunk) Retain() {
	if n := c.holds.Add(1); n <= 1 {
		panic(fmt.Sprintf("BUG: chunk retained after its last release (%d holds)", n))
	}
}

// Release drops a hold; the last one returns the memory to its pool.
func (c *Chunk) Release() {
	switch n := c.holds.Add(-1); {
	case n == 0:
		c.pool.put(c)
	case n < 0:
		panic(fmt.Sprintf("BUG: chunk released more often than retained (%d holds)", n))
	}
}
