package member

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/balance"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/cluster/failover"
	"github.com/karst-io/karst/internal/cluster/peer"
	pb "github.com/karst-io/karst/internal/cluster/peer/peerpb"
	"github.com/karst-io/karst/internal/cluster/sessions"
	"github.com/karst-io/karst/internal/metadata"
)

// director is what the controller does beside writing, for as long as it holds
// the term. It remembers nothing that the image or the brokers do not tell it
// again.
type director struct {
	m       *Member
	before  metadata.Held // who held the term before
	began   time.Time
	poke    chan struct{} // step now
	ended   chan struct{} // closed when it directs no more
	yielded bool

	work sync.WaitGroup // probes, failovers

	mu       sync.Mutex
	sessions *sessions.Sessions
	loads    map[karst.Incarnation]balance.Load
	leaving  map[karst.Incarnation]bool
	failing  map[karst.Incarnation]bool // failovers at work
	warm     bool                       // somebody else is alive, or was waited for
	moves    map[karst.TopicPartition]balance.Move
	asked    map[karst.TopicPartition]balance.Move // of moves, those that somebody asked for
	version  uint64                                // of moves
	told     map[karst.Incarnation]uint64          // the version that an answer to a poll had
	moved    map[karst.TopicPartition]time.Time    // when it was asked to move last
	pinned   map[karst.TopicPartition]time.Time    // when somebody asked for a move
	changed  chan struct{}                         // closed and replaced when moves change
	settled  time.Time                             // when a move was done, or void, last
	planned  time.Time
	members  int // live brokers as of the last plan
}

// Pace of a director.
const (
	stepEvery    = 100 * time.Millisecond
	planEvery    = time.Second
	failoversMax = 8
	// registersFirst is how long a controller that starts waits for its own
	// registration: that fences the life before, and who is adopted needs an heir.
	registersFirst = 500 * time.Millisecond
	movedLately    = time.Minute
	movedMax       = 1 << 16
	pinnedFor      = 10 * time.Minute // a leader that was asked for stays
	// loadsLag is how long loads show what was before a move: brokers measure over
	// some seconds, and say so with a poll.
	loadsLag    = 8 * time.Second
	stepTimeout = 30 * time.Second
)

// errYield: the director suspects itself.
var errYield = errors.New("the controller suspects itself")

func newDirector(m *Member, before metadata.Held, cfg sessions.Config) *director {
	now := time.Now()
	return &director{
		m: m, before: before, began: now, poke: make(chan struct{}, 1), ended: make(chan struct{}),
		sessions: sessions.New(cfg, now), loads: map[karst.Incarnation]balance.Load{}, leaving: map[karst.Incarnation]bool{},
		failing: map[karst.Incarnation]bool{}, moves: map[karst.TopicPartition]balance.Move{}, asked: map[karst.TopicPartition]balance.Move{}, moved: map[karst.TopicPartition]time.Time{}, pinned: map[karst.TopicPartition]time.Time{},
		told: map[karst.Incarnation]uint64{}, changed: make(chan struct{}),
	}
}

// run directs until ctx ends, or returns errYield.
func (d *director) run(ctx context.Context) error {
	d.begin()
	t := time.NewTicker(stepEvery)
	defer t.Stop()
	for {
		if err := d.step(ctx); err != nil {
			d.yielded = true
			return err
		}
		select {
		case <-t.C:
		case <-d.poke:
		case <-ctx.Done():
			return nil
		}
	}
}

