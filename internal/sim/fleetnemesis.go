package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/karst-io/karst/internal/cluster/peer/peerpb"
	"github.com/karst-io/karst/internal/store/faults"
)

// action is something that happens to a cluster.
type action struct {
	name   string
	weight int
	do     func(n *stormer, p *seat) bool // false: it could not be done
}

// actions are what happens to clusters. Those that last go on beside what comes
// next.
var actions = []action{
	{"crash", 6, (*stormer).crash},
	{"crash of several", 2, (*stormer).crashSeveral},
	{"clean restart", 3, (*stormer).restart},
	{"rolling restart", 1, (*stormer).roll},
	{"cold start", 1, (*stormer).coldStart},
	{"broker added", 2, (*stormer).grow},
	{"broker removed", 2, (*stormer).shrink},
	{"drain", 2, (*stormer).drain},
	{"zombie", 2, (*stormer).takeOver},
	{"zombie cut off", 2, (*stormer).cutOff},
	{"freeze", 3, (*stormer).freeze},
	{"pair parted", 2, (*stormer).part},
	{"pair parted one way", 2, (*stormer).block},
	{"isolated from peers", 3, (*stormer).isolate},
	{"split in two", 2, (*stormer).split},
	{"isolated from clients", 1, (*stormer).hide},
	{"isolated from the store", 3, (*stormer).starve},
	{"outage", 2, (*stormer).outage},
	{"connections reset", 1, (*stormer).reset},
	{"strike", 4, (*stormer).strike},
}

// stormer does what happens to a fleet.
type stormer struct {
	*fleet
	rng    *rand.Rand
	longer time.Duration // most that something lasts
}

func (f *fleet) run(ctx context.Context) {
	n := &stormer{fleet: f, rng: rand.New(rand.NewPCG(f.w.Seed, 7)), longer: 15 * time.Second}
	next := actions[f.w.Seed%uint64(len(actions))] // so that consecutive seeds have each
	for rest(ctx, time.Duration(200+n.rng.IntN(4000))*time.Millisecond) {
		up := f.up()
		if len(up) == 0 {
			continue
		}
		a := next
		next = n.pick()
		n.await(ctx)
		p := up[n.rng.IntN(len(up))]
		if c := n.controller(); c != nil && n.rng.IntN(3) == 0 {
			p = c
		}
		if !f.at(p).Alive() {
			continue
		}
		n.hit(a, p)
	}
}

func (n *stormer) pick() action {
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	k := n.rng.IntN(total)
	for _, a := range actions {
		if k -= a.weight; k < 0 {
			return a
		}
	}
	panic("BUG: no action")
}

// controller is the broker that is the controller; nil for none. More than one may
// think so.
func (f *fleet) controller() *seat {
	for _, s := range f.up() {
		if f.at(s).Broker.Doing().Controller {
			return s
		}
	}
	return nil
}

// moments are what a cluster can be in the middle of.
var moments = []string{"an election", "a failover", "a hand-over"}

// moment says which of the moments it is.
func (f *fleet) moment() map[string]bool {
	now := map[string]bool{"an election": true}
	for _, s := range f.up() {
		d := f.at(s).Broker.Doing()
		if d.Controller {
			now["an election"] = false
		}
		now["a failover"] = now["a failover"] || d.Failing > 0
		now["a hand-over"] = now["a hand-over"] || d.HandingOver > 0
	}
	return now
}

// await waits for a moment, now and then, for a while.
func (n *stormer) await(ctx context.Context) {
	if n.rng.IntN(2) == 0 {
		return
	}
	want := moments[n.rng.IntN(len(moments))]
	for range 300 {
		if n.moment()[want] || !rest(ctx, 5*time.Millisecond) {
			return
		}
	}
}

// inCluster begins the names of events of clusters.
const inCluster = "cluster: "

// hit does something, and counts it and what it hits.
func (n *stormer) hit(a action, p *seat) {
	hits := []string{a.name, a.name + " / a follower"}
	if n.at(p).Broker.Doing().Controller {
		hits[1] = a.name + " / the controller"
	}
	for what, now := range n.moment() {
		if now {
			hits = append(hits, a.name+" / "+what)
		}
	}
	n.w.note("%s: broker %d, %v", a.name, p.id, hits[1:])
	if !a.do(n, p) {
		return
	}
	for _, h := range hits {
		n.w.event(inCluster + h)
	}
}

