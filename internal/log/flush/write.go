package flush

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
)

// chunkBytes is the unit in which a shared segment is built. After each the
// processor is yielded: on few cores a copy of tens of MiB would otherwise keep a
// record's way (reader, WAL, watchers, writer) waiting at every step, for a time
// slice of 10 ms each.
const chunkBytes = 1 << 20

// Backoff of what is retried for ever.
const (
	backoffFirst = 100 * time.Millisecond
	backoffMax   = 10 * time.Second
)

// shared is one segment to be written.
type shared struct {
	id      metadata.ObjectID
	batches []segment.Batch
	states  []segment.State
	bytes   int64
	parts   map[karst.TopicPartition]*part

	directory *segment.Directory // once built
}

// pack spreads what is to be rewritten, and the checkpoints, over segments in
// partition order.
func (f *Flusher) pack(parts []*part) []*shared {
	var all []*shared
	current := func(p *part, size int64) *shared {
		n := len(all)
		if n == 0 || size > 0 && all[n-1].bytes > 0 && all[n-1].bytes+size > f.c.SegmentBytes {
			id := metadata.ObjectID{Kind: metadata.SegObject, Writer: f.d.Incarnation, Number: f.counters.next()}
			all = append(all, &shared{id: id, parts: map[karst.TopicPartition]*part{}})
		}
		s := all[len(all)-1]
		s.parts[p.tp] = p
		s.bytes += size
		return s
	}
	for _, p := range parts {
		for _, x := range p.run {
			for i := x.from; i < x.to; i++ {
				info := x.slice.Entries[i].Info
				s := current(p, int64(info.Size))
				s.batches = append(s.batches, segment.Batch{Partition: p.tp, Info: info, Bytes: x.slice.Bytes[i]})
			}
		}
		if len(p.state) > 0 {
			s := current(p, 0)
			s.states = append(s.states, segment.State{Partition: p.tp, Bytes: p.state})
			s.bytes += int64(len(p.state))
		}
	}
	return all
}

// write uploads the shared segments, several at once, each for as long as it
// takes. Its error is the context's, or a programming error of Build.
func (f *Flusher) write(ctx context.Context, all []*shared) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	slots := make(chan struct{}, f.c.Uploads)
	for _, s := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f.writeOne(ctx, s); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, s := range all { // in order: a partition may be in two
		s.fill(s.directory)
	}
	return nil
}

func (f *Flusher) writeOne(ctx context.Context, s *shared) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	hold := &chunks{}
	hold.refs.Store(1)
	defer hold.Release()
	h := object.Header{
		Kind: object.Segment, Cluster: f.d.Cluster, Nonce: object.NewNonce(),
		Writer: uint64(f.d.Incarnation), Number: uint64(s.id.Number),
	}
	built, err := segment.Build(h, s.batches, nil, s.states, chunkBytes, func(n int) []byte {
		runtime.Gosched()
		c := f.d.Chunks.Get(n)
		hold.all = append(hold.all, c)
		return c.Bytes()
	})
	if err != nil {
		return fmt.Errorf("flush: build %s: %w", s.id.Name(), err)
	}
	s.directory, s.batches, s.states = &built.Directory, nil, nil
	built.Body.Hold = hold
	for attempt := 0; ; attempt++ {
		if err := f.d.Data.Put(ctx, s.id.Name(), built.Body); err == nil {
			break
		} else if ctx.Err() == nil {
			f.d.Log.Warn("flush: upload failed, trying again", "object", s.id.Name(), "err", err)
			f.tally(func(st *Stats) { st.UploadRetries++ })
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
	f.tally(func(st *Stats) { st.Objects++; st.BytesWritten += built.Size })
	return nil
}

// pause waits after attempt (from 0). Its error is the context's.
func pause(ctx context.Context, attempt int) error {
	t := time.NewTimer(min(backoffMax, backoffFirst<<min(attempt, 10)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fill tells the parts where their bytes and checkpoints are.
func (s *shared) fill(d *segment.Directory) {
	for i := range d.Slices {
		p := s.parts[d.Slices[i].Partition]
		p.written = append(p.written, source(s.id, &d.Slices[i]))
	}
	for _, at := range d.States {
		p := s.parts[at.Partition]
		p.stateRef = &metadata.StateRef{Object: s.id, At: at.At, Check: at.Check, Full: p.isFull, Next: p.end}
	}
}

// chunks is the hold on the memory of one segment.
type chunks struct {
	refs atomic.Int64
	all  []*chunk.Chunk
}

var _ store.Holder = (*chunks)(nil)

func (c *chunks) Retain() { c.refs.Add(1) }

func (c *chunks) Release() {
	switch n := c.refs.Add(-1); {
	case n == 0:
		for _, x := range c.all {
			x.Release()
		}
	case n < 0:
		panic("BUG: flush: segment memory released too often")
	}
}
