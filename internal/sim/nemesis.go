package sim

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
)

// nemesis does to a world what happens to clusters.
type nemesis struct {
	w      *World
	rng    *rand.Rand
	harsh  float64 // scales the chances of faults
	outage time.Duration
}

// rivals is the fate of one broker that is replaced, and of those that it should
// have been replaced by long ago.
type rivals struct {
	*nemesis
	keeper *nemesis // starts what ended by itself
	calm   bool
	healed atomic.Bool
}

func (w *World) newRivals(s Scenario) *rivals {
	return &rivals{
		nemesis: &nemesis{w: w, rng: rand.New(rand.NewPCG(w.Seed, 7)), harsh: s.Harsh, outage: s.Outage},
		keeper:  &nemesis{w: w, rng: rand.New(rand.NewPCG(w.Seed, 8)), harsh: s.Harsh}, calm: s.Calm,
	}
}

func (r *rivals) begin() {
	rules := r.rules()
	if r.calm {
		rules = nil
	}
	r.w.Start(1, rules...)
}

func (r *rivals) supervise(ctx context.Context) {
	r.w.supervise(ctx, r.healed.Load, func() *Process {
		if r.calm || r.healed.Load() {
			return r.w.Start(1)
		}
		return r.keeper.restart()
	})
}

func (r *rivals) heal() {
	if !r.calm {
		r.nemesis.heal()
	}
	r.healed.Store(true)
}

func (r *rivals) finish() *Process { return r.w.replace() }

// rules draws the faults of one process.
func (n *nemesis) rules() []faults.Rule {
	chance := func(most float64) float64 {
		return max(1e-9, n.harsh*most*n.rng.Float64()*n.rng.Float64())
	}
	rules := []faults.Rule{
		{Kind: faults.After, Chance: chance(0.15)},
		{Kind: faults.Before, Chance: chance(0.15)},
		{Kind: faults.Late, Chance: chance(0.1), Delay: faults.Uniform(4 * time.Second)},
		{Kind: faults.Hung, Chance: chance(0.03), Delay: faults.Uniform(20 * time.Second)},
		{Kind: faults.Throttled, Chance: chance(0.15)},
		{Kind: faults.Truncated, Chance: chance(0.15)},
		{Kind: faults.Flipped, Chance: chance(0.05)},
	}
	switch n.rng.IntN(3) {
	case 0:
		rules = append(rules, faults.ObjectStore()...)
	case 1:
		rules = append(rules, faults.Rule{Kind: faults.Slow, Delay: faults.Uniform(10 * time.Millisecond)})
	default:
		rules = append(rules, faults.Rule{Kind: faults.Slow, Delay: faults.LognormalOf(20*time.Millisecond, 800*time.Millisecond)})
	}
	return rules
}

// run does something every few seconds until ctx ends.
func (n *nemesis) run(ctx context.Context) {
	for rest(ctx, time.Duration(500+n.rng.IntN(5000))*time.Millisecond) {
		p := n.w.newest()
		if !p.Alive() {
			continue
		}
		switch n.rng.IntN(12) {
		case 0, 1, 2:
			n.w.event("crash")
			n.w.note("crash %s", p.Name)
			p.Crash()
			rest(ctx, time.Duration(n.rng.IntN(3000))*time.Millisecond)
			n.restart()
		case 3:
			n.w.event("clean restart")
			n.w.note("stop %s", p.Name)
			_ = p.Stop()
			n.restart()
		case 4, 5:
			n.zombie(p)
		case 6, 7:
			n.blackout(ctx)
		case 8:
			n.w.event("connections reset")
			p.Reset()
		case 9, 10:
			n.strike(p)
		default:
			n.bury()
		}
	}
}

// restart starts another process, mostly of the same broker.
func (n *nemesis) restart() *Process {
	id := karst.BrokerID(1)
	if n.rng.IntN(4) == 0 {
		id = 2
	}
	p := n.w.Start(id, n.rules()...)
	n.w.note("start %s", p.Name)
	return p
}

// zombie starts a process while another still runs.
func (n *nemesis) zombie(p *Process) {
	if len(n.w.alive()) > 2 {
		n.bury()
		return
	}
	if n.rng.IntN(2) == 0 {
		n.w.event("cut off")
		p.Cut()
	}
	n.w.event("zombie")
	n.w.note("%s is a zombie", p.Name)
	n.restart()
}

// bury crashes every process but the newest.
func (n *nemesis) bury() {
	newest := n.w.newest()
	for _, p := range n.w.alive() {
		if p != newest {
			n.w.note("crash zombie %s", p.Name)
			n.w.event("zombie crashed")
			p.Crash()
		}
	}
}

// blackout makes the store fail for everybody for a while.
func (n *nemesis) blackout(ctx context.Context) {
	n.w.event("outage")
	var rules []*faults.Active
	d := time.Duration(n.rng.Int64N(int64(n.outage)))
	n.w.note("outage of %v", d)
	for _, p := range n.w.alive() {
		for _, r := range faults.Outage(0, 0) {
			rules = append(rules, p.Store.Add(r))
		}
	}
	rest(ctx, d)
	for _, r := range rules {
		r.Remove()
	}
}

// strike makes a few requests of one kind fail in one way.
func (n *nemesis) strike(p *Process) {
	callers := []store.Caller{store.CallerWAL, store.CallerMetadata, store.CallerFlush, store.CallerReap, store.CallerCatchUp, store.CallerTail}
	kinds := []faults.Kind{faults.Before, faults.After, faults.Late, faults.Hung, faults.Throttled, faults.Truncated, faults.Flipped}
	r := faults.Rule{
		Kind: kinds[n.rng.IntN(len(kinds))], Callers: []store.Caller{callers[n.rng.IntN(len(callers))]},
		Delay: faults.Uniform(8 * time.Second), Times: 1 + n.rng.Int64N(6),
	}
	n.w.event("strike")
	n.w.note("strike %s: %d × %s by %s", p.Name, r.Times, r.Kind, r.Callers[0])
	p.Store.Add(r)
}

// heal ends all faults and leaves one broker.
func (n *nemesis) heal() *Process {
	n.bury()
	p := n.w.newest()
	if !p.Alive() {
		p = n.w.Start(1)
	}
	p.Store.Heal()
	n.w.note("healed; %s remains", p.Name)
	return p
}

// coverage of faults: kind, operation, caller.
type coverage map[faults.Count]int64

func (c coverage) add(all []faults.Count) {
	for _, x := range all {
		n := x.N
		x.N = 0
		c[x] += n
	}
}

func (c coverage) keys() []faults.Count {
	var all []faults.Count
	for k := range c {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b faults.Count) int {
		return (int(a.Kind)-int(b.Kind))*10000 + (int(a.Op)-int(b.Op))*100 + int(a.Caller) - int(b.Caller)
	})
	return all
}
