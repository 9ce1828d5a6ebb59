package sim

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/peer"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store/faults"
)

// fleet is the fate of brokers that form a cluster.
type fleet struct {
	w     *World
	harsh float64
	calm  bool
	first int           // brokers at the start
	given []faults.Rule // of every process, if it is calm
	peers *peer.Peers

	// Of what lasts: a partition, a broker that is away. heal ends it all.
	lasting sync.WaitGroup
	life    context.Context
	end     context.CancelFunc

	mu     sync.Mutex
	rng    *rand.Rand // of faults
	seats  map[karst.BrokerID]*seat
	last   karst.BrokerID // the highest id so far
	healed bool
}

// seat is one broker of a fleet: its processes, of which the newest has the
// others' place, though they may not know.
type seat struct {
	id karst.BrokerID

	// Guarded by the fleet's mu:
	process *Process
	away    bool // somebody sees to its start
	drained bool
}

// fleetMost is how many brokers a fleet grows to.
const fleetMost = 7

func (w *World) newFleet(s Scenario) *fleet {
	f := &fleet{
		w: w, harsh: s.Harsh, calm: s.Calm, first: s.Brokers,
		rng: rand.New(rand.NewPCG(w.Seed, 8)), seats: map[karst.BrokerID]*seat{},
	}
	w.clustered = true
	f.life, f.end = context.WithCancel(context.Background())
	if s.Patient {
		w.Config.SessionTimeout, w.Config.PlacementDelay = 0, 0
	}
	return f
}

func (f *fleet) begin() {
	for range f.first {
		f.add()
	}
}

// rules draws the faults of one process.
func (f *fleet) rules() []faults.Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.healed:
		return nil
	case f.calm:
		return f.given
	}
	return (&nemesis{w: f.w, rng: f.rng, harsh: f.harsh}).rules()
}

// add starts a broker with a new id.
func (f *fleet) add() *seat {
	f.mu.Lock()
	f.last++
	s := &seat{id: f.last}
	f.seats[s.id] = s
	f.mu.Unlock()
	f.start(s, false)
	return s
}

// start starts a process of a broker.
func (f *fleet) start(s *seat, takeOver bool) *Process {
	p := f.w.launch(s.id, takeOver, f.rules()...)
	f.w.note("start %s", p.Name)
	f.mu.Lock()
	defer f.mu.Unlock()
	s.process, s.away = p, false
	return p
}

// all are the brokers that are part of the cluster, up or not.
func (f *fleet) all() []*seat {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(maps.Values(f.seats), func(a, b *seat) int { return int(a.id - b.id) })
}

// up are those whose process runs.
func (f *fleet) up() []*seat {
	return slices.DeleteFunc(f.all(), func(s *seat) bool { return !f.at(s).Alive() })
}

// at is the newest process of a broker.
func (f *fleet) at(s *seat) *Process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return s.process
}

// take has the caller see to the broker's next start; false if somebody does.
func (f *fleet) take(s *seat) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.away || f.seats[s.id] != s {
		return false
	}
	s.away = true
	return true
}

func (f *fleet) supervise(ctx context.Context) {
	for rest(ctx, 300*time.Millisecond) {
		for _, s := range f.all() {
			f.mu.Lock()
			p, away, healed := s.process, s.away, f.healed
			f.mu.Unlock()
			if away || p.Alive() || p.isDoomed() {
				continue
			}
			if healed && p.Broker.Image() != nil && !p.replaced(p.err) {
				f.w.reportf(Stuck, "%s ended by itself after everything was healed (B2): %v", p.Name, p.err)
			}
			f.w.event("restarted by the supervisor")
			f.start(s, false)
		}
	}
}

// forAWhile: undo is called after d, or when everything is healed.
func (f *fleet) forAWhile(d time.Duration, undo func()) {
	f.lasting.Go(func() {
		rest(f.life, d)
		undo()
	})
}

func (f *fleet) heal() {
	f.mu.Lock()
	f.healed = true
	f.mu.Unlock()
	f.end()
	f.lasting.Wait()
	f.w.Network.Heal()
	for _, s := range f.all() {
		if p := f.at(s); !p.Alive() && p.isDoomed() {
			f.start(s, false)
		}
		f.at(s).Store.Heal()
	}
	f.bury()
	f.w.note("healed; %d brokers remain", len(f.all()))
	f.settle()
}

// bury crashes what has been replaced.
func (f *fleet) bury() {
	for _, p := range f.w.alive() {
		if !slices.ContainsFunc(f.all(), func(s *seat) bool { return f.at(s) == p }) {
			f.w.note("crash zombie %s", p.Name)
			f.w.event("zombie crashed")
			p.Crash()
		}
	}
}

