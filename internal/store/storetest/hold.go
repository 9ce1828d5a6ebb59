package storetest

import (
	"sync/atomic"

	"github.com/karst-io/karst/internal/store"
)

// hold is a counted hold on a body that scribbles over it after the last
// release, as a pool's next user would.
type hold struct {
	body  store.Body
	count atomic.Int64
	gone  chan struct{}
}

func newHold(body store.Body) *hold {
	h := &hold{body: body, gone: make(chan struct{})}
	h.count.Store(1) // the test's own
	h.body.Hold = h
	return h
}

// Retain implements store.Holder.
func (h *hold) Retain() {
	if h.count.Add(1) <= 1 {
		panic("storetest: Retain after the last Release")
	}
}

// Release implements store.Holder.
func (h *hold) Release() {
	switch n := h.count.Add(-1); {
	case n < 0:
		panic("storetest: more releases than holds")
	case n == 0:
		for _, p := range h.body.Parts {
			for i := range p {
				p[i] = 0xdb
			}
		}
		close(h.gone)
	}
}

// drop ends the test's own hold.
func (h *hold) drop() { h.Release() }

// wait returns when nobody holds the body any more. A driver that never releases
// runs into the test's time limit.
func (h *hold) wait() { <-h.gone }
