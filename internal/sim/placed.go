package sim

import (
	"math/rand/v2"
	"time"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
)

// playFlushDuringFailover: the incarnation that is failed over is alive, and
// writes in bursts. Between two of them nothing tells it that its WAL is sealed,
// and it flushes while the sealer, which is slow, reads.
func (w *World) playFlushDuringFailover() {
	const partitions, rounds = 2, 3
	rng := rand.New(rand.NewPCG(w.Seed, 10))
	p := pace{flush: 400 * time.Millisecond, rules: []faults.Rule{
		{Kind: faults.Slow, Delay: faults.Uniform(300 * time.Millisecond), Callers: []store.Caller{store.CallerRecovery}},
		{Kind: faults.Slow, Delay: faults.Uniform(20 * time.Millisecond)},
	}}
	c := w.newMembers()
	defer c.close()
	old := c.join(p)
	c.create(partitions)
	for range rounds {
		heir := c.join(p)
		for range 20 {
			old.append(c.part(rng.IntN(partitions)), 1+rng.IntN(3), false)
			time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
		}
		time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
		heir.failover(old)
		old.append(c.part(0), 1, false) // it meets the tombstone, or is told that it does not lead
		old = heir
	}
	old.append(c.part(0), 1, false)
	c.check(partitions)
}

// playReturn: a partition leaves a live incarnation and comes back, while batches
// of its first epoch there, whose client is gone, are still on their way to the
// WAL. Then the incarnation crashes.
func (w *World) playReturn() {
	const rounds = 3
	rng := rand.New(rand.NewPCG(w.Seed, 11))
	p := pace{flush: time.Minute, rules: []faults.Rule{{Kind: faults.Slow, Delay: faults.Uniform(20 * time.Millisecond)}}}
	c := w.newMembers()
	defer c.close()
	home := c.join(p)
	c.create(1)
	tp := c.part(0)
	for range rounds {
		away := c.join(p)
		for range 1 + rng.IntN(5) {
			home.produce(tp, 1+rng.IntN(2))
		}
		slow := home.store.Add(faults.Rule{Kind: faults.Slow, Delay: faults.Constant(2 * time.Second), Ops: []store.Op{store.OpCreate}, Callers: []store.Caller{store.CallerWAL}})
		home.append(tp, 1+rng.IntN(2), true)
		time.Sleep(100 * time.Millisecond)
		slow.Remove()
		home.handOver(tp, away)
		for range rng.IntN(2) {
			away.produce(tp, 1)
		}
		away.handOver(tp, home)
		for range 1 + rng.IntN(5) {
			home.produce(tp, 1+rng.IntN(2))
		}
		home.crash()
		away.failover(home)
		home = away
	}
	home.append(tp, 1, false)
	c.check(1)
}
