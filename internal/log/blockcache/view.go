package blockcache

import (
	"sync/atomic"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
)

// View is bytes in the cache: Parts, one after the other. Release Hold when
// done; the bytes must not be used after.
type View struct {
	Parts [][]byte
	Hold  store.Holder
}

// Discredit says that the bytes are not what they should be: they may have been
// damaged on their way here, and the next Read asks the store anew. The view
// itself stays good until it is released.
func (v View) Discredit() {
	if h, ok := v.Hold.(*viewHold); ok && h.c != nil {
		h.c.discredit(h.xs)
	}
}

// viewHold holds the extents of one view.
type viewHold struct {
	c    *Cache
	xs   []*extent
	span karst.Span
	refs atomic.Int64 // further holds; the first is not counted
}

func newViewHold(c *Cache, xs []*extent, span karst.Span) *viewHold {
	return &viewHold{c: c, xs: xs, span: span}
}

// Retain adds a hold.
func (h *viewHold) Retain() { h.refs.Add(1) }

// Release drops a hold; the last one lets the blocks go.
func (h *viewHold) Release() {
	n := h.refs.Add(-1)
	if n < -1 {
		panic("BUG: blockcache: view released too often")
	}
	if n == -1 && h.c != nil {
		h.c.unpin(h.xs)
	}
}
