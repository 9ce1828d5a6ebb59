package engine_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/wal"
)

// own is a batch that the broker decided at the leader epoch of the tests.
func own(w *world, stamps ...karst.Timestamp) []byte {
	b := w.batch(nil, stamps...)
	record.Stamp(b, 0, 0)
	return b
}

func durable(t *testing.T, c *wal.Commit) {
	t.Helper()
	<-c.Done()
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

// TestInternalAppendsNeedNoRoom: what coordinators write is not held up by
// producers that wait, and neither reads the store nor asks a topic's rules.
func TestInternalAppendsNeedNoRoom(t *testing.T) {
	w := newWorld(t, 2, engine.Config{UnflushedBytes: 1}, record.Rules{MaxBytes: 1})
	if _, err := w.send(part(0), w.batch(nil, 1)); err == nil {
		t.Fatal("the rules are not those of this test")
	}
	var last *wal.Commit
	for base := range karst.Offset(10) {
		a, err := w.engine.AppendInternal(part(1), own(w, 1))
		if err != nil || a.Base != base || a.Commit == nil {
			t.Fatalf("append %d: %+v, %v", base, a, err)
		}
		last = a.Commit
	}
	durable(t, last)
	if got := w.read(part(1), 0); !slices.Equal(got, offsets(0, 10)) {
		t.Errorf("read %v", got)
	}
	w.flush() // with a checkpoint of producers that were never loaded
	if got := w.read(part(1), 0); !slices.Equal(got, offsets(0, 10)) {
		t.Errorf("read %v after the flush", got)
	}
}

// TestInternalAppendsBesideProducers: a producer that comes after internal
// batches, flushed and not, is known as any other.
func TestInternalAppendsBesideProducers(t *testing.T) {
	w := newWorld(t, 1, engine.Config{}, record.Rules{})
	internal := func() {
		a, err := w.engine.AppendInternal(part(0), own(w, 1))
		if err != nil {
			t.Fatal(err)
		}
		durable(t, a.Commit)
	}
	internal()
	w.flush()
	internal()
	first := w.produce(part(0), idempotent(w, 0, 0, 1))
	internal()
	w.flush()
	if again := w.produce(part(0), idempotent(w, 0, 0, 1)); again.Base != first.Base {
		t.Errorf("a duplicate of offset %d was appended at %d", first.Base, again.Base)
	}
	internal()
	if a := w.produce(part(0), idempotent(w, 0, 1, 1)); a.Base != 5 {
		t.Errorf("the next batch is at %d", a.Base)
	}
}

func TestInternalAppendsAreChecked(t *testing.T) {
	w := newWorld(t, 1, engine.Config{}, record.Rules{})
	whole, torn, old := own(w, 1, 2), own(w, 1, 2), own(w, 1, 2)
	record.Stamp(old, 0, -1)
	for name, b := range map[string][]byte{
		"short": torn[:len(torn)-1], "long": append(slices.Clone(whole), 0), "nothing": nil,
	} {
		if a, err := w.engine.AppendInternal(part(0), b); err == nil {
			t.Errorf("%s: appended at %d", name, a.Base)
		}
	}
	if _, err := w.engine.AppendInternal(part(9), whole); !errors.Is(err, karst.UnknownTopic.Err()) {
		t.Errorf("no such partition: %v", err)
	}
	if _, err := w.engine.AppendInternal(part(0), old); !errors.Is(err, karst.NotLeader.Err()) {
		t.Errorf("decided at another epoch: %v", err)
	}
	w.engine.Close()
	if _, err := w.engine.AppendInternal(part(0), whole); !errors.Is(err, karst.NotLeader.Err()) {
		t.Errorf("after the end: %v", err)
	}
}

func TestInternalBatchesHaveNoProducer(t *testing.T) {
	w := newWorld(t, 1, engine.Config{}, record.Rules{})
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_, _ = w.engine.AppendInternal(part(0), idempotent(w, 0, 0, 1))
}
