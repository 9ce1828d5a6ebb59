package limit

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/karst-io/karst/internal/store"
)

// Config tunes the limits. Zero values mean the default in brackets.
type Config struct {
	Concurrency int   // requests at once [256]
	Up, Down    int64 // bytes a second [no limit]
	Queue       int   // requests that may wait; more are refused as throttled [10,000]
	// Caps bounds the slots of single callers [an eighth of the slots for catch-up
	// and flush, a sixteenth for reap, all for the others].
	Caps [store.CallerCount]int
}

func (c Config) withDefaults() Config {
	if c.Concurrency == 0 {
		c.Concurrency = 256
	}
	if c.Queue == 0 {
		c.Queue = 10_000
	}
	for caller := range c.Caps {
		share := c.Concurrency
		switch store.Caller(caller) {
		case store.CallerCatchUp, store.CallerFlush:
			share = c.Concurrency / 8
		case store.CallerReap:
			share = c.Concurrency / 16
		}
		if c.Caps[caller] == 0 {
			c.Caps[caller] = max(share, 1)
		}
	}
	return c
}

// urgent callers may use every slot, and do not wait for the debts of others.
func urgent(c store.Caller) bool { return c <= store.CallerTail }

// direction is which way the bytes of a request go.
type direction uint8

const (
	none direction = iota
	up
	down
	directions
)

// Store decorates a store with limits.
type Store struct {
	under store.Store
	gate  *gate
}

// New decorates under.
func New(under store.Store, cfg Config) *Store {
	return &Store{under: under, gate: newGate(cfg.withDefaults())}
}

// Waiting is how many requests of a caller wait.
func (s *Store) Waiting(c store.Caller) int { return s.gate.waiting(c) }

// Running is how many requests of a caller are at the store.
func (s *Store) Running(c store.Caller) int { return s.gate.running(c) }

// Create implements store.Creator.
func (s *Store) Create(ctx context.Context, name string, body store.Body) error {
	leave, err := s.gate.enter(ctx, up, body.Size())
	if err != nil {
		return err
	}
	defer leave()
	return s.under.Create(ctx, name, body)
}

// Put implements store.Writer.
func (s *Store) Put(ctx context.Context, name string, body store.Body) error {
	leave, err := s.gate.enter(ctx, up, body.Size())
	if err != nil {
		return err
	}
	defer leave()
	return s.under.Put(ctx, name, body)
}

// Get implements store.Reader.
func (s *Store) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	leave, err := s.gate.enter(ctx, down, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer leave()
	n, err := s.under.Get(ctx, name, off, p)
	s.gate.refund(store.CallerOf(ctx), down, int64(len(p)-n)) // asked for, not there
	return n, err
}

// Head implements store.Reader.
func (s *Store) Head(ctx context.Context, name string) (store.Info, error) {
	leave, err := s.gate.enter(ctx, none, 0)
	if err != nil {
		return store.Info{}, err
	}
	defer leave()
	return s.under.Head(ctx, name)
}

// List implements store.Reader.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		leave, err := s.gate.enter(ctx, none, 0)
		if err != nil {
			yield(store.Info{}, err)
			return
		}
		defer func() { leave() }()
		for info, err := range s.under.List(ctx, prefix, after) {
			leave()
			leave = func() {}
			if !yield(info, err) {
				return
			}
		}
	}
}

// Delete implements store.Deleter.
func (s *Store) Delete(ctx context.Context, names []string) error {
	leave, err := s.gate.enter(ctx, none, 0)
	if err != nil {
		return err
	}
	defer leave()
	return s.under.Delete(ctx, names)
}

// Close closes the store below. No call may be in flight.
func (s *Store) Close() error {
	s.gate.close()
	return s.under.Close()
}

func (s *Store) String() string { return s.under.String() }

// errFull refuses a request when too many wait already.
func errFull(n int) error {
	return fmt.Errorf("%d requests wait for the store: %w", n, store.ErrThrottled)
}

// account is a bandwidth allowance: it fills at rate bytes a second up to a
// tenth of a second's worth, and may go into debt.
type account struct {
	rate  float64 // 0 is no limit
	bytes float64
	at    time.Time
}

func (a *account) fill(now time.Time) {
	if a.rate > 0 {
		a.bytes = min(a.bytes+a.rate*now.Sub(a.at).Seconds(), a.rate/10)
		a.at = now
	}
}

// wait is how long the account is in debt.
func (a *account) wait() time.Duration {
	if a.rate == 0 || a.bytes >= 0 {
		return 0
	}
	return time.Duration(-a.bytes/a.rate*float64(time.Second)) + 1
}

// take charges n bytes; a negative n gives them back.
func (a *account) take(n int64) {
	if a.rate > 0 {
		a.bytes -= float64(n)
	}
}
