package metadata

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
	"github.com/karst-io/karst/internal/store/objlog"
)

// Listener is told of every commit, in order, right after the image advanced
// and before anybody who waits for the commit goes on. It must not block.
type Listener func(img *Image, d *Delta)

// Replica follows the metadata log and holds the newest image. Load, CatchUp,
// Follow and a controller's writing take turns; everything else may be called
// at any time.
type Replica struct {
	store   objlog.Store
	cluster karst.ClusterID
	turn    chan struct{} // holds one token: whoever has it moves the replica
	next    Position      // the commit to read next; with the token
	behind  Behind        // with the token
	atTail  bool          // nothing was done since catchUp saw the tail; with the token

	mu        sync.Mutex
	img       *Image
	held      Held          // who claimed the term the replica is in
	feed      feed          // what came last, for other replicas
	told      Position      // listeners were told up to here
	changed   chan struct{} // closed when told moves
	listeners []Listener
}

// NewReplica makes a replica of a cluster's metadata. Load it first.
func NewReplica(st objlog.Store, cluster karst.ClusterID) *Replica {
	r := &Replica{
		store: st, cluster: cluster, turn: make(chan struct{}, 1),
		next: Position{Number: 1}, img: NewImage(cluster), changed: make(chan struct{}),
	}
	r.turn <- struct{}{}
	return r
}

// Image is the newest image. Never nil.
func (r *Replica) Image() *Image {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.img
}

// Listen registers a listener for the commits after the current image, and
// returns that image. Call before anything is written.
func (r *Replica) Listen(l Listener) *Image {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listeners = append(r.listeners, l)
	return r.img
}

// Changed is closed when the image that listeners were told of changes next.
func (r *Replica) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Wait returns once done is true of an image whose listeners have been told, or
// with the context's error.
func (r *Replica) Wait(ctx context.Context, done func(*Image) bool) error {
	for {
		r.mu.Lock()
		img, changed := r.img, r.changed
		settled := r.told == img.position
		r.mu.Unlock()
		if settled && done(img) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// WaitFor returns once the replica is at or above a position.
func (r *Replica) WaitFor(ctx context.Context, at Position) error {
	return r.Wait(ctx, func(img *Image) bool { return img.position.Compare(at) >= 0 })
}

// Behind is how far the newest snapshot is behind the image, as far as the
// replica knows.
type Behind struct {
	Commits int
	Bytes   int64 // of the commits
}

// publish makes img the newest image, tells the listeners and then wakes those
// who wait. Only the holder of the turn calls it.
func (r *Replica) publish(img *Image, d *Delta) {
	r.mu.Lock()
	r.img = img
	listeners := r.listeners[:len(r.listeners):len(r.listeners)]
	r.mu.Unlock()
	for _, l := range listeners {
		l(img, d)
	}
	r.mu.Lock()
	r.told = img.position
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
}

// take takes the turn; release gives it back.
func (r *Replica) take(ctx context.Context) error {
	select {
	case <-r.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *Replica) release() { r.turn <- struct{}{} }

// CatchUp reads the log to its tail. A log that cannot be read on is an error
// that stays: the object is damaged, the chain is broken, or, with
// UnsupportedVersion, it is of a newer program.
func (r *Replica) CatchUp(ctx context.Context) error {
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.release()
	return r.catchUp(ctx)
}

// Follow catches up every interval until ctx ends. It is the fallback of a
// broker that hears nothing from the controller.
func (r *Replica) Follow(ctx context.Context, interval time.Duration) error {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := r.CatchUp(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

func (r *Replica) catchUp(ctx context.Context) error {
	for {
		s, err := r.step(ctx)
		switch {
		case err != nil:
			return err
		case s == stepTail:
			r.atTail = true
			return nil
		case s == stepLost:
			at := r.next
			if err := r.load(ctx); err != nil {
				return err
			}
			if r.next == at {
				return fmt.Errorf("metadata log: commit %s is gone, and no snapshot is above it", at)
			}
		}
	}
}

// stepped is what one step of following came to.
type stepped int

const (
	stepOn   stepped = iota + 1 // a commit was applied, or a term entered
	stepTail                    // nothing more, now
	stepLost                    // the log was collected: begin again from a snapshot
)

// step reads the next number: data is applied; a tombstone leads to the next
// term if its claim says that the last one ended here; absence is the tail only
// if the next claim is absent when asked afterwards.
func (r *Replica) step(ctx context.Context) (stepped, error) {
	if r.next.Term == 0 {
		return r.enter(ctx) // before the first term
	}
	log := TermLog(r.store, r.cluster, r.next.Term)
	for again := false; ; again = true {
		h, payload, err := log.Read(ctx, r.next.Number, CommitMax)
		switch {
		case err == nil && log.Owns(r.next.Number, h) && h.Kind == object.Commit:
			return stepOn, r.apply(log.Name(r.next.Number), h, payload)
		case err == nil:
			return r.enter(ctx)
		case !errors.Is(err, store.ErrNotFound):
			return 0, fmt.Errorf("metadata log: %w", err)
		case again:
			return stepLost, nil
		}
		// Absent. If the next claim is there the term has a tombstone, here or
		// above, and this number is something by now, or is collected.
		if _, err := readClaim(ctx, r.store, r.cluster, r.next.Term+1); errors.Is(err, store.ErrNotFound) {
			return stepTail, nil
		} else if err != nil {
			return 0, fmt.Errorf("metadata log: %w", err)
		}
	}
}

// enter goes to the next term if its claim continues the image.
func (r *Replica) enter(ctx context.Context) (stepped, error) {
	c, err := readClaim(ctx, r.store, r.cluster, r.next.Term+1)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return stepTail, nil
	case err != nil:
		return 0, fmt.Errorf("metadata log: %w", err)
	}
	if !r.enterBy(c) {
		return stepLost, nil
	}
	return stepOn, nil
}

// enterBy goes to the next term if its claim says that the term before ended
// where the replica is.
func (r *Replica) enterBy(c Claim) bool {
	if c.End != r.next.Number || c.Check != r.Image().check {
		return false
	}
	r.enterTerm(r.next.Term+1, c)
	return true
}

// enterTerm goes to the beginning of a term.
func (r *Replica) enterTerm(k karst.Term, c Claim) {
	r.next = Position{Term: k, Number: 1}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = Held{Term: k, Claim: c}
	r.feed.add(Entry{Term: k, Claim: &c})
}

// apply decodes and applies the commit at r.next.
func (r *Replica) apply(name string, h object.Header, payload []byte) error {
	if h.Version != commitVersion {
		return newer(fmt.Sprintf("metadata log: %s has version %d", name, h.Version))
	}
	c, check, err := DecodeCommit(name, payload)
	if err != nil {
		return err
	}
	if c.Position != r.next {
		return &karst.CorruptError{Object: name, Offset: object.HeaderSize, Reason: "it says it is commit " + c.Position.String()}
	}
	img, d, err := Apply(r.Image(), c, check)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := img.admits(LevelMax); err != nil {
		return err
	}
	r.advance(img, d, payload)
	return nil
}

// advance goes on to the image after the commit at r.next.
func (r *Replica) advance(img *Image, d *Delta, payload []byte) {
	r.mu.Lock()
	r.feed.add(Entry{Term: r.next.Term, Number: r.next.Number, Commit: payload})
	r.mu.Unlock()
	r.next.Number++
	r.behind.Commits++
	r.behind.Bytes += int64(len(payload))
	r.publish(img, d)
}
