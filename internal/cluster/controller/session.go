package controller

import (
	"context"
	"errors"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/objlog"
)

// session is one holding of terms, from take-over to loss. One goroutine, Run's,
// owns it; a snapshot is written beside it.
type session struct {
	*Controller
	term        *metadata.Term
	snapshots   chan snapshotDone
	snapshoting bool
	giveUp      context.CancelFunc // the running snapshot
	since       metadata.Behind    // when the running snapshot was started
}

// snapshotDone is the outcome of a snapshot.
type snapshotDone struct {
	at    metadata.Position
	bytes int64
	err   error
}

// loop commits what waits until ctx ends (nil) or the term is over.
func (s *session) loop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case d := <-s.snapshots:
			s.snapshotEnded(d)
		case <-s.wake:
			for batch := s.next(); len(batch) > 0; batch = s.next() {
				if err := s.commit(ctx, batch); err != nil {
					return err
				}
			}
		}
		s.maybeSnapshot(ctx)
		if s.term.Commits() >= s.cfg.TermCommits {
			if err := s.term.Next(ctx); err != nil {
				return err
			}
			s.cfg.Log.Info("holding metadata term", "term", s.term.Number())
		}
	}
}

// next takes proposals off the queue. It bounds their number so that a queue
// that never empties still lets the loop see to the rest.
func (s *session) next() []*proposal {
	const most = 1024
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.waiting), most)
	batch := s.waiting[:n:n]
	s.waiting = s.waiting[n:]
	return batch
}

// answer is a proposal with its outcome, if the batch it was tried in commits.
type answer struct {
	*proposal
	err error
}

// commit turns proposals into commits of bounded size and answers them. A
// refusal waits for the commit too: it may rest on what came before it there.
func (s *session) commit(ctx context.Context, waiting []*proposal) error {
	for len(waiting) > 0 {
		batch := metadata.NewBatch(s.replica.Image())
		var answers []answer
		for size := 0; len(waiting) > 0 && size < s.cfg.CommitBytes; waiting = waiting[1:] {
			n, err := try(batch, waiting[0])
			size += n
			answers = append(answers, answer{waiting[0], err})
		}
		if err := s.write(ctx, batch); err != nil {
			fail(answers, waiting, err)
			return err
		}
		for _, a := range answers {
			a.done <- a.err
		}
		s.maybeSnapshot(ctx)
	}
	return nil
}

// try tries one proposal on the batch and says how much it adds, in bytes.
func try(batch *metadata.Batch, p *proposal) (size int, err error) {
	records, err := p.build(batch.Image())
	if err != nil || len(records) == 0 {
		return 0, err
	}
	for _, r := range records {
		size += metadata.ApproxSize(r)
	}
	if size > metadata.CommitMax/2 {
		return 0, karst.InvalidRequest.Errorf("a metadata change of about %d bytes is too large: split it", size)
	}
	err = batch.Try(records...)
	if errors.Is(err, metadata.ErrDuplicate) {
		return 0, nil // the answer of the first time
	}
	return size, err
}

func (s *session) write(ctx context.Context, batch *metadata.Batch) error {
	if len(batch.Records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StallTimeout)
	defer cancel()
	return s.term.Commit(ctx, batch)
}

// fail answers what a failed commit held, and what waited behind it.
func fail(tried []answer, waiting []*proposal, err error) {
	verdict := error(karst.TimedOut.Errorf("the metadata change may or may not happen: %v", err))
	if errors.Is(err, ErrDeposed) && !errors.Is(err, objlog.ErrUnknown) {
		verdict = errNotController() // the create was refused: definite
	}
	for _, a := range tried {
		a.done <- verdict
	}
	for _, p := range waiting {
		p.done <- errNotController()
	}
}

// maybeSnapshot starts a snapshot if one is due. It may fail: then the next
// one is due after as many commits again.
func (s *session) maybeSnapshot(ctx context.Context) {
	b := s.term.Behind()
	if s.snapshoting || b.Commits < s.cfg.SnapshotCommits && b.Bytes < s.cfg.SnapshotBytes {
		return
	}
	s.snapshoting, s.since = true, b
	img := s.replica.Image()
	ctx, s.giveUp = context.WithCancel(ctx)
	go func() {
		n, err := metadata.WriteSnapshot(ctx, s.store, img)
		s.snapshots <- snapshotDone{at: img.Position(), bytes: n, err: err}
	}()
}

func (s *session) snapshotEnded(d snapshotDone) {
	s.snapshoting = false
	s.giveUp()
	b := s.term.Behind()
	s.term.Snapshotted(metadata.Behind{Commits: b.Commits - s.since.Commits, Bytes: b.Bytes - s.since.Bytes})
	if d.err != nil {
		s.cfg.Log.Warn("metadata snapshot failed", "position", d.at, "error", d.err)
		return
	}
	s.cfg.Log.Info("wrote metadata snapshot", "position", d.at, "bytes", d.bytes)
}

// end waits for the running snapshot and, when asked to stop, writes the last.
func (s *session) end(ctx context.Context, err error) {
	if s.snapshoting {
		if err != nil { // the term is to be claimed again, without delay
			s.giveUp()
		}
		s.snapshotEnded(<-s.snapshots)
	}
	if err != nil || ctx.Err() == nil || s.term.Behind().Commits == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	img := s.replica.Image()
	s.since = s.term.Behind()
	n, werr := metadata.WriteSnapshot(store.WithCaller(ctx, store.CallerMetadata), s.store, img)
	s.snapshotEnded(snapshotDone{at: img.Position(), bytes: n, err: werr})
}
