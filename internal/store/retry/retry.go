package retry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/karst-io/karst/internal/store"
)

// Config tunes the retries. Zero values mean the default in brackets.
type Config struct {
	Attempts  int           // in all, per request [6]
	First     time.Duration // ceiling of the first backoff; doubles [50 ms]
	Max       time.Duration // highest ceiling [5 s]
	Throttled time.Duration // first ceiling, and floor, after ErrThrottled [500 ms]
	Timeout   time.Duration // of one attempt [10 s], plus a second per MiB
	Share     float64       // retries per request in the long run [0.2]
	Burst     int           // retries in a row beyond that [50]
}

func (c Config) withDefaults() Config {
	c.Attempts = or(c.Attempts, 6)
	c.First = or(c.First, 50*time.Millisecond)
	c.Max = or(c.Max, 5*time.Second)
	c.Throttled = or(c.Throttled, 500*time.Millisecond)
	c.Timeout = or(c.Timeout, 10*time.Second)
	c.Share = or(c.Share, 0.2)
	c.Burst = or(c.Burst, 50)
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Store decorates a store with retries.
type Store struct {
	under store.Store
	cfg   Config

	mu     sync.Mutex
	tokens float64 // retries that may still be made; up to Burst
}

// New decorates under.
func New(under store.Store, cfg Config) *Store {
	cfg = cfg.withDefaults()
	return &Store{under: under, cfg: cfg, tokens: float64(cfg.Burst)}
}

// earn adds a request's share to the budget.
func (s *Store) earn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = min(s.tokens+s.cfg.Share, float64(s.cfg.Burst))
}

// spend takes one retry from the budget.
func (s *Store) spend() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens < 1 {
		return false
	}
	s.tokens--
	return true
}

// final reports whether err is an answer rather than a failure.
func final(ctx context.Context, err error) bool {
	return err == nil || ctx.Err() != nil ||
		errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists)
}

// again waits before retry number n (from 1) of a request that failed with err;
// false means give up.
func (s *Store) again(ctx context.Context, n int, err error) bool {
	if n >= s.cfg.Attempts || !s.spend() {
		return false
	}
	first, floor := s.cfg.First, time.Duration(0)
	if errors.Is(err, store.ErrThrottled) {
		first, floor = s.cfg.Throttled, s.cfg.Throttled
	}
	ceiling := max(min(s.cfg.Max, first<<min(n-1, 16)), 1)
	t := time.NewTimer(floor + rand.N(ceiling))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (s *Store) timeout(size int64) time.Duration {
	return s.cfg.Timeout + time.Duration(size>>20)*time.Second
}

// do runs attempts of one request until an answer, the last attempt or the end
// of the budget.
func (s *Store) do(ctx context.Context, op store.Op, name string, size int64, attempt func(context.Context) error) error {
	if err := store.CheckName(name); err != nil {
		return err // no attempt would end otherwise
	}
	s.earn()
	for n := 1; ; n++ {
		try, cancel := context.WithTimeout(ctx, s.timeout(size))
		err := attempt(try)
		cancel()
		if final(ctx, err) {
			return err
		}
		if !s.again(ctx, n, err) {
			return fmt.Errorf("%s %s: gave up after %d attempts: %w", op, name, n, err)
		}
	}
}

// Create passes through.
func (s *Store) Create(ctx context.Context, name string, body store.Body) error {
	return s.under.Create(ctx, name, body)
}

// Put implements store.Writer.
func (s *Store) Put(ctx context.Context, name string, body store.Body) error {
	return s.do(ctx, store.OpPut, name, body.Size(), func(ctx context.Context) error {
		return s.under.Put(ctx, name, body)
	})
}

// Get implements store.Reader.
func (s *Store) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	var n int
	err := s.do(ctx, store.OpGet, name, int64(len(p)), func(ctx context.Context) (err error) {
		n, err = s.under.Get(ctx, name, off, p)
		return err
	})
	return n, err
}

// Head implements store.Reader.
func (s *Store) Head(ctx context.Context, name string) (store.Info, error) {
	var info store.Info
	err := s.do(ctx, store.OpHead, name, 0, func(ctx context.Context) (err error) {
		info, err = s.under.Head(ctx, name)
		return err
	})
	return info, err
}

// Delete implements store.Deleter.
func (s *Store) Delete(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return s.under.Delete(ctx, names)
	}
	return s.do(ctx, store.OpDelete, names[0], 0, func(ctx context.Context) error {
		return s.under.Delete(ctx, names)
	})
}

// Close closes the store below.
func (s *Store) Close() error { return s.under.Close() }

func (s *Store) String() string { return s.under.String() }

// List implements store.Reader. A failure in the middle resumes after the last
// name yielded; progress gives back all attempts. The time limit runs only while
// the store is waited for.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		s.earn()
		for n := 1; ; n++ {
			l := listing{Store: s, after: after, yield: yield}
			err := l.attempt(ctx, prefix)
			if l.stopped || err == nil {
				return
			}
			if l.after != after {
				after, n = l.after, 1
			}
			if final(ctx, err) {
				yield(store.Info{}, err)
				return
			}
			if !s.again(ctx, n, err) {
				yield(store.Info{}, fmt.Errorf("list %s: gave up after %d attempts: %w", prefix, n, err))
				return
			}
		}
	}
}

// listing is one attempt of a List.
type listing struct {
	*Store
	after   string // last name yielded
	yield   func(store.Info, error) bool
	stopped bool // the consumer has enough
}

func (l *listing) attempt(ctx context.Context, prefix string) error {
	try, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := time.AfterFunc(l.cfg.Timeout, cancel)
	defer limit.Stop()
	for info, err := range l.under.List(try, prefix, l.after) {
		limit.Stop()
		if err != nil {
			return err
		}
		l.after = info.Name
		if !l.yield(info, nil) {
			l.stopped = true
			return nil
		}
		limit.Reset(l.cfg.Timeout)
	}
	// A driver that ends a cancelled listing early must not pass for a whole one.
	return try.Err()
}