func (n *stormer) time(most time.Duration) time.Duration {
	return time.Duration(n.rng.Int64N(int64(most)))
}

// length is how long something lasts: often less than a session.
func (n *stormer) length() time.Duration {
	if n.rng.IntN(2) == 0 {
		return n.time(2 * time.Second)
	}
	return n.time(n.longer)
}

func (n *stormer) crash(p *seat) bool {
	if !n.take(p) {
		return false
	}
	n.at(p).Crash()
	n.forAWhile(n.time(5*time.Second), func() { n.start(p, false) })
	return true
}

func (n *stormer) crashSeveral(p *seat) bool {
	more := 0
	for _, s := range n.up() {
		if s != p && (more == 0 || n.rng.IntN(2) == 0) && n.crash(s) {
			more++
		}
	}
	return more > 0 && n.crash(p)
}

func (n *stormer) restart(p *seat) bool {
	if !n.take(p) {
		return false
	}
	pause := n.time(2 * time.Second)
	n.lasting.Go(func() {
		n.stop(p)
		rest(n.life, pause)
		n.start(p, false)
	})
	return true
}

// stop stops a broker, and kills it if it takes too long.
func (n *stormer) stop(p *seat) {
	if !n.at(p).StopWithin(stopMax) {
		n.w.event("killed")
	}
}

func (n *stormer) roll(*seat) bool {
	all := n.up()
	n.lasting.Go(func() {
		for _, s := range all {
			if n.life.Err() == nil && n.take(s) {
				n.stop(s)
				n.start(s, false)
			}
		}
	})
	return len(all) > 1
}

// coldStart ends all brokers at once, and starts some of them, and later others.
func (n *stormer) coldStart(*seat) bool {
	var all []*seat
	for _, s := range n.up() {
		if n.take(s) {
			all = append(all, s)
		}
	}
	n.down(all, n.rng.IntN(2) == 0)
	for _, s := range all {
		after := n.time(300 * time.Millisecond)
		if n.rng.IntN(3) == 0 {
			after = n.time(8 * time.Second)
		}
		n.forAWhile(after, func() { n.start(s, false) })
	}
	return len(all) > 0
}

func (n *stormer) grow(*seat) bool {
	if len(n.all()) >= fleetMost {
		return false
	}
	n.add()
	return true
}

// shrink stops a broker for good.
func (n *stormer) shrink(p *seat) bool {
	if len(n.all()) == 1 || !n.take(p) {
		return false
	}
	n.mu.Lock()
	delete(n.seats, p.id)
	n.mu.Unlock()
	clean := n.rng.IntN(3) > 0
	n.lasting.Go(func() { n.down([]*seat{p}, clean) })
	return true
}

// drain tells the cluster to lead nothing at a broker, or to do so again.
func (n *stormer) drain(p *seat) bool {
	peers, err := n.operator()
	c := n.controller()
	if err != nil || c == nil {
		return false
	}
	n.mu.Lock()
	p.drained = !p.drained
	req := &peerpb.DrainRequest{Broker: int32(p.id), Drained: p.drained}
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(n.life, 5*time.Second)
	defer cancel()
	if r, err := peers.At(peerAddress(c.id)).Drain(ctx, req); err == nil && r.Error == nil {
		n.w.event(fmt.Sprintf("drained: %t", req.Drained))
	}
	return true
}

// takeOver starts another process with the id of one that goes on.
func (n *stormer) takeOver(p *seat) bool {
	if len(n.w.alive()) > len(n.all())+1 {
		n.bury()
		return false
	}
	if !n.take(p) {
		return false
	}
	n.start(p, n.rng.IntN(2) == 0)
	return true
}

// cutOff is takeOver of one that hears nothing any more, and goes on.
func (n *stormer) cutOff(p *seat) bool {
	n.w.event("cut off")
	switch n.rng.IntN(3) {
	case 0:
		n.at(p).Cut(forClients)
	case 1:
		n.at(p).Cut(forPeers)
	default:
		n.at(p).Cut()
	}
	n.takeOver(p)
	if s := n.at(p); n.isCut(s) { // nobody took its place: whoever runs it does that
		s.Crash()
		n.start(p, false)
	}
	return true
}