// begin gives everybody a fresh session. The controller before us was silent
// already for the time that made us look.
func (d *director) begin() {
	img := d.m.deps.Replica.Image()
	d.m.mu.Lock()
	contact := d.m.contact
	d.m.mu.Unlock()
	if earliest := d.began.Add(-d.m.cfg.SessionTimeout * 3 / 4); contact.Before(earliest) {
		contact = earliest
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sessions.Follow(d.began, d.others(img))
	for b := range img.LiveBrokers() {
		if b.Process == d.before.Process && d.before.Process != d.m.cfg.Self.Process {
			d.sessions.Heard(b.Incarnation, contact)
			d.sessions.Broke(b.Incarnation)
		}
	}
}

func (d *director) close() {
	close(d.ended)
	d.work.Wait()
}

func (d *director) look() {
	select {
	case d.poke <- struct{}{}:
	default:
	}
}

// others are the live incarnations that are not ours.
func (d *director) others(img *metadata.Image) []karst.Incarnation {
	self := d.m.incarnation()
	var all []karst.Incarnation
	for b := range img.LiveBrokers() {
		if b.Incarnation != self {
			all = append(all, b.Incarnation)
		}
	}
	return all
}

// step does what is due.
func (d *director) step(ctx context.Context) error {
	img := d.m.deps.Replica.Image()
	now := time.Now()
	d.mu.Lock()
	decision := d.sessions.Step(now, d.others(img))
	if now.Sub(d.began) >= d.m.cfg.PlacementDelay {
		d.warm = true
	}
	d.mu.Unlock()
	if decision.Yield {
		return errYield
	}
	for _, inc := range decision.Probe {
		d.probe(ctx, img, inc)
	}
	if d.m.incarnation() == 0 && now.Sub(d.began) < registersFirst {
		return nil
	}
	for b := range img.Brokers() {
		if b.Phase == metadata.Fenced || b.Phase == metadata.Live && slices.Contains(decision.Dead, b.Incarnation) {
			d.failover(ctx, b.Incarnation)
		}
	}
	d.place(ctx, img)
	d.forget(ctx, img)
	d.plan(img, now)
	return nil
}

// probe asks an incarnation whether it lives.
func (d *director) probe(ctx context.Context, img *metadata.Image, inc karst.Incarnation) {
	b, ok := img.Broker(inc)
	if !ok {
		return
	}
	d.work.Go(func() {
		a := d.m.probe(ctx, b)
		d.mu.Lock()
		d.sessions.Probed(inc, a)
		d.warm = d.warm || a == sessions.Alive && b.Process != d.m.cfg.Self.Process
		d.mu.Unlock()
		if a == sessions.Gone {
			d.look()
		}
	})
}

// probe asks the process at the address of an incarnation.
func (m *Member) probe(ctx context.Context, b *metadata.BrokerState) sessions.Answer {
	if b.Process == m.cfg.Self.Process {
		if b.Incarnation < m.incarnation() {
			return sessions.Gone
		}
		return sessions.Alive // it is just being registered
	}
	if b.Peer == "" {
		return sessions.Silent
	}
	if b.Peer == m.cfg.Self.Peer {
		return sessions.Gone // its address is ours now
	}
	ctx, cancel := context.WithTimeout(ctx, pingMax)
	defer cancel()
	r, err := m.deps.Peers.Fresh(b.Peer).Ping(ctx, &pb.PingRequest{})
	switch {
	case peer.Refused(err) || peer.Stranger(err):
		return sessions.Gone
	case err != nil:
		return sessions.Silent
	case string(r.Process) != string(b.Process[:]) || karst.Incarnation(r.Incarnation) > b.Incarnation:
		return sessions.Gone
	default:
		return sessions.Alive
	}
}

// failover fences, seals and adopts an incarnation, beside what else is done.
func (d *director) failover(ctx context.Context, inc karst.Incarnation) {
	d.mu.Lock()
	busy := d.failing[inc] || len(d.failing) >= failoversMax
	if !busy {
		d.failing[inc] = true
	}
	d.mu.Unlock()
	if busy {
		return
	}
	d.work.Go(func() {
		began := time.Now()
		err := failover.New(d.failoverDeps(), inc).Run(ctx)
		if err != nil && ctx.Err() == nil {
			d.m.deps.Log.Warn("failover failed, trying again", "incarnation", inc, "err", err)
			d.m.pause(ctx, time.Second)
		}
		d.mu.Lock()
		delete(d.failing, inc)
		d.mu.Unlock()
		if err == nil {
			d.m.counts.failovers.Add(1)
			d.m.deps.Log.Info("failed over", "incarnation", inc, "took", time.Since(began).Round(time.Millisecond))
		}
		d.look()
	})
}

// atWork is how many failovers are being done.
func (d *director) atWork() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.failing)
}

