package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/karst-io/karst/internal/store/faults"
)

// staged is a scenario that steers a cluster towards one interleaving.
type staged struct {
	brokers   int
	rules     []faults.Rule // of every process
	tune      func(*World)
	producers int
	rounds    int
	every     time.Duration // between blows
	blow      func(n *stormer)
	moving    time.Duration // leaders are moved so often; 0: not
	creating  time.Duration // topics are created so often; 0: not
}

// play plays it, heals, and checks everything.
func (d staged) play(w *World) {
	if d.tune != nil {
		d.tune(w)
	}
	f := w.newFleet(Scenario{Calm: true, Brokers: d.brokers})
	f.given = d.rules
	f.begin()
	n := &stormer{fleet: f, rng: rand.New(rand.NewPCG(w.Seed, 9)), longer: 5 * time.Second}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	var watch, busy, others, readers sync.WaitGroup
	watching, stopWatching := context.WithCancel(ctx)
	watch.Go(func() { f.supervise(watching) })
	a := &admin{w.newClient("admin", 1)}
	s0 := a.create(ctx, "s0", 4, nil)
	producing, stop := context.WithTimeout(ctx, time.Duration(d.rounds)*d.every)
	defer stop()
	drain, stopDrain := context.WithTimeout(ctx, time.Duration(d.rounds)*d.every+drainMax)
	defer stopDrain()
	for range d.producers {
		p := w.newProducer(Load{Idempotent: true, Rate: 20 * time.Millisecond, Records: 3, ValueBytes: 40})
		busy.Go(func() { p.runUntil(drain, producing) })
	}
	c := w.newConsumer(0)
	c.pause = 20 * time.Millisecond
	reading, stopReading := context.WithCancel(ctx)
	readers.Go(func() { c.run(reading) })
	often := func(every time.Duration, do func(a *admin, k int)) {
		if every == 0 {
			return
		}
		others.Go(func() {
			a := &admin{w.newClient("admin", uint64(2+every))}
			defer a.hangUp()
			for k := 0; rest(producing, every); k++ {
				do(a, k)
			}
		})
	}
	often(d.moving, func(a *admin, _ int) { a.move(producing, s0) })
	often(d.creating, func(a *admin, k int) { a.create(producing, fmt.Sprintf("t%d", k), 1, nil) })
	for rest(producing, d.every/2+n.time(d.every)) {
		if d.blow != nil {
			d.blow(n)
		}
	}
	others.Wait()
	a.hangUp()
	f.heal()
	busy.Wait()
	stopReading()
	readers.Wait()
	stopWatching()
	watch.Wait()
	w.compare(f.finish())
}

// crashAny crashes some broker, and starts it again soon.
func crashAny(n *stormer) {
	if up := n.up(); len(up) > 1 {
		n.crash(up[n.rng.IntN(len(up))])
	}
}

// isolateController parts the controller from all other brokers.
func isolateController(n *stormer) {
	if c := n.controller(); c != nil {
		n.isolate(c)
	}
}
