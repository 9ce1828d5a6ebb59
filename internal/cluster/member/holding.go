package member

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/karst-io/karst/internal/cluster/sessions"
	"github.com/karst-io/karst/internal/metadata"
)

// holding is this member's holding of the metadata term, or its attempt.
type holding struct {
	m       *Member
	cancel  context.CancelFunc
	ended   chan struct{} // closed when it is over; nil: none was begun
	sure    bool          // we yielded, and nobody took our place
	vouched int           // how often in a row others had contact with a holder that we lost
}

func (h *holding) running() bool {
	if h.ended == nil {
		return false
	}
	select {
	case <-h.ended:
		return false
	default:
		return true
	}
}

// begin claims the term after one that somebody held before, and returns when it holds it or does not.
func (h *holding) begin(ctx context.Context, before metadata.Held) {
	h.end()
	if before.Process != h.m.cfg.Self.Process {
		h.sure = false // somebody took our place since
	}
	var holding context.Context
	holding, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	h.ended = make(chan struct{})
	begun := make(chan struct{})
	go func() {
		defer close(h.ended)
		h.hold(holding, before, sync.OnceFunc(func() { close(begun) }))
	}()
	select {
	case <-begun:
	case <-h.ended:
	case <-ctx.Done():
		h.end()
	}
}

// hold holds the term until it is lost, given up, or ctx ends.
func (h *holding) hold(ctx context.Context, before metadata.Held, begun func()) {
	m := h.m
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := newDirector(m, before, sessions.Config{Timeout: m.cfg.SessionTimeout, Sure: h.sure})
	var wg sync.WaitGroup
	err := m.deps.Controller.RunFrom(ctx, before.Term, func() {
		m.director.Store(d)
		begun()
		wg.Go(func() {
			if err := d.run(ctx); errors.Is(err, errYield) {
				m.deps.Log.Warn("more than half of the brokers are silent: this controller suspects itself, and yields")
				h.sure = true
				cancel()
			}
		})
	})
	m.director.CompareAndSwap(d, nil)
	cancel()
	wg.Wait()
	d.close()
	switch {
	case err != nil:
		h.sure = false
		m.deps.Log.Warn("lost the metadata log", "err", err)
	case h.sure && !d.yielded:
		h.sure = false
	}
}

// wait waits for the end, or some time.
func (h *holding) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-h.ended:
	case <-t.C:
	case <-ctx.Done():
	}
}

// end gives the term up, if it is held, and waits.
func (h *holding) end() {
	if h.ended == nil {
		return
	}
	h.cancel()
	<-h.ended
}
