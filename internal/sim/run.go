package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/karst-io/karst"
)

// Scenario is what happens in a world.
type Scenario struct {
	Duration  time.Duration // until everything is healed
	Producers []Load
	Consumers int
	Crowd     Crowd
	Churn     int     // names of topics that come and go
	Harsh     float64 // scales the chances of faults
	Outage    time.Duration
	Calm      bool // no nemesis
	Brokers   int  // at the start; 0: one, and rivals that take its place
	Patient   bool // the cluster's timing is the default's
}

// draw makes a scenario out of a seed.
func draw(r *rand.Rand) Scenario {
	s := Scenario{
		Duration: time.Duration(15+r.IntN(25)) * time.Second, Consumers: 1 + r.IntN(2), Churn: r.IntN(4),
		Harsh: []float64{0, 0.3, 1, 1}[r.IntN(4)], Outage: []time.Duration{2 * time.Second, 12 * time.Second, 40 * time.Second}[r.IntN(3)],
	}
	for k := range 2 + r.IntN(3) {
		s.Producers = append(s.Producers, Load{
			Idempotent: k < 2 || r.IntN(3) > 0, Rate: time.Duration(30+r.IntN(200)) * time.Millisecond,
			Records: 1 + r.IntN(12), ValueBytes: 8 + r.IntN(500), LargeEvery: 20 * r.IntN(3), LargeBytes: 12 << 10,
			GiveUp: []time.Duration{0, 8 * time.Second, 30 * time.Second}[r.IntN(3)], ByName: r.IntN(3) == 0,
		})
	}
	if r.IntN(4) == 0 {
		s.Producers = append(s.Producers, Load{Silent: true, Rate: 300 * time.Millisecond, Records: 3, ValueBytes: 50})
	}
	for range r.IntN(3) {
		s.Crowd.Members = append(s.Crowd.Members, 1+r.IntN(4))
	}
	s.Crowd.Simple, s.Crowd.Onlookers = r.IntN(3), 1+r.IntN(2)
	if r.IntN(4) > 0 {
		s.Brokers, s.Patient = 1+r.IntN(7), r.IntN(5) == 0
	}
	return s
}

// fate is what becomes of the brokers of a world.
type fate interface {
	begin()
	// supervise starts again what ended by itself, until ctx ends, as whatever runs
	// a broker does.
	supervise(ctx context.Context)
	// run does what happens to clusters until ctx ends.
	run(ctx context.Context)
	// heal ends all faults. From then on no broker may end by itself.
	heal()
	// finish replaces all brokers, or does not, and returns one to read from.
	finish() *Process
}

// fateOf makes the fate that a scenario wants.
func (w *World) fateOf(s Scenario) fate {
	if s.Brokers == 0 {
		return w.newRivals(s)
	}
	return w.newFleet(s)
}

// Bounds of what may take how long once everything is healed.
const (
	drainMax   = 3 * time.Minute
	catchUpMax = 3 * time.Minute
	startMax   = 2 * time.Minute
	sweepWait  = 45 * time.Second
)

// Play plays a scenario to its end and checks everything.
func (w *World) Play(s Scenario) {
	rng := rand.New(rand.NewPCG(w.Seed, 7))
	fate := w.fateOf(s)
	fate.begin()

	life, end := context.WithCancel(context.Background())
	defer end()
	var watch sync.WaitGroup
	watching, stopWatching := context.WithCancel(life)
	watch.Go(func() { fate.supervise(watching) })
	a := &admin{w.newClient("admin", 1)}
	setup, cancel := context.WithTimeout(life, 5*time.Minute)
	s0 := a.create(setup, "s0", 1+rng.Int32N(3), nil)
	s1 := a.create(setup, "s1", 1, map[string]string{"retention.bytes": "30000"})
	cancel()
	if s0 == nil || s1 == nil {
		s.Crowd = Crowd{}
	}
	groups := w.gather(s.Crowd, s0, s1)

	producing, stopProducing := context.WithTimeout(life, s.Duration)
	defer stopProducing()

	var busy, reading sync.WaitGroup
	drained := make([]bool, len(s.Producers))
	drain, stopDrain := context.WithCancel(life)
	for i, l := range s.Producers {
		p := w.newProducer(l)
		busy.Go(func() { drained[i] = p.runUntil(drain, producing) })
	}
	consumers := make([]*consumer, s.Consumers)
	readUntil, stopReading := context.WithCancel(life)
	for i := range consumers {
		consumers[i] = w.newConsumer(uint64(i))
		reading.Go(func() { consumers[i].run(readUntil) })
	}
	var others sync.WaitGroup
	others.Go(func() { a.run(producing, s.Churn) })
	if !s.Calm {
		others.Go(func() { fate.run(producing) })
	}
	others.Wait()
	<-producing.Done()

	fate.heal()
	timer := time.AfterFunc(drainMax, stopDrain)
	busy.Wait()
	timer.Stop()
	stopDrain()
	for i, ok := range drained {
		if !ok {
			w.reportf(Stuck, "producer %d still has unacknowledged batches %v after everything was healed (B2)", i+1, drainMax)
		}
	}
	groups.settle()
	groups.disperse()
	stopReading()
	reading.Wait()
	w.catchUp(consumers)
	stopWatching()
	watch.Wait()
	w.compare(fate.finish())
}

