package metadata

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store/object"
)

// Entry is one step of the metadata log, as a controller hands it to the other
// brokers: a claim, which begins a term, or a commit. What an Entry says is in
// the bucket: entries spare others the reading.
type Entry struct {
	Term   karst.Term
	Number karst.Number // of the commit; 0 for a claim
	Claim  *Claim       // or
	Commit []byte       // the payload of the object
}

func (e *Entry) position() Position { return Position{Term: e.Term, Number: e.Number} }

// Bounds of what a replica keeps for others that are behind.
const (
	feedMax      = 4096
	feedBytesMax = 8 << 20
)

// feed is the newest entries, in order.
type feed struct {
	entries []Entry
	bytes   int
}

func (f *feed) add(e Entry) {
	f.entries = append(f.entries, e)
	f.bytes += len(e.Commit)
	drop := 0
	for len(f.entries)-drop > feedMax || f.bytes > feedBytesMax && drop < len(f.entries)-1 {
		f.bytes -= len(f.entries[drop].Commit)
		drop++
	}
	if drop > 0 {
		clear(f.entries[:drop])
		f.entries = f.entries[drop:]
	}
}

// Since is what came after a position that a replica of the cluster is at, up to
// most bytes or a single entry. false: the bucket has to be read, since the
// replica does not remember so much.
func (r *Replica) Since(at Position, most int) ([]Entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.feed.entries
	n, found := slices.BinarySearchFunc(all, at, func(e Entry, p Position) int { return e.position().Compare(p) })
	if at.Compare(r.img.position) >= 0 && !found {
		return nil, true // nothing, or it is ahead of us
	}
	if !found {
		return nil, false
	}
	size, end := 0, n+1
	for end < len(all) && (end == n+1 || size+len(all[end].Commit) <= most) {
		size += len(all[end].Commit)
		end++
	}
	return slices.Clone(all[n+1 : end]), true
}

// Entered is the position that Since continues at: that of the last commit, or of
// the term that was entered since.
func (r *Replica) Entered() Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held.Term > r.img.position.Term {
		return Position{Term: r.held.Term}
	}
	return r.img.position
}

// errGap: entries do not continue the replica.
var errGap = errors.New("metadata: what was handed over does not continue the image")

// Push applies entries that a controller handed over, as far as they are news. If
// they do not continue the image, it reads the bucket.
func (r *Replica) Push(ctx context.Context, entries []Entry) error {
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.release()
	for n := range entries {
		err := r.push(&entries[n])
		if errors.Is(err, errGap) {
			return r.catchUp(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Replica) push(e *Entry) error {
	r.atTail = false
	if e.Claim != nil {
		switch {
		case e.Term <= r.next.Term:
			return nil
		case e.Term != r.next.Term+1 || !r.enterBy(*e.Claim):
			return errGap
		}
		return nil
	}
	switch at := e.position(); {
	case at.Compare(r.next) < 0:
		return nil
	case at != r.next:
		return errGap
	}
	return r.apply(fmt.Sprintf("commit %s from the controller", r.next), object.Header{Version: commitVersion}, e.Commit)
}

// Held says who claimed a term.
type Held struct {
	Term karst.Term // 0: nobody ever claimed one
	Claim
	unread bool
}

// Holder is who claimed the term that the replica is in.
func (r *Replica) Holder(ctx context.Context) (Held, error) {
	r.mu.Lock()
	h := r.held
	r.mu.Unlock()
	if !h.unread {
		return h, nil
	}
	c, err := readClaim(ctx, r.store, r.cluster, h.Term)
	if err != nil {
		return Held{}, fmt.Errorf("metadata log: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held.Term == h.Term {
		r.held = Held{Term: h.Term, Claim: c}
	}
	return r.held, nil
}
