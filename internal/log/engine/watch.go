package engine

import (
	"slices"
	"sync"

	"github.com/karst-io/karst"
)

// Subscription collects which of its partitions changed in a way a fetch can
// see: high watermark, last stable offset, log start, leadership, deletion. It
// costs in proportion to what changed, not to what it watches.
type Subscription struct {
	watchers *Watchers
	wake     chan struct{} // holds one token while changed is not empty

	mu      sync.Mutex
	changed map[karst.TopicPartition]struct{}
	watched map[karst.TopicPartition]struct{}
}

// Watchers maps partitions to who watches them. It outlives engines, so that a
// fetch session goes on when an incarnation ends and another begins.
type Watchers struct {
	mu sync.RWMutex
	by map[karst.TopicPartition][]*Subscription
}

// NewWatchers makes an empty set.
func NewWatchers() *Watchers {
	return &Watchers{by: make(map[karst.TopicPartition][]*Subscription)}
}

// Notify marks a partition as changed for all who watch it.
func (w *Watchers) Notify(tp karst.TopicPartition) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, s := range w.by[tp] {
		s.mark(tp)
	}
}

// NotifyAll marks every watched partition as changed.
func (w *Watchers) NotifyAll() {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for tp, all := range w.by {
		for _, s := range all {
			s.mark(tp)
		}
	}
}

// Subscribe makes an empty subscription; Close it.
func (w *Watchers) Subscribe() *Subscription {
	return &Subscription{
		watchers: w,
		wake:     make(chan struct{}, 1),
		changed:  make(map[karst.TopicPartition]struct{}),
		watched:  make(map[karst.TopicPartition]struct{}),
	}
}

func (s *Subscription) mark(tp karst.TopicPartition) {
	s.mu.Lock()
	s.changed[tp] = struct{}{}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Add starts watching a partition; it counts as changed at once.
func (s *Subscription) Add(tp karst.TopicPartition) {
	w := s.watchers
	w.mu.Lock()
	if !slices.Contains(w.by[tp], s) {
		w.by[tp] = append(w.by[tp], s)
	}
	w.mu.Unlock()
	s.mu.Lock()
	s.watched[tp] = struct{}{}
	s.mu.Unlock()
	s.mark(tp)
}

// Remove stops watching a partition.
func (s *Subscription) Remove(tp karst.TopicPartition) {
	s.watchers.remove(tp, s)
	s.mu.Lock()
	delete(s.changed, tp)
	delete(s.watched, tp)
	s.mu.Unlock()
}

func (w *Watchers) remove(tp karst.TopicPartition, s *Subscription) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(w.by[tp]), func(o *Subscription) bool { return o == s })
	if len(rest) == 0 {
		delete(w.by, tp)
		return
	}
	w.by[tp] = rest
}

// Wait returns a channel that receives when something has changed since the
// last Take. One goroutine at a time may use it.
func (s *Subscription) Wait() <-chan struct{} { return s.wake }

// Take returns the partitions changed since the last Take, each once, in no
// particular order, and forgets them.
func (s *Subscription) Take() []karst.TopicPartition {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.wake:
	default:
	}
	all := make([]karst.TopicPartition, 0, len(s.changed))
	for tp := range s.changed {
		all = append(all, tp)
	}
	clear(s.changed)
	return all
}

// Close ends the subscription: it watches nothing any more.
func (s *Subscription) Close() {
	s.mu.Lock()
	watched := s.watched
	s.watched = nil
	s.mu.Unlock()
	for tp := range watched {
		s.watchers.remove(tp, s)
	}
}
