package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
)

// From an offer on clients look elsewhere, whatever they ask; after its withdrawal
// everything is as it was.
func TestOffer(t *testing.T) {
	w := newWorld(t, 2, engine.Config{}, record.Rules{})
	w.produce(part(0), w.batch(nil, 1, 2))
	ask := map[string]func() error{
		"append": func() error {
			_, err := w.send(part(0), w.batch(nil, 3))
			return err
		},
		"read": func() error {
			r, err := w.engine.Read(t.Context(), part(0), engine.ReadRequest{MaxBytes: 1 << 20, CurrentEpoch: karst.NoEpoch, LastFetched: karst.NoEpoch})
			if err == nil {
				r.Release()
			}
			return err
		},
		"read memory": func() error {
			r, _, err := w.engine.ReadMemory(part(0), engine.ReadRequest{MaxBytes: 1 << 20, CurrentEpoch: karst.NoEpoch, LastFetched: karst.NoEpoch})
			if err == nil && r != nil {
				r.Release()
			}
			return err
		},
		"list offsets": func() error {
			_, err := w.engine.ListOffset(t.Context(), part(0), 0, karst.NoEpoch, false)
			return err
		},
		"epoch end": func() error {
			_, err := w.engine.EpochEnd(part(0), karst.NoEpoch, 0)
			return err
		},
		"delete records": func() error {
			_, _, err := w.engine.DeleteRecords(part(0), 1)
			return err
		},
	}
	watch := w.watched.Subscribe()
	defer watch.Close()
	watch.Add(part(0))
	watch.Take() // it counts as changed at once
	if err := w.engine.Offer(t.Context(), []karst.TopicPartition{part(0), part(9)}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-watch.Wait():
	default:
		t.Error("long polls were not woken")
	}
	for what, f := range ask {
		if err := f(); !errors.Is(err, karst.NotLeader.Err()) {
			t.Errorf("%s during the offer: %v", what, err)
		}
	}
	w.produce(part(1), w.batch(nil, 1)) // the others go on
	w.engine.Withdraw([]karst.TopicPartition{part(0), part(9)})
	for what, f := range ask {
		if err := f(); err != nil {
			t.Errorf("%s after the withdrawal: %v", what, err)
		}
	}
}

// Offer returns when nothing is in flight (I2), or with the context's error.
func TestOfferWaits(t *testing.T) {
	slow := faults.Rule{Kind: faults.Slow, Delay: faults.Constant(200 * time.Millisecond), Ops: []store.Op{store.OpCreate}}
	w := newWorldOn(t, faults.New(mem.New(""), 1, slow), 1, engine.Config{}, record.Rules{})
	a, err := w.send(part(0), w.batch(nil, 1, 2, 3))
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := w.engine.Offer(short, []karst.TopicPartition{part(0)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("Offer did not wait:", err)
	}
	if err := w.engine.Offer(t.Context(), []karst.TopicPartition{part(0)}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.Commit.Done():
	default:
		t.Error("I2: an append is in flight")
	}
	// All of it goes along.
	w.flush()
	p, _ := w.Image().Partition(part(0))
	if p.End != 3 {
		t.Errorf("the committed end is %d", p.End)
	}
	if err := w.commit(&metadata.RegisterBroker{Incarnation: 2, Registration: metadata.Registration{ID: 2, Host: "h", Port: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := w.flusher.HandOver(t.Context(), map[karst.TopicPartition]karst.Incarnation{part(0): 2}); err != nil {
		t.Fatal(err)
	}
	w.engine.Withdraw([]karst.TopicPartition{part(0)}) // late: it is not led here any more
	if _, err := w.send(part(0), w.batch(nil, 4)); !errors.Is(err, karst.NotLeader.Err()) {
		t.Error("after the hand-over:", err)
	}
	if p, _ := w.Image().Partition(part(0)); p.Leader != 2 || p.End != 3 || p.Epoch != 1 {
		t.Errorf("%+v", p)
	}
}