// isCut reports whether a process was cut off.
func (n *stormer) isCut(p *Process) bool {
	for _, e := range p.connections() {
		e.mu.Lock()
		cut := e.cut
		e.mu.Unlock()
		if cut {
			return true
		}
	}
	return false
}

// freeze stops a process for a while, as SIGSTOP does, as far as anybody else can
// tell: nothing comes from it. Its clock goes on.
func (n *stormer) freeze(p *seat) bool {
	x, d := n.at(p), n.length()
	stalled := x.Store.Add(faults.Rule{Kind: faults.Slow, Delay: until(time.Now().Add(d))})
	n.w.Network.Freeze(x.Host, true)
	n.forAWhile(d, func() {
		stalled.Remove()
		n.w.Network.Freeze(x.Host, false)
	})
	return true
}

// until delays what comes to a time.
type until time.Time

// Of implements faults.Delay.
func (u until) Of(*rand.Rand, int64) time.Duration { return max(0, time.Until(time.Time(u))) }

// parted parts hosts for a while.
func (n *stormer) parted(d time.Duration, ways ...way) bool {
	for _, w := range ways {
		n.w.Network.Block(w.from, w.to)
	}
	n.forAWhile(d, func() {
		for _, w := range ways {
			n.w.Network.Unblock(w.from, w.to)
		}
	})
	return len(ways) > 0
}

// both are the ways between two hosts; none if they are one.
func both(a, b string) []way {
	if a == b {
		return nil
	}
	return []way{{a, b}, {b, a}}
}

// other is another broker that runs; p itself if there is none.
func (n *stormer) other(p *seat) *seat {
	if c := n.controller(); c != nil && n.rng.IntN(2) == 0 {
		return c
	}
	up := n.up()
	if len(up) == 0 {
		return p
	}
	return up[n.rng.IntN(len(up))]
}

func (n *stormer) part(p *seat) bool {
	return n.parted(n.length(), both(n.at(p).Host, n.at(n.other(p)).Host)...)
}

func (n *stormer) block(p *seat) bool {
	w, k := both(n.at(p).Host, n.at(n.other(p)).Host), n.rng.IntN(2)
	return w != nil && n.parted(n.length(), w[k])
}

func (n *stormer) isolate(p *seat) bool {
	var ways []way
	for _, s := range n.up() {
		if s != p {
			ways = append(ways, both(n.at(p).Host, n.at(s).Host)...)
		}
	}
	return n.parted(n.length(), ways...)
}

func (n *stormer) split(*seat) bool {
	var ways []way
	up := n.up()
	n.rng.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
	for _, a := range up[:len(up)/2] {
		for _, b := range up[len(up)/2:] {
			ways = append(ways, both(n.at(a).Host, n.at(b).Host)...)
		}
	}
	return n.parted(n.length(), ways...)
}

func (n *stormer) hide(p *seat) bool { return n.parted(n.length(), both(clientsHost, n.at(p).Host)...) }

// starved takes the store from processes for a while.
func (n *stormer) starved(d time.Duration, all ...*seat) bool {
	var rules []*faults.Active
	for _, s := range all {
		for _, r := range faults.Outage(0, 0) {
			rules = append(rules, n.at(s).Store.Add(r))
		}
	}
	n.forAWhile(d, func() {
		for _, r := range rules {
			r.Remove()
		}
	})
	return true
}

func (n *stormer) starve(p *seat) bool {
	d := n.length()
	if n.rng.IntN(3) == 0 {
		d = n.time(40 * time.Second) // longer than a log may stall
	}
	return n.starved(d, p)
}

func (n *stormer) outage(*seat) bool { return n.starved(n.length(), n.up()...) }

func (n *stormer) reset(p *seat) bool {
	n.at(p).Reset()
	return true
}

func (n *stormer) strike(p *seat) bool {
	(&nemesis{w: n.w, rng: n.rng}).strike(n.at(p))
	return true
}
