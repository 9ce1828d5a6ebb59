package metadata

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
	"github.com/karst-io/karst/internal/store/objlog"
)

const (
	// readsAtOnce bounds the commits that Load reads in parallel.
	readsAtOnce = 32
	// loadsMax bounds how often Load begins again because the collector was
	// faster: each time a newer snapshot was written meanwhile.
	loadsMax = 16
	// listedMax and listedBytes bound what is read ahead of an image: snapshots
	// come more often.
	listedMax   = 1024
	listedBytes = 256 << 20
)

// Load reads the newest snapshot and follows the log to its tail. The store is
// asked in a handful of rounds, whatever the length of the log: LIST snapshots;
// GET the snapshot, beside LIST of the log and parallel GETs of its commits; two
// GETs to know the tail, and one more per change of terms.
func (r *Replica) Load(ctx context.Context) error {
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.release()
	if r.next.Term == 0 {
		if err := r.load(ctx); err != nil {
			return err
		}
	}
	return r.catchUp(ctx)
}

// load goes to the newest readable snapshot, if it is above the image, and
// applies the commits that LIST shows after it.
func (r *Replica) load(ctx context.Context) error {
	for range loadsMax {
		all, err := r.snapshots(ctx)
		if err != nil {
			return fmt.Errorf("list snapshots: %w", err)
		}
		again, err := r.loadFrom(ctx, all)
		if err != nil || !again {
			return err
		}
	}
	return errors.New("metadata log: the collector was faster than reading, again and again")
}

// listedSnapshot is a snapshot and its size, as LIST shows them.
type listedSnapshot struct {
	at   Position
	size int64
}

// snapshots lists the snapshots, newest first.
func (r *Replica) snapshots(ctx context.Context) ([]listedSnapshot, error) {
	var all []listedSnapshot
	for info, err := range r.store.List(ctx, snapshotPrefix, "") {
		if err != nil {
			return nil, err
		}
		if p, ok := parseSnapshotName(info.Name); ok {
			all = append(all, listedSnapshot{p, info.Size})
		}
	}
	slices.Reverse(all)
	return all, nil
}

func (r *Replica) loadFrom(ctx context.Context, snapshots []listedSnapshot) (again bool, err error) {
	var damage error
	for _, s := range snapshots {
		at := s.at
		if at.Compare(r.Image().position) <= 0 {
			break
		}
		reading := r.readAhead(ctx, at)
		img, err := r.readSnapshot(ctx, at, s.size)
		commits := <-reading
		var corrupt *karst.CorruptError
		switch {
		case errors.Is(err, store.ErrNotFound):
			return true, nil
		case errors.As(err, &corrupt):
			damage = errors.Join(damage, err)
			continue
		case err != nil:
			return false, err
		}
		r.next = Position{Term: at.Term, Number: at.Number + 1}
		r.behind = Behind{}
		holder, read := commits.claims[at.Term]
		r.mu.Lock()
		r.held, r.feed = Held{Term: at.Term, Claim: holder, unread: !read}, feed{}
		r.mu.Unlock()
		r.publish(img, &Delta{Position: at, Reset: true})
		return false, r.applyAhead(commits)
	}
	if damage != nil {
		return false, fmt.Errorf("no snapshot can be read: %w", damage)
	}
	if r.Image().position != (Position{}) {
		return false, errors.New("metadata log: commits are gone, but no newer snapshot is there")
	}
	return false, r.applyAhead(<-r.readAhead(ctx, Position{}))
}

// readSnapshot reads the snapshot at a position. size is that of LIST, 0 if not
// known.
func (r *Replica) readSnapshot(ctx context.Context, at Position, size int64) (*Image, error) {
	name := snapshotName(at)
	h, payload, err := objlog.ReadSized(ctx, r.store, name, snapshotMax, size)
	if err != nil {
		return nil, err
	}
	if h.Kind == object.Snapshot && h.Cluster == r.cluster && h.Version > snapshotVersion {
		return nil, newer(fmt.Sprintf("%s has version %d", name, h.Version))
	}
	if h.Kind != object.Snapshot || h.Version != snapshotVersion || h.Cluster != r.cluster {
		return nil, &karst.CorruptError{Object: name, Reason: "not a snapshot of this cluster in a version this Karst knows"}
	}
	img, err := DecodeSnapshot(name, r.cluster, payload)
	if err == nil && img.position != at {
		return nil, &karst.CorruptError{Object: name, Offset: object.HeaderSize, Reason: "it is of position " + img.position.String()}
	}
	return img, err
}

