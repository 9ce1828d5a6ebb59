package sim

import (
	"context"
	"testing"
	"time"

	"github.com/karst-io/karst/internal/store"
)

// requests is how many requests a process has made, the probe's aside.
func (p *Process) requests() (n int64) {
	for o := range store.OpCount {
		for c := range store.CallerCount {
			if c != store.CallerProbe {
				n += p.Store.Requests(o, c)
			}
		}
	}
	return n
}

// TestIdleRequests is P11: fewer than 100 store requests an hour.
func TestIdleRequests(t *testing.T) {
	bubble(t, 1, func(w *World) {
		big(w)
		p, topic := ready(w, 100)
		w.openLoop(topic, 5*time.Second)
		time.Sleep(10 * time.Minute) // flush, snapshot, the first sweep
		before := p.requests()
		time.Sleep(time.Hour)
		n := p.requests() - before
		t.Logf("%d store requests in an idle hour", n)
		if n >= 100 {
			t.Errorf("P11: %d store requests in an idle hour, fewer than 100 wanted", n)
		}
		_ = p.Stop()
	})
}

// TestStartRequests counts the store requests from the start on existing data to
// the first acknowledgement, after a clean stop and after a crash, and those of
// a lookup by time.
func TestStartRequests(t *testing.T) {
	for _, crash := range []bool{false, true} {
		bubble(t, 1, func(w *World) {
			big(w)
			p, topic := ready(w, 8)
			w.openLoop(topic, 30*time.Second)
			if crash {
				p.Crash()
			} else if err := p.Stop(); err != nil {
				t.Error(err)
			}
			_ = p.Wait()
			q := w.Start(1)
			for q.Broker.Image() == nil {
				time.Sleep(time.Millisecond)
			}
			served := q.requests()
			l, err := w.connect(address(1))
			if err != nil {
				t.Fatal(err)
			}
			call := l.send(w.encoded(topic, 0, -1, 0, 1, 100))
			<-call.done
			if err := producedOK(call); err != nil {
				t.Error(err)
			}
			first := q.requests()
			l.close()
			a := w.newClient("lookup", 3)
			if err := a.refresh(context.Background()); err != nil {
				t.Fatal(err)
			}
			gets := q.Store.Requests(store.OpGet, store.CallerTail)
			if _, code, err := a.offset(context.Background(), topic, 1, time.Now().Add(-15*time.Second).UnixMilli()); err != nil || code != 0 {
				t.Errorf("ListOffsets: %d, %v", code, err)
			}
			t.Logf("crash %t: %d requests until it serves, %d until the first acknowledgement; %d GETs for a lookup by time",
				crash, served, first, q.Store.Requests(store.OpGet, store.CallerTail)-gets)
			a.hangUp()
			_ = q.Stop()
		})
	}
}

// TestLookupByTimeReadsOneBlock: of the many entries of a cold partition a lookup
// by time opens one: its index block, and the cache's block with the batch, or
// two where it lies across their border.
func TestLookupByTimeReadsOneBlock(t *testing.T) {
	const block, batch = 1 << 20, 16 << 10 // blockcache.Config, openLoop
	bubble(t, 1, func(w *World) {
		big(w)
		w.Config.FlushInterval = time.Second
		p, topic := ready(w, 4)
		began := time.Now()
		w.openLoop(topic, 40*time.Second)
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		q := w.Start(1)
		for q.Broker.Image() == nil {
			time.Sleep(time.Millisecond)
		}
		a := w.newClient("lookup", 3)
		if err := a.refresh(context.Background()); err != nil {
			t.Fatal(err)
		}
		sources := 0
		for s := range q.Broker.Image().Partitions() {
			sources = len(s.Sources)
		}
		for k := range 8 {
			gets, bytes := q.Store.Requests(store.OpGet, store.CallerTail), w.got.Load()
			at := began.Add(time.Duration(4*k+2)*time.Second + 100*time.Millisecond).UnixMilli()
			offset, code, err := a.offset(context.Background(), topic, int32(k)%4, at)
			if err != nil || code != 0 || offset <= 0 {
				t.Errorf("ListOffsets: offset %d, code %d, %v", offset, code, err)
			}
			gets, bytes = q.Store.Requests(store.OpGet, store.CallerTail)-gets, w.got.Load()-bytes
			t.Logf("%d sources: offset %d with %d GETs of %d bytes together", sources, offset, gets, bytes)
			if gets != 2 || bytes > 2*block+batch {
				t.Errorf("%d GETs of %d bytes, one of an index block and one of a block or two wanted", gets, bytes)
			}
		}
		a.hangUp()
		_ = q.Stop()
	})
}
