package probe

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/karst-io/karst/internal/store"
)

// overlap: a create whose body begins before and ends after another create of
// that name is refused.
func (p *probing) overlap(ctx context.Context) error {
	name := p.prefix + "overlap"
	small, large := body(0, smallBytes), body(1, largeBytes)
	started, finished := make(chan struct{}), make(chan struct{})
	outer := make(chan error, 1)
	go func() { // waited for below
		if s, ok := p.Store.(Streamer); ok {
			slow := &held{ctx: ctx, b: large, started: started, finished: finished}
			outer <- s.CreateFrom(ctx, name, int64(len(large)), slow)
			return
		}
		close(started)
		outer <- p.Create(ctx, name, store.Bytes(large))
	}()
	var outerErr error
	early := false // the large create ended before the small one began
	select {
	case <-started:
	case outerErr = <-outer:
		early = true
	}
	innerErr := p.Create(ctx, name, store.Bytes(small))
	close(finished)
	if !early {
		outerErr = <-outer
	}
	return p.judgeOverlap(ctx, name, innerErr, outerErr, small, large)
}

func (p *probing) judgeOverlap(ctx context.Context, name string, innerErr, outerErr error, small, large []byte) error {
	const what = "a create that overlapped another one of the same name replaced it"
	switch {
	case innerErr == nil && outerErr == nil:
		return unfit("of two overlapping creates of one name both were accepted", useAnother)
	case innerErr == nil:
		return p.expect(ctx, name, small, what, useAnother)
	case outerErr == nil:
		return p.expect(ctx, name, large, what, useAnother)
	case !errors.Is(innerErr, store.ErrExists):
		return innerErr
	case !errors.Is(outerErr, store.ErrExists):
		return outerErr
	default:
		return unfit("of two overlapping creates of a new name none was accepted", useAnother)
	}
}

// held is a body whose second half is held back until finished is closed.
type held struct {
	ctx               context.Context //nolint:containedctx // an io.Reader has no other way to end
	b                 []byte
	pos               int
	started, finished chan struct{}
	waited            bool
}

func (h *held) Read(p []byte) (int, error) {
	half := len(h.b) / 2
	if h.pos == half && !h.waited {
		h.waited = true
		close(h.started)
		t := time.NewTimer(overlapWait)
		defer t.Stop()
		select {
		case <-h.finished:
		case <-t.C:
		case <-h.ctx.Done():
			return 0, h.ctx.Err()
		}
	}
	if h.pos == len(h.b) {
		return 0, io.EOF
	}
	end := len(h.b)
	if h.pos < half {
		end = half
	}
	n := copy(p, h.b[h.pos:end])
	h.pos += n
	return n, nil
}
