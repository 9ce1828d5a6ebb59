package wal

import (
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/store"

	"github.com/karst-io/karst"
)

// Batch is one batch to append. The WAL retains Hold until the bytes are copied.
type Batch struct {
	Partition karst.TopicPartition
	Info      record.Info // stamped: base offset and epoch set
	Bytes     []byte      // stamped
	Hold      store.Holder
}

// group is what will become one segment. Its lists are used again.
type group struct {
	commit  *Commit
	batches []segment.Batch
	holds   []store.Holder
	trims   []segment.Trim
	bytes   int64
}

// count is the number of appends in the group.
func (g *group) count() int { return len(g.batches) + len(g.trims) }

func (g *group) add(b *Batch) {
	if b.Hold != nil {
		b.Hold.Retain()
		g.holds = append(g.holds, b.Hold)
	}
	g.batches = append(g.batches, segment.Batch{Partition: b.Partition, Info: b.Info, Bytes: b.Bytes})
	g.bytes += int64(len(b.Bytes))
}

// letGo releases what the group holds and empties it.
func (g *group) letGo() {
	for _, h := range g.holds {
		h.Release()
	}
	clear(g.holds)
	clear(g.batches)
	*g = group{batches: g.batches[:0], holds: g.holds[:0], trims: g.trims[:0]}
}
