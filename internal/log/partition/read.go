package partition

import (
	"context"
	"errors"
	"sort"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/blockcache"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// ReadRequest asks for records of one partition.
type ReadRequest struct {
	Offset       karst.Offset
	MaxBytes     int         // 0 reads nothing, but still checks and reports watermarks
	AtLeastOne   bool        // return the first batch whole even if above MaxBytes
	CurrentEpoch karst.Epoch // NoEpoch: do not check
	LastFetched  karst.Epoch // NoEpoch: do not check
	Committed    bool        // read_committed: stop at the last stable offset
}

// Aborted is one aborted transaction that overlaps a read.
type Aborted struct {
	Producer karst.ProducerID
	First    karst.Offset
}

// Read is what was found. Parts are whole batches, spliced from the tail cache
// or from segments; Release must be called once they are no longer needed.
type Read struct {
	Parts         [][]byte
	Size          int
	HighWatermark karst.Offset
	LastStable    karst.Offset
	LogStart      karst.Offset
	Aborted       []Aborted // nil unless Committed
	Diverging     *EpochEnd // the log ended below what the reader fetched

	holds []store.Holder
}

// Release drops the hold on the bytes.
func (r *Read) Release() {
	for _, h := range r.holds {
		h.Release()
	}
	r.holds, r.Parts = nil, nil
}

// sourcesPerRead bounds the manifest entries one read goes through, so that many
// small ones cannot make a read unbounded.
const sourcesPerRead = 16

// Read reads from memory what is there and from segments what is not. Offsets
// below the log start or above the log end are OffsetOutOfRange; at the end
// there is nothing and no error.
func (p *Partition) Read(ctx context.Context, s Segments, q ReadRequest) (*Read, error) {
	r, state, err := p.readMemory(q)
	if err != nil || state == nil {
		return r, err
	}
	err = r.cold(ctx, s, state, q, r.limit(q))
	if errors.Is(err, store.ErrNotFound) {
		// The image was stale: a newer one has other segments (section 4).
		again, newer, err2 := p.readMemory(q)
		if err2 != nil || newer == nil {
			r.Release()
			return again, err2
		}
		if newer != state {
			r.Release()
			r = again
			err = r.cold(ctx, s, newer, q, r.limit(q))
		}
	}
	if err != nil && r.Size == 0 {
		r.Release()
		return nil, readFailed(err)
	}
	p.traffic.read(r.Size)
	return r, nil // what was found before a failure is good
}

// limit is the offset that a read stops below.
func (r *Read) limit(q ReadRequest) karst.Offset {
	if q.Committed {
		return r.LastStable
	}
	return r.HighWatermark
}

// readMemory checks a request and answers it from memory; a state is returned
// when the segments of that state have the answer instead.
func (p *Partition) readMemory(q ReadRequest) (*Read, *metadata.PartitionState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.checkEpoch(q.CurrentEpoch); err != nil {
		return nil, nil, err
	}
	if q.Offset < p.logStart || q.Offset > p.next {
		return nil, nil, karst.OffsetOutOfRange.Errorf("offset %d of %s is not between log start %d and log end %d", q.Offset, p.id, p.logStart, p.next)
	}
	r := &Read{HighWatermark: p.hw, LastStable: p.hw, LogStart: p.logStart}
	if q.LastFetched != karst.NoEpoch {
		end := p.epochEnd(q.LastFetched)
		if end.Epoch == karst.NoEpoch {
			return nil, nil, karst.OffsetOutOfRange.Errorf("leader epoch %d of %s is not known", q.LastFetched, p.id)
		}
		if end.Epoch < q.LastFetched || end.End < q.Offset {
			r.Diverging = &end
			return r, nil, nil
		}
	}
	if q.Committed {
		r.Aborted = []Aborted{}
	}
	limit := r.limit(q)
	if q.Offset >= limit || (q.MaxBytes <= 0 && !q.AtLeastOne) {
		return r, nil, nil
	}
	if !p.tail.covers(q.Offset) {
		if q.Offset >= p.state.End {
			panic("BUG: I7: an unflushed offset is not in memory")
		}
		return r, p.state, nil
	}
	p.tail.gather(r, q.Offset, limit, q.MaxBytes, q.AtLeastOne)
	return r, nil, nil
}

// cold adds batches from segments.
func (r *Read) cold(ctx context.Context, s Segments, state *metadata.PartitionState, q ReadRequest, limit karst.Offset) error {
	sources := state.Sources
	k := sort.Search(len(sources), func(k int) bool { return sources[k].Last >= q.Offset })
	ctx = store.WithCaller(ctx, callerFor(k, len(sources)))
	for n := 0; k < len(sources) && n < sourcesPerRead; k, n = k+1, n+1 {
		src := &sources[k]
		entries, err := s.Index(ctx, src.Object.Name(), src.Index, src.IndexCheck)
		if err != nil {
			return err
		}
		all := within(entries, src.Base, src.Last)
		from := sort.Search(len(all), func(i int) bool { return all[i].Info.Last() >= q.Offset })
		take := all[from:]
		n := 0
		size := 0
		for n < len(take) && take[n].Info.Base < limit {
			next := int(take[n].Info.Size)
			if r.Size+size+next > q.MaxBytes && (r.Size+size > 0 || !q.AtLeastOne) {
				break
			}
			size += next
			n++
		}
		if n > 0 {
			if err := r.fetch(ctx, s, src, take[:n], size); err != nil {
				return err
			}
		}
		if n < len(take) {
			return nil
		}
	}
	return nil
}

// fetch reads adjacent batches of one source and checks every one of them, once
// for as long as it is in memory: a corrupt batch is never passed on.
func (r *Read) fetch(ctx context.Context, s Segments, src *metadata.Source, take []segment.Entry, size int) error {
	span := karst.Span{Pos: take[0].Pos, Len: int64(size)}
	v, err := readChecked(ctx, s, src.Object.Name(), span, src.Data, func(v blockcache.View) error {
		if v.Vouched() {
			return nil
		}
		if err := verify(src.Object.Name(), take, v.Parts); err != nil {
			return err
		}
		v.Vouch()
		return nil
	})
	if err != nil {
		return err
	}
	r.holds = append(r.holds, v.Hold)
	for _, part := range v.Parts {
		r.add(part)
	}
	return nil
}

// rereads is how often damage is read again before it is believed: bytes may
// have been damaged on their way here.
const rereads = 2

// readChecked reads bytes that pass a check. Damage is asked of the store anew;
// kept in the cache, one flipped bit would stop its readers for good.
func readChecked(ctx context.Context, s Segments, name string, span, within karst.Span, check func(v blockcache.View) error) (blockcache.View, error) {
	for attempt := 0; ; attempt++ {
		v, err := s.Read(ctx, name, span, within)
		if err == nil {
			if err = check(v); err == nil {
				return v, nil
			}
			v.Discredit()
			v.Hold.Release()
		}
		if _, corrupt := errors.AsType[*karst.CorruptError](err); !corrupt || attempt == rereads {
			return blockcache.View{}, err
		}
	}
}

// verify checks batches that lie one after the other in parts.
func verify(object string, take []segment.Entry, parts [][]byte) error {
	var head, joined []byte // what is left of the current part; a batch that straddles
	for _, e := range take {
		size := int(e.Info.Size)
		if len(head) == 0 && len(parts) > 0 {
			head, parts = parts[0], parts[1:]
		}
		b := head[:min(size, len(head))]
		head = head[len(b):]
		if len(b) < size {
			joined = append(joined[:0], b...)
			for len(joined) < size && len(parts) > 0 {
				head, parts = parts[0], parts[1:]
				want := min(size-len(joined), len(head))
				joined, head = append(joined, head[:want]...), head[want:]
			}
			b = joined
		}
		if len(b) < size {
			return &karst.CorruptError{Object: object, Offset: e.Pos, Reason: "object ends inside a batch"}
		}
		if err := record.Check(object, e.Pos, b, e.Info); err != nil {
			return err
		}
	}
	return nil
}

// within is the part of an index that lies in [base, last]: a manifest entry
// may cover only some of a WAL slice.
func within(entries []segment.Entry, base, last karst.Offset) []segment.Entry {
	from := sort.Search(len(entries), func(i int) bool { return entries[i].Info.Base >= base })
	to := sort.Search(len(entries), func(i int) bool { return entries[i].Info.Last() > last })
	return entries[from:max(from, to)]
}

// tailSources is how many manifest entries from the end still count as the tail.
const tailSources = 2

func callerFor(k, n int) store.Caller {
	if k >= n-tailSources {
		return store.CallerTail
	}
	return store.CallerCatchUp
}
