package wal

import (
	"context"
	"fmt"
	"time"

	"github.com/karst-io/karst"
)

// proof is what calls of Prove wait for that came before it was begun.
//
// It is given by the first of two: (a) create is confirmed, with all below it:
// a number first attempted after the calls; or (b) head was found absent, and all
// below it are confirmed: a number that was never attempted until the answer was
// there. Had the log been sealed before the calls, its tombstone would be at one
// of these numbers, or below them, for ever: tombstones are never deleted.
//
// An attempted number proves nothing by its absence. It may have been there, been
// sealed behind, adopted and collected since. Nor does the lowest unconfirmed
// number, nor a create whose lower numbers are open.
type proof struct {
	done chan struct{}
	err  error // set before done is closed

	create karst.Number // 0: none was attempted since
	head   karst.Number // 0: not asked for
	absent bool         // head was
}

func (p *proof) finish(err error) {
	p.err = err
	close(p.done)
}

// head is the answer to a HEAD.
type head struct {
	number karst.Number
	exists bool
	err    error
}

// Prove returns nil when it is proven that the log was not sealed at some moment
// after the call: what this incarnation knew then was current. It costs nothing
// where segments are written anyway, and one HEAD for all who wait where none
// are: they have the spacing of uploads, from those and from each other. Its error is ctx's, or of code NotLeader:
// the incarnation is over.
func (w *WAL) Prove(ctx context.Context) error {
	w.mu.Lock()
	if w.over {
		w.mu.Unlock()
		return w.refused.err
	}
	if !proveLive {
		w.mu.Unlock()
		return nil
	}
	p := w.proof
	first := p == nil
	if first {
		p = &proof{done: make(chan struct{})}
		w.proof = p
	}
	w.mu.Unlock()
	if first {
		w.poke()
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin closes the open proof, if any, to later calls.
func (r *runner) begin() *proof {
	r.mu.Lock()
	p := r.proof
	r.proof = nil
	r.mu.Unlock()
	if p != nil {
		r.proofs = append(r.proofs, p)
	}
	return p
}

// attempts notes that number n is about to be attempted for the first time.
func (r *runner) attempts(n karst.Number) {
	r.begin()
	for _, p := range r.proofs {
		if p.create == 0 {
			p.create = n
		}
	}
}

// askDue asks for the next number if somebody waits for a proof and no create
// is about to bring it. Otherwise it says whether, and how long, to wait until
// it may be asked.
func (r *runner) askDue() (wait time.Duration, waiting bool) {
	if r.coming || r.asking {
		return 0, false
	}
	r.mu.Lock()
	open := r.proof != nil
	r.mu.Unlock()
	if !open {
		return 0, false
	}
	now, last := time.Now(), r.asked
	if last.Before(r.pace.lastStart) {
		last = r.pace.lastStart // the next segment may bring it for nothing
	}
	if d := last.Add(r.config.MinInterval).Sub(now); !last.IsZero() && d > 0 {
		return d, true
	}
	p := r.begin()
	p.head = r.Started() + 1
	r.asking, r.asked = true, now
	go func() { // waited for through heads
		h := head{number: p.head}
		h.exists, h.err = r.log.Exists(r.upload, h.number)
		r.heads <- h // never blocks: one is under way
	}()
	return 0, false
}

// answered takes the answer to a HEAD.
func (r *runner) answered(h head) error {
	r.asking = false
	switch {
	case h.err != nil:
		return fmt.Errorf("%w: number %d: %w", ErrOver, h.number, h.err)
	case r.Started() >= h.number:
		return nil // attempted meanwhile: it may be ours, and its create will tell
	case h.exists:
		return fmt.Errorf("%w: number %d is taken, and was never attempted", ErrOver, h.number)
	}
	for _, p := range r.proofs {
		p.absent = p.absent || p.head == h.number
	}
	r.prove()
	return nil
}

// prove answers the calls whose proof is there.
func (r *runner) prove() {
	confirmed := r.Confirmed()
	open := r.proofs[:0]
	for _, p := range r.proofs {
		created := p.create > 0 && p.create <= confirmed
		absent := p.absent && p.head-1 <= confirmed
		if created || absent {
			p.finish(nil)
		} else {
			open = append(open, p)
		}
	}
	clear(r.proofs[len(open):])
	r.proofs = open
}

// disprove ends every call that still waits; later ones are refused.
func (r *runner) disprove() {
	r.begin()
	for _, p := range r.proofs {
		p.finish(r.refused.err)
	}
	r.proofs = nil
}
