package hedge

import (
	"context"
	"time"

	"github.com/karst-io/karst/internal/store"
)

// getMax is the largest read that is hedged, in bytes: it bounds the memory of
// a second attempt.
const getMax = 8 << 20

// Get implements store.Reader. The first attempt runs in the caller's goroutine.
func (s *Store) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if len(p) > getMax {
		return s.under.Get(ctx, name, off, p)
	}
	s.begin()
	size := int64(len(p))
	threshold := s.seen.threshold(store.OpGet, size, s.cfg.Floor, s.cfg.Initial)
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	first, abandon := context.WithCancel(both)
	defer abandon()

	done := make(chan struct{}) // closed when the first attempt has ended
	type second struct {
		b   []byte
		err error
	}
	result := make(chan second, 1) // closed without a value if there was none
	s.wg.Go(func() {
		defer close(result)
		if !s.slow(done, threshold) {
			return
		}
		b := make([]byte, len(p))
		began := time.Now()
		n, err := s.under.Get(both, name, off, b)
		s.seen.sample(store.OpGet, size, time.Since(began), threshold, err)
		if answer(err) {
			abandon() // of the first, if it still runs
		}
		result <- second{b[:n], err}
	})

	began := time.Now()
	n, err := s.under.Get(first, name, off, p)
	s.seen.sample(store.OpGet, size, time.Since(began), threshold, err)
	close(done)
	if answer(err) || ctx.Err() != nil {
		return n, err
	}
	if r, ok := <-result; ok && answer(r.err) {
		s.won()
		return copy(p, r.b), r.err
	}
	return n, err
}

// slow waits until a second attempt is due and paid for; false if the first
// ended before.
func (s *Store) slow(done <-chan struct{}, threshold time.Duration) bool {
	t := time.NewTimer(threshold)
	defer t.Stop()
	for stuck := false; ; stuck = true {
		select {
		case <-done:
			return false
		case <-t.C:
			if s.spend(stuck) {
				return true
			}
			t.Reset(threshold)
		}
	}
}
