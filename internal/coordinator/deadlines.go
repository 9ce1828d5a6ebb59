package coordinator

import (
	"container/heap"
	"time"
)

// deadlines is a queue of what is due, earliest first. An item is in it at most
// once.
type deadlines[T comparable] struct {
	due  dueHeap[T]
	slot map[T]*dueItem[T]
}

type dueItem[T comparable] struct {
	what T
	at   time.Time
	slot int
}

// set makes what due at a time, instead of the one it had. It reports whether
// that is the earliest now.
func (d *deadlines[T]) set(what T, at time.Time) bool {
	it := d.slot[what]
	if it == nil {
		if d.slot == nil {
			d.slot = make(map[T]*dueItem[T])
		}
		it = &dueItem[T]{what: what, at: at}
		d.slot[what] = it
		heap.Push(&d.due, it)
	} else {
		it.at = at
		heap.Fix(&d.due, it.slot)
	}
	return it.slot == 0
}

// lower is set, unless what is due before that time anyway.
func (d *deadlines[T]) lower(what T, at time.Time) bool {
	if it := d.slot[what]; it != nil && !at.Before(it.at) {
		return false
	}
	return d.set(what, at)
}

// remove takes what out.
func (d *deadlines[T]) remove(what T) {
	if it := d.slot[what]; it != nil {
		heap.Remove(&d.due, it.slot)
		delete(d.slot, what)
	}
}

// pop takes out one that is due at now.
func (d *deadlines[T]) pop(now time.Time) (what T, ok bool) {
	if len(d.due) == 0 || d.due[0].at.After(now) {
		return what, false
	}
	what = d.due[0].what
	d.remove(what)
	return what, true
}

// next is the earliest time; false if there is none.
func (d *deadlines[T]) next() (time.Time, bool) {
	if len(d.due) == 0 {
		return time.Time{}, false
	}
	return d.due[0].at, true
}

type dueHeap[T comparable] []*dueItem[T]

func (h dueHeap[T]) Len() int           { return len(h) }
func (h dueHeap[T]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}

func (h *dueHeap[T]) Push(x any) {
	it := x.(*dueItem[T]) //nolint:forcetypeassert // only set pushes
	it.slot = len(*h)
	*h = append(*h, it)
}

func (h *dueHeap[T]) Pop() any {
	all := *h
	it := all[len(all)-1]
	all[len(all)-1] = nil
	*h = all[:len(all)-1]
	return it
}
