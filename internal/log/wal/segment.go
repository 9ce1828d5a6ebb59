package wal

import (
	"sync/atomic"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/store"
)

// Segment is a durable WAL segment in memory.
type Segment struct {
	Number karst.Number
	Size   int64
	Slices []Slice // in partition order
	Trims  []segment.Trim
}

// Slice is one partition's part of a segment. It counts as a hold on the
// segment's memory: Retain and Release share the segment's chunks.
type Slice struct {
	segment.Slice
	Entries []segment.Entry
	Bytes   [][]byte // one per entry
	Hold    store.Holder
}

// memory is the chunks of one segment, counted and freed as one.
type memory struct {
	holds  atomic.Int64
	chunks []*chunk.Chunk
}

func newMemory() *memory {
	m := &memory{}
	m.holds.Store(1)
	return m
}

// Retain implements store.Holder.
func (m *memory) Retain() {
	if m.holds.Add(1) <= 1 {
		panic("BUG: WAL segment retained after its last release")
	}
}

// Release implements store.Holder.
func (m *memory) Release() {
	switch n := m.holds.Add(-1); {
	case n == 0:
		for _, c := range m.chunks {
			c.Release()
		}
		m.chunks = nil
	case n < 0:
		panic("BUG: WAL segment released more often than retained")
	}
}

// sealed makes the Segment of what was built; every slice gets a hold.
func sealed(n karst.Number, b *segment.Built, m *memory) *Segment {
	s := &Segment{Number: n, Size: b.Size, Trims: b.Directory.Trims, Slices: make([]Slice, len(b.Directory.Slices))}
	m.holds.Add(int64(len(s.Slices)))
	for i, at := range b.Directory.Slices {
		s.Slices[i] = Slice{Slice: at, Entries: b.Indexes[i], Bytes: b.Batches[i], Hold: m}
	}
	return s
}