func (d *director) failoverDeps() failover.Deps {
	deps := d.m.deps.Failover
	deps.Controller, deps.Image, deps.Sealer = d.m.deps.Controller, d.m.deps.Replica.Image, d.m.incarnation()
	deps.Place = d.placer()
	if deps.Sealer == 0 {
		deps.Sealer = d.m.deps.Replica.Image().NextIncarnation()
	}
	return deps
}

// placer places the partitions of one failover: spread over who is live, or, on a
// cold start, with the broker that had them or with nobody yet.
func (d *director) placer() failover.Place {
	var of *metadata.Image
	var spread *controller.Spread
	return func(img *metadata.Image, p *metadata.PartitionState) karst.Incarnation {
		d.mu.Lock()
		defer d.mu.Unlock()
		if of != img {
			of, spread = img, controller.NewSpread(img, d.leaves)
		}
		if d.cold(img) {
			return spread.Back(p)
		}
		return spread.Place(p)
	}
}

// leaves reports whether an incarnation is to be given nothing. The caller holds
// mu.
func (d *director) leaves(inc karst.Incarnation) bool { return d.leaving[inc] }

// cold reports whether the cluster is just starting: none of the others that the
// image names was seen yet, and they may come. The caller holds mu.
func (d *director) cold(img *metadata.Image) bool {
	if d.warm {
		return false
	}
	first := karst.BrokerID(-1)
	for b := range img.Brokers() {
		if first >= 0 && b.ID != first {
			return true
		}
		first = b.ID
	}
	return false
}

// place gives leaders to the partitions that have none.
func (d *director) place(ctx context.Context, img *metadata.Image) {
	d.mu.Lock()
	cold := d.cold(img)
	d.mu.Unlock()
	gone := func(inc karst.Incarnation) bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.leaving[inc]
	}
	if !controller.Leaderless(img) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := d.m.deps.Controller.Place(ctx, gone, cold); err != nil && ctx.Err() == nil {
		d.m.deps.Log.Warn("placing leaders failed", "err", err)
	}
}

// forget drops what is known of incarnations whose broker has a newer one. The
// last one of each broker stays, until the broker is unregistered.
func (d *director) forget(ctx context.Context, img *metadata.Image) {
	newest := map[karst.BrokerID]karst.Incarnation{}
	for b := range img.Brokers() {
		newest[b.ID] = b.Incarnation
	}
	for b := range img.Brokers() {
		if b.Phase != metadata.Adopted || newest[b.ID] == b.Incarnation || !img.Forgettable(b.Incarnation) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, stepTimeout)
		_ = d.m.deps.Controller.Forget(ctx, b.Incarnation) // the next step finds out
		cancel()
		return // one at a time: there is no hurry
	}
}

// plan decides which partitions are to move, every now and then, and at once when
// brokers come or are to go.
func (d *director) plan(img *metadata.Image, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	live := 0
	for range img.LiveBrokers() {
		live++
	}
	if now.Sub(d.planned) < planEvery && live == d.members && !d.prune(img) {
		return
	}
	d.planned, d.members = now, live
	dropDead(img, d.leaving)
	dropDead(img, d.loads)
	dropDead(img, d.told)
	d.prune(img)
	next := maps.Clone(d.asked)
	for _, v := range balance.Plan(d.input(img, now)) {
		if _, asked := next[v.Partition]; !asked {
			next[v.Partition] = v
		}
	}
	same := len(next) == len(d.moves)
	for tp, v := range next {
		if old, ok := d.moves[tp]; ok && old.From == v.From && old.Epoch == v.Epoch {
			if s, live := img.Broker(old.To); live && s.Phase == metadata.Live && !d.leaving[old.To] {
				next[tp] = old // it may be on its way
			}
		} else {
			same = false
			d.moved[tp] = now
		}
	}
	d.moves = next
	if len(d.moved) > movedMax {
		clear(d.moved)
	}
	if len(d.pinned) > movedMax {
		clear(d.pinned)
	}
	if !same {
		d.tell()
	}
}

