package meter

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/karst-io/karst/internal/store"
)

// pageSize is how many objects one LIST request returns on object stores.
const pageSize = 1000

// Store decorates a store with counters. Put it next to the driver, so that
// retries and hedges are counted.
type Store struct {
	under   store.Store
	counts  [store.OpCount][store.CallerCount][OutcomeCount]struct{ requests, bytes atomic.Int64 }
	seconds *prometheus.HistogramVec
	failed  func(op store.Op, c store.Caller, err error)
}

// New decorates under. failed, if not nil, hears of each request that was refused,
// went wrong or got no answer in time; it must not block.
func New(under store.Store, failed func(op store.Op, c store.Caller, err error)) *Store {
	return &Store{
		under: under, failed: failed,
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "karst_store_request_seconds",
			Help:    "Time of requests to the store.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"op", "caller"}),
	}
}

// Snapshot is the counters now. Each counter is exact; requests that end while
// it is taken may be in some and not in others.
func (s *Store) Snapshot() *Snapshot {
	snap := new(Snapshot)
	for o := range s.counts {
		for c := range s.counts[o] {
			for r := range s.counts[o][c] {
				n := &s.counts[o][c][r]
				snap[o][c][r] = Count{Requests: n.requests.Load(), Bytes: n.bytes.Load()}
			}
		}
	}
	return snap
}

// done counts a request that began at start.
func (s *Store) done(ctx context.Context, op store.Op, start time.Time, requests, bytes int64, err error) { //nolint:unparam // a request that makes several is to come
	c := store.CallerOf(ctx)
	outcome := outcomeOf(err)
	if s.failed != nil && (outcome >= Failed || outcome == Throttled || errors.Is(err, context.DeadlineExceeded)) {
		s.failed(op, c, err)
	}
	n := &s.counts[op][c][outcome]
	n.requests.Add(requests)
	n.bytes.Add(bytes)
	s.seconds.WithLabelValues(op.String(), c.String()).Observe(time.Since(start).Seconds())
}

// Create implements store.Creator.
func (s *Store) Create(ctx context.Context, name string, body store.Body) error {
	start, size := time.Now(), body.Size()
	err := s.under.Create(ctx, name, body)
	s.done(ctx, store.OpCreate, start, 1, size, err)
	return err
}

// Put implements store.Writer.
func (s *Store) Put(ctx context.Context, name string, body store.Body) error {
	start, size := time.Now(), body.Size()
	err := s.under.Put(ctx, name, body)
	s.done(ctx, store.OpPut, start, 1, size, err)
	return err
}

// Get implements store.Reader.
func (s *Store) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	start := time.Now()
	n, err := s.under.Get(ctx, name, off, p)
	s.done(ctx, store.OpGet, start, 1, int64(n), err)
	return n, err
}

// Head implements store.Reader.
func (s *Store) Head(ctx context.Context, name string) (store.Info, error) {
	start := time.Now()
	info, err := s.under.Head(ctx, name)
	s.done(ctx, store.OpHead, start, 1, 0, err)
	return info, err
}

// List implements store.Reader. Pages cannot be seen from here: one request is
// counted for each 1,000 objects begun. The time is that to the first answer.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		start := time.Now()
		objects := int64(0)
		for info, err := range s.under.List(ctx, prefix, after) {
			if objects%pageSize == 0 || err != nil {
				s.done(ctx, store.OpList, start, 1, 0, err)
				start = time.Now()
			}
			objects++
			if !yield(info, err) || err != nil {
				return
			}
		}
		if objects == 0 {
			s.done(ctx, store.OpList, start, 1, 0, nil)
		}
	}
}

// Delete implements store.Deleter.
func (s *Store) Delete(ctx context.Context, names []string) error {
	start := time.Now()
	err := s.under.Delete(ctx, names)
	s.done(ctx, store.OpDelete, start, 1, 0, err)
	return err
}

// Close closes the store below.
func (s *Store) Close() error { return s.under.Close() }

func (s *Store) String() string { return s.under.String() }
