package partition

import (
	"context"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/blockcache"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// Special timestamps of ListOffsets, as on the wire (KIP-79, 734, 405, 1005,
// 1023).
const (
	Latest          karst.Timestamp = -1
	Earliest        karst.Timestamp = -2
	MaxTimestamp    karst.Timestamp = -3
	EarliestLocal   karst.Timestamp = -4
	LatestTiered    karst.Timestamp = -5
	EarliestPending karst.Timestamp = -6
)

// Found is an offset found by time. Offset and Timestamp are -1, Epoch NoEpoch,
// when nothing was found.
type Found struct {
	Offset    karst.Offset
	Timestamp karst.Timestamp
	Epoch     karst.Epoch
}

var nothing = Found{Offset: -1, Timestamp: karst.NoTimestamp, Epoch: karst.NoEpoch}

// ListOffset finds an offset by a special timestamp, or the first record whose
// timestamp is at or after at: from the manifest and one index, opening only
// batches that may hold the answer.
func (p *Partition) ListOffset(ctx context.Context, s Segments, d *record.Decoder, at karst.Timestamp, current karst.Epoch, committed bool) (Found, error) {
	l, err := p.lookup(current)
	if err != nil {
		return nothing, err
	}
	defer l.release()
	l.segments, l.decoder = s, d
	switch at {
	case Latest:
		return Found{Offset: l.limit, Timestamp: karst.NoTimestamp, Epoch: l.epoch(l.limit)}, nil
	case Earliest, EarliestLocal:
		return Found{Offset: l.start, Timestamp: karst.NoTimestamp, Epoch: l.epoch(l.start)}, nil
	case LatestTiered, EarliestPending:
		return nothing, nil // nothing is tiered: the log is the store
	case MaxTimestamp:
		return l.newest(ctx)
	}
	if at < 0 {
		return nothing, karst.InvalidRequest.Errorf("timestamp %d is not a special one", at)
	}
	return l.atOrAfter(ctx, at)
}

// lookup is a consistent view of a partition for one search.
type lookup struct {
	segments Segments
	decoder  *record.Decoder

	state        *metadata.PartitionState
	runs         []run // retained; those that start at or after the committed end
	start, limit karst.Offset
	epoch        func(karst.Offset) karst.Epoch
}

func (p *Partition) lookup(current karst.Epoch) (*lookup, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.checkEpoch(current); err != nil {
		return nil, err
	}
	l := &lookup{state: p.state, start: p.logStart, limit: p.hw}
	view := &Partition{epoch: p.epoch, state: p.state}
	l.epoch = view.epochAt
	for _, r := range p.tail.runs[p.tail.from(p.state.End):] {
		r.slice.Hold.Retain()
		l.runs = append(l.runs, r)
	}
	return l, nil
}

func (l *lookup) release() {
	for _, r := range l.runs {
		r.slice.Hold.Release()
	}
}

// candidate is one batch to look into.
type candidate struct {
	entry segment.Entry
	src   *metadata.Source // nil: in memory
	bytes []byte
}

// walk visits, in offset order, the batches at or above the log start whose
// manifest entry or run passes wanted, until visit says stop.
func (l *lookup) walk(ctx context.Context, wanted func(maxTimestamp karst.Timestamp) bool, visit func(candidate) (bool, error)) error {
	for k := range l.state.Sources {
		src := &l.state.Sources[k]
		if src.Last < l.start || !wanted(src.MaxTimestamp) {
			continue
		}
		entries, err := l.segments.Index(ctx, src.Object.Name(), src.Index, src.IndexCheck)
		if err != nil {
			return err
		}
		for _, e := range within(entries, src.Base, src.Last) {
			if e.Info.Last() < l.start || !wanted(e.Info.MaxTimestamp) || e.Info.Attributes.Control() {
				continue
			}
			if stop, err := visit(candidate{entry: e, src: src}); stop || err != nil {
				return err
			}
		}
	}
	for _, r := range l.runs {
		if !wanted(r.slice.MaxTimestamp) {
			continue
		}
		for k, e := range r.slice.Entries {
			if e.Info.Last() < l.start || !wanted(e.Info.MaxTimestamp) || e.Info.Attributes.Control() {
				continue
			}
			if stop, err := visit(candidate{entry: e, bytes: r.slice.Bytes[k]}); stop || err != nil {
				return err
			}
		}
	}
	return nil
}

// atOrAfter finds the first record at or after a time.
func (l *lookup) atOrAfter(ctx context.Context, at karst.Timestamp) (Found, error) {
	ctx = store.WithCaller(ctx, store.CallerTail)
	found := nothing
	err := l.walk(ctx, func(newest karst.Timestamp) bool { return newest >= at }, func(c candidate) (bool, error) {
		err := l.open(ctx, c, func(b []byte) error {
			off, ts, ok, err := l.decoder.FirstAtOrAfter(b, l.start, at)
			if ok && off < l.limit {
				found = Found{Offset: off, Timestamp: ts, Epoch: c.entry.Info.Epoch}
			}
			return err
		})
		return found != nothing, err
	})
	if err != nil {
		return nothing, readFailed(err)
	}
	return found, nil
}

// newest finds the first record with the largest timestamp.
func (l *lookup) newest(ctx context.Context) (Found, error) {
	ctx = store.WithCaller(ctx, store.CallerTail)
	best := nothing
	better := func(ts karst.Timestamp) bool { return ts > best.Timestamp }
	err := l.walk(ctx, better, func(c candidate) (bool, error) {
		i := c.entry.Info
		if off := i.Base + karst.Offset(i.MaxDelta); i.MaxDelta >= 0 && off >= l.start {
			best = Found{Offset: off, Timestamp: i.MaxTimestamp, Epoch: i.Epoch}
			return false, nil
		}
		// Its newest record is not known, or below the log start: look inside.
		return false, l.open(ctx, c, func(b []byte) error {
			for r, err := range l.decoder.Records(b) {
				if err != nil {
					return err
				}
				if r.Offset >= l.start && better(r.Timestamp) {
					best = Found{Offset: r.Offset, Timestamp: r.Timestamp, Epoch: i.Epoch}
				}
			}
			return nil
		})
	})
	if err != nil {
		return nothing, readFailed(err)
	}
	return best, nil
}

// open passes the checked bytes of a candidate to use.
func (l *lookup) open(ctx context.Context, c candidate, use func([]byte) error) error {
	if c.src == nil {
		return use(c.bytes)
	}
	span := karst.Span{Pos: c.entry.Pos, Len: int64(c.entry.Info.Size)}
	var b []byte
	v, err := readChecked(ctx, l.segments, c.src.Object.Name(), span, span, func(v blockcache.View) error {
		b = contiguous(v.Parts)
		return record.Check(c.src.Object.Name(), c.entry.Pos, b, c.entry.Info)
	})
	if err != nil {
		return err
	}
	defer v.Hold.Release()
	return use(b)
}
