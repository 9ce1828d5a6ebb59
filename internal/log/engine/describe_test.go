package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/record"
)

// A partition's size counts every durable byte once, wherever it lies.
func TestSizeCountsDurableBytesOnce(t *testing.T) {
	w := newWorld(t, 2, engine.Config{TailBytes: 1 << 20}, record.Rules{})
	var want int64
	for round := range 4 {
		raw := w.batch(nil, 1, 2, karst.Timestamp(round))
		if round == 2 {
			raw = w.batch(func(b *record.Builder) { b.Append(4, nil, make([]byte, 12<<10)) }, 1)
		}
		want += int64(len(raw))
		w.produce(part(0), raw)
		if n, err := w.engine.Size(part(0)); n != want || err != nil {
			t.Fatalf("before flush %d: %d bytes, %v; want %d", round, n, err, want)
		}
		if round < 3 {
			w.flush()
		}
		if n, err := w.engine.Size(part(0)); n != want || err != nil {
			t.Fatalf("after flush %d: %d bytes, %v; want %d", round, n, err, want)
		}
	}
	if n, err := w.engine.Size(part(1)); n != 0 || err != nil {
		t.Errorf("an empty partition: %d bytes, %v", n, err)
	}
	if _, err := w.engine.Size(part(2)); !errors.Is(err, karst.NotLeader.Err()) {
		t.Errorf("no such partition: %v", err)
	}
	// An engine that has opened nothing knows what is flushed.
	w.flush()
	heir := engine.New(engine.Config{Self: self}, engine.Deps{Image: w.Image(), Log: w.wal, Segments: w.cache, Watchers: engine.NewWatchers()})
	if n, err := heir.Size(part(0)); n != want || err != nil {
		t.Errorf("by the image: %d bytes, %v; want %d", n, err, want)
	}
	heir.Close()
	if _, err := heir.Size(part(0)); !errors.Is(err, karst.NotLeader.Err()) {
		t.Errorf("closed: %v", err)
	}
}

// Producers are told with their newest epoch and sequence, also by an engine
// that has to read them from the store.
func TestProducersAreTold(t *testing.T) {
	w := newWorld(t, 1, engine.Config{TailBytes: 1 << 20}, record.Rules{})
	ctx := context.Background()
	if got, err := w.engine.Producers(ctx, part(0)); len(got) != 0 || err != nil {
		t.Fatalf("an empty partition: %+v, %v", got, err)
	}
	for i := range karst.Sequence(3) {
		w.produce(part(0), idempotent(w, 2, i*4, 4))
	}
	w.produce(part(0), w.batch(nil, 1)) // of no producer
	w.flush()
	heir := engine.New(engine.Config{Self: self, ProducerExpiry: time.Hour}, engine.Deps{
		Image: w.Image(), Log: w.wal, Segments: w.cache, Watchers: engine.NewWatchers(),
	})
	for name, e := range map[string]*engine.Engine{"writer": w.engine, "heir": heir} {
		got, err := e.Producers(ctx, part(0))
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: %+v, %v", name, got, err)
		}
		if p := got[0]; p.Epoch != 2 || p.LastSequence != 11 || time.Since(time.UnixMilli(int64(p.LastSeen))) > time.Hour {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if _, err := w.engine.Producers(ctx, part(9)); !errors.Is(err, karst.UnknownTopic.Err()) {
		t.Errorf("no such partition: %v", err)
	}
}
