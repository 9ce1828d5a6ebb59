package partition

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/blockcache"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// Segments reads what lies in the store.
type Segments interface {
	Read(ctx context.Context, name string, span, within karst.Span) (blockcache.View, error)
	Index(ctx context.Context, name string, at karst.Span, check uint32) ([]segment.Entry, error)
}

// Load makes the producers known, once: from the newest checkpoints and from
// the indexes of the segments after them. expire is how long a producer is
// remembered after its last append.
func (p *Partition) Load(ctx context.Context, s Segments, now time.Time, expire time.Duration) error {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return p.notLeader()
		}
		if p.loaded {
			p.mu.Unlock()
			return nil
		}
		if under := p.loading; under != nil {
			p.mu.Unlock()
			select {
			case <-under:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		ended := make(chan struct{})
		p.loading = ended
		state := p.state
		p.mu.Unlock()

		t, err := rebuild(ctx, s, state, now)

		p.mu.Lock()
		p.loading = nil
		if err == nil {
			t.expire(karst.Timestamp(now.UnixMilli()), expire)
			p.producers, p.flushed, p.loaded = t, t.clone(), true
		}
		p.mu.Unlock()
		close(ended)
		if err == nil {
			return nil
		}
		return readFailed(err)
	}
}

// readsAtOnce bounds what one load reads in parallel: a failover leaves a source
// for each WAL object, hundreds of them, and a producer waits.
const readsAtOnce = 512

// rebuild is the producer state at the committed end. Checkpoints and indexes are
// read at the same time, and applied in their order.
func rebuild(ctx context.Context, s Segments, state *metadata.PartitionState, now time.Time) (producers, error) {
	ctx = store.WithCaller(ctx, store.CallerTail)
	var next karst.Offset
	if n := len(state.States); n > 0 {
		next = state.States[n-1].Next
	}
	from := sort.Search(len(state.Sources), func(n int) bool { return state.Sources[n].Last >= next })
	above := state.Sources[from:]

	checkpoints := make([]producers, len(state.States))
	indexes := make([][]segment.Entry, len(above))
	err := inParallel(len(checkpoints)+len(above), func(n int) (err error) {
		if n < len(checkpoints) {
			checkpoints[n], err = readCheckpoint(ctx, s, &state.States[n])
			return err
		}
		n -= len(checkpoints)
		indexes[n], err = s.Index(ctx, above[n].Object.Name(), above[n].Index, above[n].IndexCheck)
		return err
	})
	var t producers
	if err != nil {
		return t, err
	}
	for n := range checkpoints {
		t.fold(checkpoints[n], state.States[n].Full)
	}
	for n, src := range above {
		for _, e := range within(indexes[n], src.Base, src.Last) {
			if e.Info.Base >= next {
				t.apply(e.Info, timestampOf(e.Info), nil, karst.Timestamp(now.UnixMilli()))
			}
		}
	}
	for _, q := range t.byID {
		q.dirty = true // indexes and deltas are folded into the next checkpoint
	}
	return t, nil
}

// readCheckpoint reads one checkpoint as if there were no other.
func readCheckpoint(ctx context.Context, s Segments, ref *metadata.StateRef) (t producers, err error) {
	name := ref.Object.Name()
	v, err := readChecked(ctx, s, name, ref.At, ref.At, func(v blockcache.View) error {
		next, err := t.decode(name, contiguous(v.Parts))
		if err == nil && next != ref.Next {
			err = &karst.CorruptError{Object: name, Offset: ref.At.Pos, Reason: fmt.Sprintf("checkpoint covers up to %d, not %d", next, ref.Next)}
		}
		return err
	})
	if err == nil {
		v.Hold.Release()
	}
	return t, err
}

// inParallel calls read for each number below count, and returns the first error
// in their order.
func inParallel(count int, read func(n int) error) error {
	errs := make([]error, count)
	slots := make(chan struct{}, readsAtOnce)
	var wg sync.WaitGroup
	for n := range count {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[n] = read(n)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Expire forgets producers that have not appended for keep; otherwise each one
// that ever wrote would stay in memory, and in checkpoints, as long as this
// leadership lasts.
func (p *Partition) Expire(now time.Time, keep time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.producers.expire(karst.Timestamp(now.UnixMilli()), keep)
	p.flushed.expire(karst.Timestamp(now.UnixMilli()), keep)
}

// smallBytes is the size below which a checkpoint is always full.
const smallBytes = 64 << 10

// Checkpoint encodes the producer state as it was just before next, which must
// be a batch boundary and never goes back. It returns nil if the producers were
// never loaded or, for a delta, if nothing changed.
func (p *Partition) Checkpoint(next karst.Offset, full bool) (state []byte, isFull bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.loaded {
		return nil, false
	}
	k := 0
	for k < len(p.unflushed) && p.unflushed[k].Base < next {
		i := p.unflushed[k]
		seen := karst.Timestamp(0)
		if q := p.producers.byID[i.Producer]; q != nil {
			seen = q.seen
		}
		p.flushed.apply(i, timestampOf(i), nil, seen)
		k++
	}
	p.unflushed = append(p.unflushed[:0], p.unflushed[k:]...)
	changed := false
	for _, q := range p.flushed.byID {
		changed = changed || q.dirty
	}
	if !full && !changed {
		return nil, false
	}
	full = full || len(p.flushed.byID)*(producerHead+windowBatches*producerBatch) <= smallBytes
	b := p.flushed.encode(next, full)
	for _, q := range p.flushed.byID {
		q.dirty = false
	}
	return b, full
}

// readFailed turns a failure to read the store into what a client is told.
func readFailed(err error) error {
	var known *karst.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return karst.StorageError.Errorf("%v", err)
}

// contiguous is the concatenation of parts, copied only if there are several.
func contiguous(parts [][]byte) []byte {
	if len(parts) == 1 {
		return parts[0]
	}
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
