package engine_test

import (
	"testing"
	"time"

	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/record"
)

// An append that waits for room goes on when a flush has made some, although the
// image shows the flush before the flusher's books do.
func TestFlushMakesRoom(t *testing.T) {
	for range 5 {
		w := newWorld(t, 1, engine.Config{UnflushedBytes: 1, WaitMax: 10 * time.Second}, record.Rules{})
		w.answerAfter = 5 * time.Millisecond
		w.produce(part(0), w.batch(nil, 1)) // above the bound from here on
		done := make(chan error, 1)
		go func() {
			_, err := w.send(part(0), w.batch(nil, 2))
			done <- err
		}()
		time.Sleep(20 * time.Millisecond) // it should be waiting; if not, this round shows nothing
		w.flush()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// The state of a partition that no idempotent producer writes to is rebuilt from
// few indexes, too.
func TestSourcesAboveTheCheckpointAreBounded(t *testing.T) {
	w := newWorld(t, 1, engine.Config{TailBytes: 1}, record.Rules{})
	for range 200 {
		w.produce(part(0), w.batch(nil, 1, 2, 3))
		w.flush()
	}
	p, _ := w.Image().Partition(part(0))
	above := 0
	for _, s := range p.Sources {
		if len(p.States) == 0 || s.Last >= p.States[len(p.States)-1].Next {
			above++
		}
	}
	if above > 33 {
		t.Errorf("%d sources above the newest checkpoint", above)
	}
}
