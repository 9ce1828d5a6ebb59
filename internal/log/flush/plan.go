package flush

import (
	"fmt"
	"slices"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
)

// Checkpoints: see the package doc.
const (
	deltasMax  = 16
	sourcesMax = 16
)

// part is what a flush does to one partition.
type part struct {
	tp       karst.TopicPartition
	epoch    karst.Epoch
	start    karst.Offset
	end      karst.Offset
	logStart karst.Offset // 0: as it is
	to       karst.Incarnation

	before, after []metadata.Source // adopted
	run           []piece           // rewritten, between the two
	written       []metadata.Source // of run, once uploaded

	checkpoint, full bool
	state            []byte
	isFull           bool
	stateRef         *metadata.StateRef
}

// piece is the part of one WAL slice that is in the range.
type piece struct {
	number   karst.Number
	slice    *wal.Slice
	from, to int // entries
	bytes    int64
}

func (p piece) whole() bool { return p.from == 0 && p.to == len(p.slice.Entries) }

// gathered is what the WAL numbers of a batch hold of one partition.
type gathered struct {
	slices []piece // whole, in number order
	trims  []segment.Trim
}

// plan decides what a batch does to the partitions of one image, in partition
// order. An error means that committing the trim would lose data.
func (f *Flusher) plan(img Image, b *batch) ([]*part, error) {
	all := map[karst.TopicPartition]*gathered{}
	of := func(tp karst.TopicPartition) *gathered {
		g := all[tp]
		if g == nil {
			g = &gathered{}
			all[tp] = g
		}
		return g
	}
	for _, s := range b.segments {
		for i := range s.Slices {
			sl := &s.Slices[i]
			g := of(sl.Partition)
			g.slices = append(g.slices, piece{s.Number, sl, 0, len(sl.Entries), sl.Data.Len})
		}
		for _, t := range s.Trims {
			g := of(t.Partition)
			g.trims = append(g.trims, t)
		}
	}
	for tp := range b.starts {
		of(tp)
	}
	for tp := range b.moves {
		of(tp)
	}
	tps := make([]karst.TopicPartition, 0, len(all))
	for tp := range all {
		tps = append(tps, tp)
	}
	slices.SortFunc(tps, karst.TopicPartition.Compare)

	var parts []*part
	for _, tp := range tps {
		state, ok := img.Partition(tp)
		if !ok {
			continue // deleted
		}
		if state.Leader != f.d.Incarnation { // given up, by a commit that covered it
			if err := covered(state, all[tp].slices); err != nil {
				return nil, err
			}
			continue
		}
		p, err := f.planPart(state, all[tp], b)
		if err != nil {
			return nil, err
		}
		if p != nil {
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// planPart plans one partition that this incarnation leads; nil if there is
// nothing to do.
func (f *Flusher) planPart(state *metadata.PartitionState, g *gathered, b *batch) (*part, error) {
	p := &part{tp: state.ID, epoch: state.Epoch, start: state.End, end: state.End, to: b.moves[state.ID]}
	var pieces []piece
	for _, s := range g.slices {
		in, err := p.extend(s)
		if err != nil {
			return nil, err
		}
		if in.to > in.from {
			pieces = append(pieces, in)
		}
	}
	p.layOut(f.d.Incarnation, pieces, f.c.AdoptBytes)

	start := max(b.starts[p.tp], f.d.Partitions.LogStart(p.tp))
	for _, t := range g.trims {
		if t.Epoch != p.epoch {
			continue // an older epoch's: its end folded it
		}
		if t.Offset > p.end {
			return nil, fmt.Errorf("flush: %v: records below %d were deleted, but the log known here ends at %d (I8)", p.tp, t.Offset, p.end)
		}
		start = max(start, t.Offset)
	}
	if start = min(start, p.end); start > state.LogStart {
		p.logStart = start
	}
	next, deltas, above := newestState(state)
	// Past the newest checkpoint only a full one will do: it is given of partitions
	// that nobody has appended to, too, whose producers are then read.
	past := p.logStart > next || len(state.Sources) > 0 && state.Sources[0].Last < state.LogStart
	if p.idle() && !past {
		return nil, nil //nolint:nilnil // nothing to do is not an error
	}
	// A delta is not given where no producer has changed, or none was read.
	far := above+len(p.before) >= 2*sourcesMax
	p.full = len(state.States) == 0 || deltas >= deltasMax || f.lost[p.tp] || past || far
	p.checkpoint = len(p.run) > 0 || p.to != 0 || above+len(p.before) >= sourcesMax || past
	return p, nil
}

// idle reports whether the part is about no more than a checkpoint.
func (p *part) idle() bool { return p.start == p.end && p.logStart == 0 && p.to == 0 }

// covered makes sure that a partition was given up with all that the WAL has of it.
func covered(state *metadata.PartitionState, all []piece) error {
	for _, s := range all {
		if n := len(s.slice.Entries); n > 0 && s.slice.Entries[n-1].Info.Last() >= state.End {
			return fmt.Errorf("flush: %v was given up at %d, but WAL %d has offset %d (I8)",
				state.ID, state.End, s.number, s.slice.Entries[n-1].Info.Last())
		}
	}
	return nil
}

// extend takes what a slice adds to the range: the entries of the partition's
// epoch that continue its end.
func (p *part) extend(s piece) (piece, error) {
	in := piece{number: s.number, slice: s.slice, from: -1}
	for i := range s.slice.Entries {
		e := &s.slice.Entries[i].Info
		switch {
		case e.Epoch > p.epoch:
			return in, fmt.Errorf("flush: %v: WAL %d holds leader epoch %d, the image has %d (I13)", p.tp, s.number, e.Epoch, p.epoch)
		case e.Epoch < p.epoch && e.Last() >= p.start:
			return in, fmt.Errorf("flush: %v: WAL %d has offset %d of epoch %d, which ended at %d or before (I8)", p.tp, s.number, e.Last(), e.Epoch, p.start)
		case e.Epoch < p.epoch || e.Last() < p.end:
			if in.from >= 0 {
				return in, fmt.Errorf("flush: %v: WAL %d goes back at offset %d", p.tp, s.number, e.Base)
			}
			continue
		case e.Base != p.end:
			return in, fmt.Errorf("flush: %v: offsets %d to %d are missing before WAL %d (I8)", p.tp, p.end, e.Base, s.number)
		}
		if in.from < 0 {
			in.from = i
		}
		in.to = i + 1
		in.bytes += int64(e.Size)
		p.end = e.Next()
	}
	if in.from < 0 {
		in.from = 0
	}
	return in, nil
}

// layOut splits the pieces of the range into what is adopted before, rewritten,
// and adopted after.
func (p *part) layOut(inc karst.Incarnation, pieces []piece, adoptBytes int64) {
	small := func(x piece) bool { return !x.whole() || x.slice.Data.Len < adoptBytes }
	first := slices.IndexFunc(pieces, small)
	if first < 0 {
		first = len(pieces)
	}
	last := len(pieces)
	for last > first && !small(pieces[last-1]) {
		last--
	}
	for _, x := range pieces[:first] {
		p.before = append(p.before, adopt(inc, x))
	}
	p.run = pieces[first:last]
	for _, x := range pieces[last:] {
		p.after = append(p.after, adopt(inc, x))
	}
}

func adopt(inc karst.Incarnation, x piece) metadata.Source {
	return source(metadata.ObjectID{Kind: metadata.WALObject, Writer: inc, Number: x.number}, &x.slice.Slice)
}

// source is the manifest entry of a whole slice.
func source(o metadata.ObjectID, s *segment.Slice) metadata.Source {
	return metadata.Source{
		Object: o, Base: s.Base, Last: s.Last, Data: s.Data, Index: s.Index, IndexCheck: s.IndexCheck,
		MaxTimestamp: s.MaxTimestamp, MaxTimestampOffset: s.MaxTimestampOffset,
	}
}

// rangeOf is the part as the commit says it.
func (p *part) rangeOf() metadata.Range {
	return metadata.Range{
		Partition: p.tp, Epoch: p.epoch, Start: p.start, End: p.end,
		Sources: slices.Concat(p.before, p.written, p.after),
		State:   p.stateRef, LogStart: p.logStart, NewLeader: p.to,
	}
}
