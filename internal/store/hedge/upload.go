package hedge

import (
	"context"
	"errors"
	"time"

	"github.com/karst-io/karst/internal/store"
)

// upload is one Create or Put with up to two attempts.
func (s *Store) upload(ctx context.Context, op store.Op, name string, body store.Body, do func(context.Context, string, store.Body) error) error {
	s.begin()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the loser
	size := body.Size()
	threshold := s.seen.threshold(op, size, s.cfg.Floor, s.cfg.Initial)
	r := race{ended: make(chan ended, 2)}
	start := func(second bool) {
		r.running++
		if body.Hold != nil {
			body.Hold.Retain() // until this attempt has ended, which may be after our return
		}
		s.wg.Go(func() {
			if body.Hold != nil {
				defer body.Hold.Release()
			}
			began := time.Now()
			err := do(ctx, name, body)
			s.seen.sample(op, size, time.Since(began), threshold, err)
			r.ended <- ended{err, second} // never blocks: room for both
		})
	}
	start(false)
	slow := time.NewTimer(threshold)
	defer slow.Stop()
	for stuck := false; ; stuck = true {
		select {
		case e := <-r.ended:
			if err, over := r.take(e); over {
				if e.second && answer(err) {
					s.won()
				}
				return err
			}
		case <-slow.C:
			if s.spend(stuck) {
				start(true)
			} else {
				slow.Reset(threshold) // stuck by then, or the budget has grown
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ended is the end of one attempt.
type ended struct {
	err    error
	second bool
}

// race collects the ends of the attempts of one request.
type race struct {
	ended   chan ended
	running int
	err     error // of an attempt that failed while the other still ran
}

// take says whether the request is over, and with what. When both fail, an
// unknown outcome must not be covered by a definite one (throttled).
func (r *race) take(e ended) (error, bool) {
	r.running--
	if answer(e.err) {
		return e.err, true
	}
	if r.err == nil || errors.Is(r.err, store.ErrThrottled) {
		r.err = e.err
	}
	return r.err, r.running == 0
}
