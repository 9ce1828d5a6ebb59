package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
)

// directed is a scenario that steers towards one interleaving.
type directed struct {
	rules     []faults.Rule // of every process
	producers int
	rounds    int
	every     time.Duration // between replacements of the broker
	crash     bool          // the old one crashes; otherwise it goes on, and its clients stay with it
	isolate   bool          // the old one cannot reach the metadata any more
	others    bool          // the new one has another id
	creating  time.Duration // topics are created so often; 0: not
}

// play plays it, heals, and checks everything.
func (d directed) play(w *World) {
	rng := rand.New(rand.NewPCG(w.Seed, 9))
	w.Start(1, d.rules...)
	ctx, end := context.WithCancel(context.Background())
	defer end()
	a := &admin{w.newClient("admin", 1)}
	a.create(ctx, "s0", 2, nil)
	producing, stop := context.WithTimeout(ctx, time.Duration(d.rounds)*d.every)
	defer stop()
	drain, stopDrain := context.WithCancel(ctx)
	var busy, others sync.WaitGroup
	for range d.producers {
		p := w.newProducer(Load{Idempotent: true, Rate: 20 * time.Millisecond, Records: 3, ValueBytes: 40})
		busy.Go(func() { p.runUntil(drain, producing) })
	}
	c := w.newConsumer(0)
	c.pause = 20 * time.Millisecond
	reading, stopReading := context.WithCancel(ctx)
	var readers sync.WaitGroup
	readers.Go(func() { c.run(reading) })
	if d.creating > 0 {
		others.Go(func() {
			for n := 0; rest(producing, d.creating); n++ {
				a.create(producing, fmt.Sprintf("t%d", n), 1, nil)
			}
		})
	}
	id := karst.BrokerID(1)
	for rest(producing, d.every/2+time.Duration(rng.Int64N(int64(d.every)))) {
		old := w.newest()
		if d.crash {
			old.Crash()
		}
		if d.others {
			id = 3 - id
		}
		if d.isolate {
			old.Store.Add(faults.Rule{Kind: faults.Before, Callers: []store.Caller{store.CallerMetadata}})
		}
		if len(w.alive()) < 3 {
			w.Start(id, d.rules...)
		}
	}
	others.Wait()
	a.hangUp()
	n := &nemesis{w: w, rng: rng}
	n.heal()
	timer := time.AfterFunc(drainMax, stopDrain)
	busy.Wait()
	timer.Stop()
	stopDrain()
	stopReading()
	readers.Wait()
	w.finish()
}