// dropDead drops what is known of incarnations that are not live.
func dropDead[V any](img *metadata.Image, of map[karst.Incarnation]V) {
	maps.DeleteFunc(of, func(inc karst.Incarnation, _ V) bool {
		b, ok := img.Broker(inc)
		return !ok || b.Phase != metadata.Live
	})
}

// prune drops moves that are done or void, and reports whether all are. The
// caller holds mu.
func (d *director) prune(img *metadata.Image) bool {
	had := len(d.moves)
	defer func() {
		if len(d.moves) < had {
			d.settled = time.Now()
		}
	}()
	over := func(tp karst.TopicPartition, v balance.Move) bool {
		s, ok := img.Partition(tp)
		to, live := img.Broker(v.To)
		return !ok || s.Leader != v.From || s.Epoch != v.Epoch || !live || to.Phase != metadata.Live
	}
	maps.DeleteFunc(d.moves, over)
	maps.DeleteFunc(d.asked, over)
	return had > 0 && len(d.moves) == 0
}

// tell wakes the polls that have something to be told. The caller holds mu.
func (d *director) tell() {
	d.version++
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *director) input(img *metadata.Image, now time.Time) balance.Input {
	return balance.Input{
		Image: img, Loads: d.loads, Leaving: d.leaving,
		Settled: func(tp karst.TopicPartition) bool {
			return now.Sub(d.settled) >= loadsLag && now.Sub(d.moved[tp]) >= movedLately
		},
		Pinned: func(tp karst.TopicPartition) bool { return now.Sub(d.pinned[tp]) < pinnedFor },
	}
}

// replan plans anew at once.
func (d *director) replan() {
	d.mu.Lock()
	d.planned = time.Time{}
	d.mu.Unlock()
	d.look()
}

// ask adds moves that were asked for (controller.Config.Move).
func (d *director) ask(moves []metadata.Placement) {
	img := d.m.deps.Replica.Image()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range moves {
		if s, ok := img.Partition(v.Partition); ok && s.Leader != v.Leader {
			m := balance.Move{Partition: v.Partition, Epoch: s.Epoch, From: s.Leader, To: v.Leader, Why: "it was asked for"}
			d.moves[v.Partition], d.asked[v.Partition] = m, m
			d.moved[v.Partition], d.pinned[v.Partition] = time.Now(), time.Now()
		}
	}
	d.tell()
}

// news are the moves of an incarnation, and whether it was not told of some of
// them.
func (d *director) news(inc karst.Incarnation) (moves []peer.Move, version uint64, untold bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	moves = d.movesOf(inc)
	return moves, d.version, len(moves) > 0 && d.told[inc] != d.version
}

func (d *director) tells(inc karst.Incarnation, version uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told[inc] = version
}

// movesOf are the moves of an incarnation. The caller holds mu.
func (d *director) movesOf(inc karst.Incarnation) []peer.Move {
	var all []peer.Move
	for _, v := range d.moves {
		if v.From == inc {
			all = append(all, peer.Move{Partition: v.Partition, Epoch: v.Epoch, To: v.To})
		}
	}
	slices.SortFunc(all, func(a, b peer.Move) int { return a.Partition.Compare(b.Partition) })
	return all
}

// leave ends an incarnation that says that it writes nothing any more.
func (d *director) leave(ctx context.Context, inc karst.Incarnation) error {
	b, ok := d.m.deps.Replica.Image().Broker(inc)
	if !ok || b.Phase == metadata.Adopted {
		return nil
	}
	d.mu.Lock()
	d.leaving[inc] = true
	d.mu.Unlock()
	return failover.New(d.failoverDeps(), inc).Run(ctx)
}

// explain says what the balancer would do if some brokers were drained, too.
func (d *director) explain(drained []int32) []string {
	img := d.m.deps.Replica.Image()
	d.mu.Lock()
	defer d.mu.Unlock()
	in := d.input(img, time.Now())
	in.Drained = map[karst.BrokerID]bool{}
	for _, id := range drained {
		in.Drained[karst.BrokerID(id)] = true
	}
	return balance.Explain(in)
}
