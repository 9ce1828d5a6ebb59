package metadata

import (
	"context"
	"errors"
	"fmt"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
	"github.com/karst-io/karst/internal/store/objlog"
)

// ErrLost says that another broker holds the term: it claimed it first, or
// ended ours.
var ErrLost = errors.New("another broker holds the metadata term")

// Term is the right to write one term of the metadata log. Its methods are for
// one goroutine. It holds the replica's turn until Release: nobody else moves
// the replica meanwhile.
type Term struct {
	replica *Replica
	log     *objlog.Log
	claim   Claim
	over    bool
}

// TakeOver seals the newest term and claims the next. It is the caller's if the
// error is nil; ErrLost if another one was faster.
//
// The term before is sealed at its first free number; every commit below that
// is applied before the claim, which states where the term ended, is created.
//
// who says who claims; its End and Check are filled in.
func (r *Replica) TakeOver(ctx context.Context, who Claim) (*Term, error) {
	return r.takeOver(ctx, who, func(karst.Term) bool { return true })
}

// TakeOverFrom is TakeOver if the newest term is the one that is named; ErrLost if
// it is not, and nothing was sealed.
func (r *Replica) TakeOverFrom(ctx context.Context, who Claim, newest karst.Term) (*Term, error) {
	return r.takeOver(ctx, who, func(k karst.Term) bool { return k == newest })
}

func (r *Replica) takeOver(ctx context.Context, who Claim, of func(karst.Term) bool) (*Term, error) {
	if err := r.take(ctx); err != nil {
		return nil, err
	}
	t := &Term{replica: r, claim: who}
	err := t.tail(ctx)
	if k := r.next.Term; err == nil && !of(k) {
		err = fmt.Errorf("%w: term %d was claimed meanwhile", ErrLost, k)
	}
	if err == nil {
		err = t.next(ctx)
	}
	if err != nil {
		r.release()
		return nil, err
	}
	return t, nil
}

// Next goes from the newest term, the caller's own or another's, to a new one
// that is the caller's. After an error the Term is over.
func (t *Term) Next(ctx context.Context) error {
	if err := t.tail(ctx); err != nil {
		return err
	}
	return t.next(ctx)
}

// tail reads the log to its tail.
func (t *Term) tail(ctx context.Context) error {
	t.over = true
	r := t.replica
	// Straight after Load the tail need not be looked for again. Should it have
	// moved meanwhile, sealing walks on; should the term have been claimed away,
	// our claim is refused, and the next attempt begins with a look.
	if r.atTail {
		return nil
	}
	if r.next.Term == 0 {
		if err := r.load(ctx); err != nil {
			return err
		}
	}
	return r.catchUp(ctx)
}

// next seals the term at whose tail the replica is, and claims the next.
func (t *Term) next(ctx context.Context) error {
	r := t.replica
	r.atTail = false
	if err := r.seal(ctx); err != nil {
		return err
	}
	c := t.claim
	c.End, c.Check = r.next.Number, r.Image().check
	k := r.next.Term + 1
	ours, err := CreateClaim(ctx, r.store, r.cluster, k, c)
	switch {
	case err != nil:
		return fmt.Errorf("claim term %d: %w", k, err)
	case !ours:
		return fmt.Errorf("%w: term %d was claimed first", ErrLost, k)
	}
	r.enterTerm(k, c)
	t.log, t.over = TermLog(r.store, r.cluster, k), false
	return nil
}

// seal ends the term the replica is in and reads it to its end: afterwards
// r.next is the number of its tombstone.
func (r *Replica) seal(ctx context.Context) error {
	if r.next.Term == 0 || !sealFirst {
		return nil // nothing before the first term
	}
	k := r.next.Term
	end, _, err := TermLog(r.store, r.cluster, k).Seal(ctx, r.next.Number, uint64(k+1), nil)
	if errors.Is(err, store.ErrNotFound) {
		// Collected while we were sealing: the term had been claimed away.
		return fmt.Errorf("%w: term %d is gone", ErrLost, k)
	}
	if err != nil {
		return fmt.Errorf("seal term %d: %w", k, err)
	}
	for r.next.Number < end {
		s, err := r.step(ctx)
		switch {
		case err != nil:
			return err
		case s != stepOn || r.next.Term != k:
			return fmt.Errorf("%w: term %d moved on", ErrLost, k)
		}
	}
	return nil
}

// Number is the number of the term.
func (t *Term) Number() karst.Term { return karst.Term(t.log.Writer) }

// Commits is the number of commits in the term so far.
func (t *Term) Commits() int { return int(t.replica.next.Number) - 1 }

// Behind is how far the newest snapshot is behind.
func (t *Term) Behind() Behind { return t.replica.behind }

// Snapshotted notes that a snapshot is there with all but b of the commits.
func (t *Term) Snapshotted(b Behind) { t.replica.behind = b }

// Commit writes a batch that was tried on the replica's image as the next
// commit, and advances the replica once it is known to be there (I11). ErrLost:
// another holds the term, and unless the error also is objlog.ErrUnknown, the
// commit is not there and never will be. objlog.ErrUnknown alone: ctx ended first.
// After any error the term is over.
func (t *Term) Commit(ctx context.Context, b *Batch) error {
	r := t.replica
	if t.over {
		panic("BUG: I11: commit in a term that is over")
	}
	if b.img.position != r.Image().position {
		panic("BUG: I11: batch was not tried on the newest image")
	}
	c := &Commit{Position: r.next, Predecessor: r.Image().check, Nonce: object.NewNonce(), Records: b.Records}
	payload, check := EncodeCommit(c)
	h, body := objlog.Frame(t.log.Header(object.Commit, commitVersion, c.Position.Number), payload)
	if err := t.log.Create(ctx, c.Position.Number, h, body); err != nil {
		t.over = true
		if errors.Is(err, objlog.ErrOver) {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
		return fmt.Errorf("commit %s: %w", c.Position, err)
	}
	img, d := b.Finish(c.Position, check)
	r.advance(img, d, payload)
	return nil
}

// Release lets others move the replica. The Term is of no use afterwards.
func (t *Term) Release() {
	t.over = true
	t.replica.release()
}