// catchUp has the consumers catch up.
func (w *World) catchUp(consumers []*consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), catchUpMax)
	defer cancel()
	var wg sync.WaitGroup
	for i, c := range consumers {
		wg.Go(func() {
			for _, b := range c.catchUp(ctx) {
				w.reportf(Stuck, "consumer %d: %s after everything was healed (B1)", i+1, b)
			}
		})
	}
	wg.Wait()
}

// finish replaces the broker by a fresh one, reads everything and compares.
func (w *World) finish() { w.compare(w.replace()) }

// replace replaces the newest broker by a fresh one.
func (w *World) replace() *Process {
	p := w.newest()
	if w.Seed%2 == 0 {
		if err := p.Stop(); err != nil && !p.replaced(err) {
			w.reportf(Unexpected, "stopping %s: %v", p.Name, err)
		}
	} else {
		p.Crash()
		_ = p.Wait()
	}
	return w.Start(1)
}

// compare reads everything from a broker, or from those that it names, compares,
// and stops all brokers.
func (w *World) compare(last *Process) {
	finals, err := w.readAll(last)
	if err != nil {
		w.reportf(Stuck, "the last read: %v", err)
	}
	if err == nil {
		w.Check(finals, w.gone)
		w.lastLook()
		time.Sleep(sweepWait)
		w.audit(last.Broker.Image())
	}
	for _, p := range w.alive() {
		if err := p.Stop(); err != nil && !p.replaced(err) {
			w.reportf(Unexpected, "stopping %s: %v", p.Name, err)
		}
	}
}

// lastLook reads all committed offsets and checks what the clients of groups saw.
func (w *World) lastLook() {
	if err := w.lastOffsets(w.groupNames()); err != nil {
		w.reportf(Stuck, "the last look at committed offsets: %v", err)
	}
	w.CheckGroups()
}

// readAll reads everything there is with a fresh client.
func (w *World) readAll(p *Process) ([]final, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startMax)
	defer cancel()
	for p.Broker.Image() == nil {
		if !rest(ctx, 50*time.Millisecond) || !p.Alive() {
			return nil, fmt.Errorf("%s does not serve: %w", p.Name, p.err)
		}
	}
	img := p.Broker.Image()
	w.checkTopics(p)
	by := map[karst.TopicPartition]*final{}
	reader := w.newConsumer(99)
	reader.version, reader.bytes, reader.pause, reader.name = 17, 1<<20, 0, "last reader"
	reader.keep = func(tp karst.TopicPartition, s stored) { by[tp].records = append(by[tp].records, s) }
	for s := range img.Partitions() {
		t := w.topicByID(s.ID.Topic)
		if t == nil {
			continue // its creation was never known to have happened
		}
		by[s.ID] = &final{tp: s.ID, retained: t.retained}
		reader.at[s.ID] = &position{topic: t}
	}
	ctx, cancel = context.WithTimeout(context.Background(), catchUpMax)
	defer cancel()
	for tp, f := range by {
		t := reader.at[tp].topic
		var errs [2]error
		f.low, errs[0] = reader.certainly(ctx, t, int32(tp.Partition), -2)
		f.high, errs[1] = reader.certainly(ctx, t, int32(tp.Partition), -1)
		if errs != [2]error{} {
			return nil, fmt.Errorf("ListOffsets of %s-%d: %v", t.name, tp.Partition, errs)
		}
		reader.at[tp].next = f.low
	}
	if behind := reader.catchUp(ctx); len(behind) > 0 {
		return nil, fmt.Errorf("%v", behind)
	}
	var finals []final
	for tp, f := range by {
		if w.gone(tp.Topic) {
			continue // catchUp did not read it
		}
		finals = append(finals, *f)
	}
	return finals, nil
}

// checkTopics compares the topics there are with those that must be.
func (w *World) checkTopics(p *Process) {
	img := p.Broker.Image()
	for _, t := range w.allTopics() {
		state, there := img.TopicByID(t.id)
		switch {
		case there && t.deleted:
			w.reportf(TopicBack, "%s (%s) was deleted", t.name, t.id)
		case !there && !t.doomed:
			w.reportf(TopicLost, "%s (%s)", t.name, t.id)
		case there && state.Partitions < t.count():
			w.reportf(TopicLost, "%s (%s) has %d partitions, and had %d", t.name, t.id, state.Partitions, t.count())
		}
	}
}
