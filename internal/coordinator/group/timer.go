package group

import (
	"container/heap"
	"time"
)

// timer is something that happens to a group unless it is cancelled. It is part
// of what it is about, so that renewing a session allocates nothing.
type timer struct {
	kind   timerKind
	group  *group
	member *member // of timerSession
	id     string  // of timerPending: the member id
	at     time.Time
	order  uint64 // of scheduling: ties end in that order
	index  int    // in the heap, plus one; 0: not scheduled

	// Of timerInitial: how long it runs, and by how much it may be extended yet.
	delay, remaining time.Duration
}

type timerKind uint8

const (
	timerSession timerKind = iota // a member's session, or its first join
	timerPending                  // a member id that was given out and not used (KIP-394)
	timerInitial                  // the first rebalance of an empty group
	timerJoin                     // members that do not join again
	timerSync                     // members that do not sync
)

// timers is a heap of what is to happen.
type timers struct {
	heap      []*timer
	scheduled uint64 // so far
}

// schedule sets t, anew if it was set.
func (ts *timers) schedule(t *timer, at time.Time) {
	ts.scheduled++
	t.at, t.order = at, ts.scheduled
	if t.index == 0 {
		heap.Push(ts, t)
	} else {
		heap.Fix(ts, t.index-1)
	}
}

func (ts *timers) cancel(t *timer) {
	if t.index != 0 {
		heap.Remove(ts, t.index-1)
	}
}

// next is when the next timer ends; zero if there is none.
func (ts *timers) next() time.Time {
	if len(ts.heap) == 0 {
		return time.Time{}
	}
	return ts.heap[0].at
}

// pop takes the next timer that is due, if it was scheduled no later than end.
func (ts *timers) pop(now time.Time, end uint64) *timer {
	if len(ts.heap) == 0 || ts.heap[0].at.After(now) || ts.heap[0].order > end {
		return nil
	}
	t := ts.heap[0]
	heap.Remove(ts, 0)
	return t
}

func (ts *timers) Len() int { return len(ts.heap) }

func (ts *timers) Less(i, j int) bool {
	a, b := ts.heap[i], ts.heap[j]
	if a.at.Equal(b.at) {
		return a.order < b.order
	}
	return a.at.Before(b.at)
}

func (ts *timers) Swap(i, j int) {
	ts.heap[i], ts.heap[j] = ts.heap[j], ts.heap[i]
	ts.heap[i].index, ts.heap[j].index = i+1, j+1
}

// Push is for container/heap.
func (ts *timers) Push(x any) {
	t := x.(*timer) //nolint:forcetypeassert // of package heap, which gives back what schedule gave it
	t.index = len(ts.heap) + 1
	ts.heap = append(ts.heap, t)
}

// Pop is for container/heap.
func (ts *timers) Pop() any {
	n := len(ts.heap) - 1
	t := ts.heap[n]
	ts.heap[n] = nil
	ts.heap = ts.heap[:n]
	t.index = 0
	return t
}