// Readable reads the snapshot at a position whole and decodes it: nil means that
// a broker could start from it.
func (r *Replica) Readable(ctx context.Context, at Position) error {
	_, err := r.readSnapshot(ctx, at, 0)
	return err
}

// snapshotHeader is the header of a snapshot of an image; its nonce is zero, so
// that whoever writes it writes the same bytes.
func snapshotHeader(img *Image) object.Header {
	return object.Header{
		Kind: object.Snapshot, Version: snapshotVersion, Cluster: img.cluster,
		Writer: uint64(img.position.Term), Number: uint64(img.position.Number),
	}
}

// WriteSnapshot writes the snapshot of an image.
func WriteSnapshot(ctx context.Context, st store.Writer, img *Image) (bytes int64, err error) {
	_, body := objlog.Frame(snapshotHeader(img), EncodeSnapshot(img))
	if err := st.Put(ctx, snapshotName(img.position), body); err != nil {
		return 0, fmt.Errorf("write snapshot %s: %w", img.position, err)
	}
	return body.Size(), nil
}

// ahead is what was read ahead of an image: commits in order, and the claims of
// the terms after the first.
type ahead struct {
	commits []readCommit
	claims  map[karst.Term]Claim
}

// readCommit is a commit that was read ahead.
type readCommit struct {
	at      Position
	header  object.Header
	payload []byte
	err     error
}

// readAhead lists the log after a position, all terms, and reads the first
// commits in parallel. It is a hint: what it misses, following finds.
func (r *Replica) readAhead(ctx context.Context, after Position) <-chan ahead {
	out := make(chan ahead, 1)
	go func() { out <- r.readListed(ctx, after) }()
	return out
}

func (r *Replica) readListed(ctx context.Context, after Position) ahead {
	from := ""
	if after.Term > 0 {
		from = TermLog(r.store, r.cluster, after.Term).Name(after.Number)
	}
	var all []readCommit
	var size int64
	for info, err := range r.store.List(ctx, logPrefix, from) {
		if size += info.Size; err != nil || len(all) == listedMax || size > listedBytes {
			break
		}
		if p, ok := parseCommitName(info.Name); ok {
			all = append(all, readCommit{at: p})
		}
	}
	return ahead{commits: all, claims: r.readAll(ctx, after.Term, all)}
}

// readAll reads commits, and the claims of their terms and of the one before.
func (r *Replica) readAll(ctx context.Context, above karst.Term, all []readCommit) map[karst.Term]Claim {
	var wg sync.WaitGroup
	var mu sync.Mutex
	claims := map[karst.Term]Claim{}
	claim := func(k karst.Term) {
		c, err := readClaim(ctx, r.store, r.cluster, k)
		if err == nil {
			mu.Lock()
			claims[k] = c
			mu.Unlock()
		}
	}
	if above > 0 { // of the term that the snapshot is in: who holds it
		first := above
		wg.Go(func() { claim(first) })
	}
	slots := make(chan struct{}, readsAtOnce)
	for n := range all {
		slots <- struct{}{}
		if k := all[n].at.Term; k > above {
			above = k
			wg.Go(func() { claim(k) })
		}
		wg.Go(func() {
			c := &all[n]
			c.header, c.payload, c.err = TermLog(r.store, r.cluster, c.at.Term).Read(ctx, c.at.Number, CommitMax)
			<-slots
		})
	}
	wg.Wait()
	return claims
}

// applyAhead applies what was read ahead, as far as it follows on.
func (r *Replica) applyAhead(a ahead) error {
	for n := range a.commits {
		c := &a.commits[n]
		for c.at.Term > r.next.Term {
			if claim, ok := a.claims[r.next.Term+1]; !ok || !r.enterBy(claim) {
				return nil // following finds out
			}
		}
		log := TermLog(r.store, r.cluster, c.at.Term)
		if c.err != nil || c.at != r.next {
			return nil
		}
		if !log.Owns(c.at.Number, c.header) || c.header.Kind != object.Commit {
			continue // a tombstone: the next in the list is of the next term
		}
		if err := r.apply(log.Name(c.at.Number), c.header, c.payload); err != nil {
			return err
		}
	}
	return nil
}
