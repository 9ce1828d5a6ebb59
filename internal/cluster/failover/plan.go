package failover

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// indexReadsAtOnce bounds the WAL objects whose indexes are read in parallel.
const indexReadsAtOnce = 512

// claim is what one partition gets out of the WAL.
type claim struct {
	state    *metadata.PartitionState
	end      karst.Offset
	logStart karst.Offset
	sources  []metadata.Source
	// doubt is the first damaged object that may hold the partition's next
	// batches; 0: none.
	doubt   karst.Number
	stopped bool // a gap: what follows cannot be adopted
}

// plan computes the adoption from an image and the reading of the WAL.
type plan struct {
	inc    karst.Incarnation
	wal    *wal.Sealed
	reader store.Reader
	claims map[karst.TopicPartition]*claim
	held   map[karst.Number]bool
}

// adoption computes the commit that adopts the incarnation. Its errors are
// those of reading the WAL.
func adoption(ctx context.Context, img *metadata.Image, inc karst.Incarnation, w *wal.Sealed, r store.Reader, place Place) (metadata.CommitRequest, error) {
	p := &plan{inc: inc, wal: w, reader: r, claims: map[karst.TopicPartition]*claim{}, held: map[karst.Number]bool{}}
	for s := range img.PartitionsLedBy(inc) {
		p.claims[s.ID] = &claim{state: s, end: s.End}
	}
	picked, err := p.readIndexes(ctx)
	if err != nil {
		return metadata.CommitRequest{}, err
	}
	for i := range w.Objects {
		p.take(&w.Objects[i], picked[i])
	}
	return p.request(img, place), nil
}

// picked is the indexes of an object's slices that the plan looks at.
type picked struct {
	slices  []int
	entries [][]segment.Entry // nil: damaged
}

// readIndexes reads the indexes of all slices that may hold something.
func (p *plan) readIndexes(ctx context.Context) ([]picked, error) {
	all := make([]picked, len(p.wal.Objects))
	errs := make([]error, len(all))
	slots := make(chan struct{}, indexReadsAtOnce)
	var wg sync.WaitGroup
	for i := range all {
		o := &p.wal.Objects[i]
		if o.Directory == nil {
			continue
		}
		for n := range o.Directory.Slices {
			s := &o.Directory.Slices[n]
			if c, ok := p.claims[s.Partition]; ok && s.Last >= c.state.End {
				all[i].slices = append(all[i].slices, n)
			}
		}
		if len(all[i].slices) == 0 {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			all[i].entries, errs[i] = o.Indexes(ctx, p.reader, all[i].slices)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// take takes what one object of the WAL adds.
func (p *plan) take(o *wal.Object, have picked) {
	if o.Directory == nil {
		for _, c := range p.claims {
			if c.doubt == 0 {
				c.doubt = o.Number
			}
		}
		return
	}
	for i := range o.Directory.Slices {
		s := &o.Directory.Slices[i]
		if c, ok := p.claims[s.Partition]; ok && s.Last < c.state.End && !c.stopped {
			c.doubt = 0 // what a damaged object before this one has of it is flushed, too
		}
	}
	for i, n := range have.slices {
		s := &o.Directory.Slices[n]
		p.claims[s.Partition].slice(p.inc, o.Number, s, have.entries[i])
	}
	for _, t := range o.Directory.Trims {
		if c, ok := p.claims[t.Partition]; ok && (t.Epoch == c.state.Epoch || !checkEpoch) {
			c.logStart = max(c.logStart, t.Offset)
		}
	}
}

// slice takes from a slice the batches that continue the claim's end.
func (c *claim) slice(inc karst.Incarnation, n karst.Number, s *segment.Slice, entries []segment.Entry) {
	if c.stopped {
		return
	}
	if entries == nil {
		c.stop(n)
		return
	}
	entries = slices.DeleteFunc(slices.Clone(entries), func(e segment.Entry) bool {
		return e.Info.Last() < c.end || checkEpoch && e.Info.Epoch != c.state.Epoch
	})
	next := c.end
	for i, e := range entries {
		if e.Info.Base != next || i > 0 && e.Pos != dataEnd(entries[i-1]) {
			entries = entries[:i]
			c.stop(n)
			break
		}
		next = e.Info.Next()
	}
	if len(entries) == 0 {
		return
	}
	if !c.stopped {
		c.doubt = 0
	}
	c.end = next
	c.sources = append(c.sources, source(inc, n, s, entries))
}

// stop ends the claim at a gap or at damage in object n.
func (c *claim) stop(n karst.Number) {
	c.stopped = true
	if c.doubt == 0 {
		c.doubt = n
	}
}

func dataEnd(e segment.Entry) int64 { return e.Pos + int64(e.Info.Size) }

// source is the manifest entry for entries of a slice that follow each other.
func source(inc karst.Incarnation, n karst.Number, s *segment.Slice, entries []segment.Entry) metadata.Source {
	first, last := entries[0], entries[len(entries)-1]
	src := metadata.Source{
		Object: metadata.ObjectID{Kind: metadata.WALObject, Writer: inc, Number: n},
		Base:   first.Info.Base, Last: last.Info.Last(),
		Data:  karst.Span{Pos: first.Pos, Len: dataEnd(last) - first.Pos},
		Index: s.Index, IndexCheck: s.IndexCheck,
		MaxTimestamp: s.MaxTimestamp, MaxTimestampOffset: s.MaxTimestampOffset,
	}
	if len(entries) == int(s.Batches) {
		return src
	}
	newest := slices.MaxFunc(entries, func(a, b segment.Entry) int {
		return cmp.Compare(a.Info.MaxTimestamp, b.Info.MaxTimestamp)
	})
	src.MaxTimestamp, src.MaxTimestampOffset = newest.Info.MaxTimestamp, -1
	if newest.Info.MaxDelta >= 0 {
		src.MaxTimestampOffset = newest.Info.Base + karst.Offset(newest.Info.MaxDelta)
	}
	return src
}

// request makes the commit of the claims.
func (p *plan) request(img *metadata.Image, place Place) metadata.CommitRequest {
	r := metadata.CommitRequest{Incarnation: p.inc, Adopt: true, WALEnd: p.wal.End}
	for s := range img.PartitionsLedBy(p.inc) {
		c := p.claims[s.ID]
		rg := metadata.Range{
			Partition: s.ID, Epoch: s.Epoch, Start: s.End, End: c.end,
			Sources: c.sources, LogStart: min(c.logStart, c.end),
		}
		if c.doubt != 0 {
			r.Stopped = append(r.Stopped, s.ID)
			p.hold(c)
		} else {
			rg.NewLeader = place(img, s)
		}
		if rg.NewLeader != 0 || rg.End > rg.Start || rg.LogStart > s.LogStart {
			r.Ranges = append(r.Ranges, rg)
		}
	}
	for _, o := range p.wal.Objects {
		if p.held[o.Number] {
			r.Held = append(r.Held, metadata.ObjectID{Kind: metadata.WALObject, Writer: p.inc, Number: o.Number})
		}
	}
	return r
}

// hold holds every object that a stopped partition may need: what cannot be
// read, and what has the partition, from the doubt on.
func (p *plan) hold(c *claim) {
	for i := range p.wal.Objects {
		o := &p.wal.Objects[i]
		if o.Number < c.doubt {
			continue
		}
		if o.Directory == nil || o.Number == c.doubt || slices.ContainsFunc(o.Directory.Slices, func(s segment.Slice) bool {
			return s.Partition == c.state.ID && s.Last >= c.end
		}) {
			p.held[o.Number] = true
		}
	}
}
