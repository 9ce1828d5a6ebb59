package flush

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// Bounds of a commit.
const (
	// entriesMax is the most ranges and sources of one request (O26). What is
	// more goes into further requests, and the trim into the last.
	entriesMax = 8192
	// commitTimeout ends one attempt, offerAgain the wait for the replica.
	commitTimeout = 30 * time.Second
	offerAgain    = 5 * time.Second
	// checkpointWait bounds the wait for producers that must be read first, of all
	// partitions of a flush; checkpointsAtOnce those that are read in parallel.
	checkpointWait    = 10 * time.Second
	checkpointsAtOnce = 32
)

// errRefused: the request was refused as a whole, for this attempt.
var errRefused = errors.New("commit refused")

// flush flushes one batch, for as long as it takes.
func (f *Flusher) flush(ctx context.Context, b *batch) error {
	for attempt := 0; ; attempt++ {
		if f.over() {
			return ErrOver
		}
		parts, err := f.plan(f.d.Image(), b)
		if err != nil && f.over() {
			return ErrOver // the image moved on meanwhile
		}
		if err != nil {
			return err
		}
		err = f.attempt(ctx, b, parts)
		switch {
		case err == nil:
			f.tally(func(st *Stats) { st.Flushes++; st.Segments += int64(len(b.segments)) })
			return nil
		case !errors.Is(err, errRefused):
			return err
		}
		f.d.Log.Warn("flush: refused, planning it again", "err", err)
		f.tally(func(st *Stats) { st.Refused++ })
		if len(b.moves) > 0 { // perhaps because of them: data goes first
			b.moves, b.moveErr, b.settle = nil, err, true
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// attempt writes and commits one plan.
func (f *Flusher) attempt(ctx context.Context, b *batch, parts []*part) error {
	f.askCheckpoints(ctx, parts)
	parts = slices.DeleteFunc(parts, func(p *part) bool { return p.idle() && p.state == nil })
	all := f.pack(parts)
	if err := f.write(ctx, all); err != nil {
		return err
	}
	var trim karst.Number
	if n := len(b.segments); n > 0 {
		trim = b.segments[n-1].Number
	}
	for settle := b.settle; settle || len(parts) > 0 || trim > 0; settle = false {
		n, ranges := take(parts)
		r := metadata.CommitRequest{Incarnation: f.d.Incarnation, Ranges: ranges}
		if n == len(parts) {
			r.WALTrim = trim
		}
		// Every request below this one is done, or refused and excluded by this
		// one. A counter that this one names is settled by it, too: it is either
		// referenced from then on or never.
		f.request++
		r.Request = f.request
		r.Settled = metadata.Settled{Request: f.request - 1, Counter: f.counters.settled(parts[n:])}
		if err := f.offer(ctx, r); err != nil {
			return err
		}
		f.applied(parts[:n], r)
		if n == len(parts) {
			return nil
		}
		parts = parts[n:]
	}
	return nil
}

// askCheckpoints asks for the checkpoints of parts. Where producers cannot be read
// now, the part goes without: neither its own data and trims, which are
// acknowledged, nor those of others wait for it for long (O11). What the state is
// rebuilt from stays referenced below the log start until a later flush brings one.
func (f *Flusher) askCheckpoints(ctx context.Context, parts []*part) {
	ctx, cancel := context.WithTimeout(ctx, checkpointWait)
	defer cancel()
	slots := make(chan struct{}, checkpointsAtOnce)
	var wg sync.WaitGroup
	for _, p := range parts {
		if !p.checkpoint {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			p.state, p.isFull = f.d.Partitions.Checkpoint(ctx, p.tp, p.end, p.full)
		})
	}
	wg.Wait()
	unread := 0
	for _, p := range parts {
		switch {
		case p.state != nil:
			f.lost[p.tp] = true // until the image shows it
		case p.checkpoint && p.full:
			f.SetLogStart(p.tp, p.logStart) // so that it is asked for again
			if unread++; unread == 1 {
				f.d.Log.Warn("flush: the producers of a partition cannot be read now, so there is no checkpoint", "partition", p.tp)
			}
		}
	}
	if unread > 1 {
		f.d.Log.Warn("flush: nor can those of others", "partitions", unread-1)
	}
}

// take is how many parts go into the next request, at least one, and their ranges.
func take(parts []*part) (n int, ranges []metadata.Range) {
	entries := 0
	for ; n < len(parts); n++ {
		r := parts[n].rangeOf()
		if entries += 1 + len(r.Sources); n > 0 && entries > entriesMax {
			break
		}
		ranges = append(ranges, r)
	}
	return n, ranges
}

// offer offers a request until the own image shows it (I9), or it is refused.
func (f *Flusher) offer(ctx context.Context, r metadata.CommitRequest) error {
	shown := func() bool { return f.d.Image().Applied(r.Incarnation, r.Request) }
	for attempt := 0; ; attempt++ {
		try, cancel := context.WithTimeout(ctx, commitTimeout)
		err := f.d.Committer.Commit(try, r)
		cancel()
		switch {
		case shown():
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case f.over() || errors.Is(err, karst.NotLeader.Err()):
			return ErrOver
		case err == nil || errors.Is(err, metadata.ErrDuplicate): // the replica is behind
			if err := f.await(ctx, shown); err != nil || shown() {
				return err
			}
		case errors.Is(err, karst.InvalidRequest.Err()):
			return fmt.Errorf("%w: %w", errRefused, err)
		default:
			f.d.Log.Warn("flush: commit of unknown outcome, offering it again", "request", r.Request, "err", err)
			f.tally(func(st *Stats) { st.CommitRetries++ })
			if err := pause(ctx, attempt); err != nil {
				return err
			}
			if shown() {
				return nil
			}
		}
	}
}

// await waits until the image shows what shown asks for, or offerAgain is over.
func (f *Flusher) await(ctx context.Context, shown func() bool) error {
	t := time.NewTimer(offerAgain)
	defer t.Stop()
	for !shown() {
		select {
		case <-f.changed:
		case <-t.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// applied checks what a request that the image shows has done, before memory is
// given up for it.
func (f *Flusher) applied(parts []*part, r metadata.CommitRequest) {
	img := f.d.Image()
	if b, ok := img.Broker(r.Incarnation); ok && b.Trim < r.WALTrim {
		panic(fmt.Sprintf("BUG: I8: request %d is applied, the trim is %d and not %d", r.Request, b.Trim, r.WALTrim))
	}
	var adopted, rewritten int64
	for _, p := range parts {
		s, ok := img.Partition(p.tp)
		if checkApplied && ok && s.Leader == r.Incarnation && s.Epoch == p.epoch && s.End < p.end {
			panic(fmt.Sprintf("BUG: I8: request %d is applied, %v ends at %d and not %d", r.Request, p.tp, s.End, p.end))
		}
		if p.stateRef != nil {
			delete(f.lost, p.tp)
		}
		for _, src := range p.before {
			adopted += src.Data.Len
		}
		for _, src := range p.after {
			adopted += src.Data.Len
		}
		for _, x := range p.run {
			rewritten += x.bytes
		}
	}
	f.tally(func(st *Stats) { st.Commits++; st.BytesAdopted += adopted; st.BytesRewritten += rewritten })
}

// counters hands out the segment counters of the incarnation. They are used by
// one request at a time.
type counters struct{ last karst.Number }

func (c *counters) next() karst.Number {
	c.last++
	return c.last
}

// settled is the counter at or below which no later request names one, parts
// being what those are about.
func (c *counters) settled(parts []*part) karst.Number {
	low := c.last
	named := func(o metadata.ObjectID) {
		if o.Kind == metadata.SegObject {
			low = min(low, o.Number-1)
		}
	}
	for _, p := range parts {
		for _, s := range p.written {
			named(s.Object)
		}
		if p.stateRef != nil {
			named(p.stateRef.Object)
		}
	}
	return low
}