// Bounds of a cluster that was healed.
const (
	wholeMax = 90 * time.Second
	quietFor = 15 * time.Second
	// claimsLast is how long claims may come that faults from before have led to: a
	// request may hang for so long.
	claimsLast = 25 * time.Second
)

// settle wants the cluster whole again within wholeMax, by itself, and then nobody
// to claim anything: not after what is due to faults from before.
func (f *fleet) settle() {
	if f.wait() {
		f.quiet(claimsLast, quietFor)
	}
}

// wait waits until the cluster is whole; false if that takes too long.
func (f *fleet) wait() bool {
	began := time.Now()
	why := f.unsettled()
	for why != "" && time.Since(began) < wholeMax {
		time.Sleep(100 * time.Millisecond)
		why = f.unsettled()
	}
	if why != "" {
		f.w.reportf(Stuck, "the cluster is not whole %v after it was healed (B1): %s", wholeMax, why)
		return false
	}
	f.w.note("whole after %v", time.Since(began))
	return true
}

// quiet wants nobody to claim anything for a while, which begins after a time.
func (f *fleet) quiet(after, d time.Duration) {
	time.Sleep(after)
	before := f.claims()
	time.Sleep(d)
	if n := f.claimsSince(before); n > 0 {
		f.w.reportf(Stuck, "%d claims of the metadata term in a cluster in which nothing happens", n)
	}
}

// claims are those that each process has tried.
func (f *fleet) claims() map[*Process]int64 {
	all := map[*Process]int64{}
	for _, s := range f.all() {
		p := f.at(s)
		all[p] = p.Broker.Doing().Claims
	}
	return all
}

func (f *fleet) claimsSince(before map[*Process]int64) (n int64) {
	for p, now := range f.claims() {
		n += now - before[p]
	}
	return n
}

// unsettled says what is missing for a cluster to be whole; "": nothing.
func (f *fleet) unsettled() string {
	all := f.all()
	var controller *Process
	for _, s := range all {
		p := f.at(s)
		if p.Broker.Image() == nil {
			return p.Name + " does not serve"
		}
		if p.Broker.Doing().Controller {
			if controller != nil {
				return fmt.Sprintf("%s and %s are controllers", controller.Name, p.Name)
			}
			controller = p
		}
	}
	if controller == nil {
		return "there is no controller"
	}
	img := controller.Broker.Image()
	live := 0
	for b := range img.Brokers() {
		switch b.Phase {
		case metadata.Live:
			if !slices.ContainsFunc(all, func(s *seat) bool { return s.id == b.ID }) {
				return fmt.Sprintf("incarnation %d of broker %d lives on", b.Incarnation, b.ID)
			}
			live++
		case metadata.Fenced:
			return fmt.Sprintf("incarnation %d is not adopted", b.Incarnation)
		}
	}
	if live != len(all) {
		return fmt.Sprintf("%d incarnations of %d brokers", live, len(all))
	}
	for p := range img.Partitions() {
		if b, ok := img.Broker(p.Leader); !ok || b.Phase != metadata.Live {
			return fmt.Sprintf("%s has no leader", p.ID)
		}
	}
	return ""
}

// finish reads from the cluster as it is, from one that was stopped and started
// anew, or from one that crashed as a whole.
func (f *fleet) finish() *Process {
	all := f.all()
	if f.w.Seed%3 > 0 {
		for _, s := range all {
			f.take(s)
		}
		f.down(all, f.w.Seed%3 == 1)
		for _, s := range all {
			f.start(s, false)
		}
	}
	if f.peers != nil {
		f.peers.Close()
	}
	return f.at(all[0])
}

// down ends the processes of brokers, all at once.
func (f *fleet) down(all []*seat, clean bool) {
	var wg sync.WaitGroup
	for _, s := range all {
		p := f.at(s)
		wg.Go(func() {
			if !clean {
				p.Crash()
				_ = p.Wait()
			} else if !p.StopWithin(stopMax) {
				f.w.event("killed")
			}
		})
	}
	wg.Wait()
}

// stopMax is how long a process may take to stop before it is killed.
const stopMax = time.Minute

// operator calls brokers as an operator's tool does.
func (f *fleet) operator() (*peer.Peers, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.peers != nil {
		return f.peers, nil
	}
	cluster, err := metadata.OpenBucket(context.Background(), f.w.Bucket)
	if err != nil {
		return nil, err
	}
	credentials, err := peer.Of(f.w.Config, cluster)
	if err != nil {
		return nil, err
	}
	f.peers = peer.NewPeers(credentials, cluster.ID, func(ctx context.Context, _, at string) (net.Conn, error) {
		return f.w.Network.Dial(ctx, clientsHost, at)
	})
	return f.peers, nil
}
