package hedge

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/karst-io/karst/internal/store"
)

// Config tunes the hedging. Zero values mean the default in brackets.
type Config struct {
	Share   float64       // second attempts per request in the long run [0.08]
	Burst   int           // second attempts beyond that [16]
	Floor   time.Duration // no threshold is below [10 ms]
	Initial time.Duration // threshold before the first sample [1 s]
}

func (c Config) withDefaults() Config {
	if c.Share == 0 {
		c.Share = 0.08
	}
	if c.Burst == 0 {
		c.Burst = 16
	}
	if c.Floor == 0 {
		c.Floor = 10 * time.Millisecond
	}
	if c.Initial == 0 {
		c.Initial = time.Second
	}
	return c
}

// Store decorates a store with second attempts.
type Store struct {
	under store.Store
	cfg   Config
	seen  latencies
	wg    sync.WaitGroup // attempts that outlive their call

	mu     sync.Mutex
	tokens float64 // second attempts that may still be made; up to Burst
	counts Counts
}

// Counts says how much hedging went on.
type Counts struct {
	Requests int64 // that could be hedged
	Hedges   int64 // second attempts started
	Wins     int64 // second attempts that answered first
	Refused  int64 // times that the budget had none left
}

// New decorates under.
func New(under store.Store, cfg Config) *Store {
	cfg = cfg.withDefaults()
	return &Store{under: under, cfg: cfg, tokens: float64(cfg.Burst)}
}

// Counts is the state of the counters.
func (s *Store) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// begin counts a request and earns its share of the budget.
func (s *Store) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Requests++
	s.tokens = min(s.tokens+s.cfg.Share, float64(s.cfg.Burst))
}

// spend takes a second attempt from the budget. One that is merely slow may not
// touch the half that is kept for the stuck.
func (s *Store) spend(stuck bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	need := 1.0
	if !stuck {
		need += float64(s.cfg.Burst / 2)
	}
	if s.tokens < need {
		s.counts.Refused++
		return false
	}
	s.tokens--
	s.counts.Hedges++
	return true
}

func (s *Store) won() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Wins++
}

// Create implements store.Creator.
func (s *Store) Create(ctx context.Context, name string, body store.Body) error {
	return s.upload(ctx, store.OpCreate, name, body, s.under.Create)
}

// Put implements store.Writer.
func (s *Store) Put(ctx context.Context, name string, body store.Body) error {
	return s.upload(ctx, store.OpPut, name, body, s.under.Put)
}

// Head implements store.Reader.
func (s *Store) Head(ctx context.Context, name string) (store.Info, error) {
	return s.under.Head(ctx, name)
}

// List implements store.Reader.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return s.under.List(ctx, prefix, after)
}

// Delete implements store.Deleter.
func (s *Store) Delete(ctx context.Context, names []string) error {
	return s.under.Delete(ctx, names)
}

// Close waits for attempts that lost and closes the store below. No call may be
// in flight.
func (s *Store) Close() error {
	s.wg.Wait()
	return s.under.Close()
}

func (s *Store) String() string { return s.under.String() }

// answer reports whether err ends a request whatever its other attempt does.
func answer(err error) bool {
	return err == nil || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound)
}
