package blockcache

import (
	"container/list"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
)

// trackedReaders bounds how many sequential readers are remembered.
const trackedReaders = 4096

// place is where a sequential reader is expected next. Readers have no
// identity here; two at the same place share it, and that is right.
type place struct {
	name string
	pos  int64
}

// tracker remembers how many blocks are read ahead of each expected place.
type tracker struct {
	at    map[place]*list.Element
	order *list.List // of tracked, front is newest
}

type tracked struct {
	place  place
	window int64 // blocks
}

func newTracker() tracker {
	return tracker{at: map[place]*list.Element{}, order: list.New()}
}

// step notes a read of span and returns the reader's window in blocks: 0 for a
// place nobody was expected at, then 1, 2, 4 … up to most.
func (t *tracker) step(name string, span karst.Span, most int64) int64 {
	var window int64
	if e := t.at[place{name, span.Pos}]; e != nil {
		window = min(max(1, 2*e.Value.(*tracked).window), most) //nolint:forcetypeassert // ours alone
	}
	next := place{name, span.Pos + span.Len}
	if e := t.at[next]; e != nil {
		was := e.Value.(*tracked) //nolint:forcetypeassert // ours alone
		was.window = max(was.window, window)
		t.order.MoveToFront(e)
		return window
	}
	t.at[next] = t.order.PushFront(&tracked{next, window})
	if t.order.Len() > trackedReaders {
		old := t.order.Remove(t.order.Back()).(*tracked) //nolint:forcetypeassert // ours alone
		delete(t.at, old.place)
	}
	return window
}

// ahead starts reading what a sequential reader will want next, inside within
// and at most the reader's window beyond block last. It waits until half of the
// window is used up, so that it makes few large GETs, not many small ones.
// Under the lock.
func (c *Cache) ahead(name string, span, within karst.Span, last int64, caller store.Caller) {
	most := min(int64(c.c.AheadBytes), c.c.MemoryBytes/4) / int64(c.c.BlockBytes)
	if most <= 0 {
		return
	}
	window := c.track.step(name, span, most)
	end := within.Pos + within.Len
	if window == 0 || span.Pos+span.Len >= end {
		return
	}
	till := min(last+window, c.block(end-1))
	from := last + 1
	for from <= till && c.blocks[blockKey{name, from}] != nil {
		from++
	}
	if from > till || from > last+1+window/2 {
		return
	}
	for b := from; b <= till; {
		if x := c.blocks[blockKey{name, b}]; x != nil {
			b = x.first + int64(x.blocks)
			continue
		}
		x := c.begin(name, b, till, caller)
		x.fresh = false
		c.stats.AheadGets++
		b += int64(x.blocks)
	}
}
