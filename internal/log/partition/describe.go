package partition

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// ProducerState is what is known of one producer of a partition.
type ProducerState struct {
	ID           karst.ProducerID
	Epoch        karst.ProducerEpoch
	LastSequence karst.Sequence  // -1 if no batch of this epoch is remembered
	LastSeen     karst.Timestamp // when it last appended
}

// Producers lists the producers that the partition remembers, by id; it loads
// them first. Those that have not appended for expire are left out.
func (p *Partition) Producers(ctx context.Context, s Segments, now time.Time, expire time.Duration) ([]ProducerState, error) {
	if err := p.Load(ctx, s, now, expire); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]ProducerState, 0, len(p.producers.byID))
	for id, q := range p.producers.byID {
		if karst.Timestamp(now.UnixMilli())-q.seen >= karst.Timestamp(expire.Milliseconds()) {
			continue
		}
		known := ProducerState{ID: id, Epoch: q.epoch, LastSequence: -1, LastSeen: q.seen}
		if q.n > 0 {
			known.LastSequence = q.window[q.n-1].last
		}
		all = append(all, known)
	}
	slices.SortFunc(all, func(a, b ProducerState) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// Size is the number of bytes of the partition's durable record batches: those
// in the manifest, and those that no flush has covered yet.
func (p *Partition) Size() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return ManifestSize(p.state, p.logStart) + p.tail.bytesFrom(p.state.End)
}

// ManifestSize is the number of bytes of the record batches that a partition's
// manifest holds; sources wholly below the log start wait for their deletion
// and do not count.
func ManifestSize(s *metadata.PartitionState, logStart karst.Offset) int64 {
	var n int64
	for k := range s.Sources {
		if s.Sources[k].Last >= logStart {
			n += s.Sources[k].Data.Len
		}
	}
	return n
}

// bytesFrom is the size of the batches from off on.
func (t *tail) bytesFrom(off karst.Offset) int64 {
	var n int64
	for i := t.from(off); i < len(t.runs); i++ {
		s := t.runs[i].slice
		for k := range s.Entries {
			if s.Entries[k].Info.Last() >= off {
				n += int64(len(s.Bytes[k]))
			}
		}
	}
	return n
}
