package hedge

import (
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/karst-io/karst/internal/store"
)

const (
	window    = 256 // samples kept of each kind and size class
	minimum   = 20  // samples that make a percentile
	refresh   = 16  // samples after which it is computed again
	quantile  = 0.95
	classes   = 4
	classBase = 16 // log2 of the largest size of class 0, 64 KiB; each class is 8 times the one before
)

// class is the size class of a request.
func class(size int64) int {
	if size <= 1<<classBase {
		return 0
	}
	return min(1+(bits.Len64(uint64(size-1))-classBase-1)/3, classes-1)
}

// latencies estimates how long requests take.
type latencies struct {
	mu   sync.Mutex
	kind [store.OpCount][classes]estimate
}

// estimate is a sliding window of one kind and class.
type estimate struct {
	ring  []time.Duration // up to window, then overwritten from next on
	next  int
	fresh int // samples since p was computed
	p     time.Duration
	most  time.Duration // while there are few
}

// sample records an attempt that answered. One that did not counts if it took
// longer than the threshold: at least that slow. (Shorter ones say nothing: a
// second attempt is cancelled soon after its start when the first one wins.)
func (l *latencies) sample(op store.Op, size int64, took, threshold time.Duration, err error) {
	if !answer(err) && took < threshold {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kind[op][class(size)].add(took)
}

func (e *estimate) add(took time.Duration) {
	if len(e.ring) < window {
		e.ring = append(e.ring, took)
	} else {
		e.ring[e.next] = took
		e.next = (e.next + 1) % window
	}
	e.most = max(e.most, took)
	if e.fresh++; len(e.ring) >= minimum && (e.p == 0 || e.fresh >= refresh) {
		sorted := slices.Sorted(slices.Values(e.ring))
		e.p = sorted[int(quantile*float64(len(sorted)-1))]
		e.fresh = 0
	}
}

// threshold is when a request counts as slow: between floor and, until there
// are enough samples, initial.
func (l *latencies) threshold(op store.Op, size int64, floor, initial time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &l.kind[op][class(size)]
	switch {
	case e.p > 0:
		return max(e.p, floor)
	case len(e.ring) > 0:
		return max(min(3*e.most, initial), floor)
	default:
		return initial
	}
}
