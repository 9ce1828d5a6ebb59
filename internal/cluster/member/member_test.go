package member

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/balance"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/cluster/peer"
	pb "github.com/karst-io/karst/internal/cluster/peer/peerpb"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store/faults"
)

// in runs a test in a bubble of its own, over a fresh world.
func in(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		test(t, w)
	})
}

// together runs several things at once, and waits for all.
func together(all ...func()) {
	var wg sync.WaitGroup
	for _, f := range all {
		wg.Go(f)
	}
	wg.Wait()
}

// Members that start at once, on an empty bucket, agree on one controller, and
// none of them takes the term from another that has just claimed it.
func TestFirstMembers(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		var all []func()
		for n := range 5 {
			all = append(all, func() { w.start(fmt.Sprintf("host%d:1", n)) })
		}
		together(all...)
		w.until(time.Second, "there is a controller", func() bool { return len(w.active()) > 0 })
		time.Sleep(10 * time.Second)
		if n := len(w.active()); n != 1 || w.term() != 1 {
			t.Errorf("%d controllers, in term %d", n, w.term())
		}
	})
}

// The controller dies: another member claims the term, soon, and the others follow
// it.
func TestControllerDies(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		for n := range 5 {
			w.join(fmt.Sprintf("host%d:1", n))
		}
		for round := range 3 {
			was, holder := w.term(), w.active()[0]
			holder.stop()
			w.until(2*time.Second, "another is the controller", func() bool {
				return len(w.active()) == 1 && w.active()[0] != holder
			})
			w.until(2*time.Second, "the dead one is fenced", func() bool {
				_, live := w.active()[0].replica.Image().LiveBroker(holder.ID())
				return !live
			})
			time.Sleep(10 * time.Second)
			if now := w.term(); now != was+1 || len(w.active()) != 1 {
				t.Errorf("round %d: term %d after %d, %d controllers", round, now, was, len(w.active()))
			}
		}
	})
}

// The controller hangs: nobody refuses a connection, and silence has to tell.
func TestControllerHangs(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		for n := range 3 {
			w.join(fmt.Sprintf("host%d:1", n))
		}
		was, holder := w.term(), w.active()[0]
		w.net.part(holder.name, "host0:1", "host1:1", "host2:1")
		holder.store.Add(faults.Rule{Kind: faults.Before})
		w.until(15*time.Second, "another is the controller", func() bool {
			for _, n := range w.active() {
				if n != holder {
					return true
				}
			}
			return false
		})
		w.until(15*time.Second, "the one that hangs is fenced", func() bool {
			for _, n := range w.active() {
				if _, live := n.replica.Image().LiveBroker(holder.ID()); n != holder && !live {
					return true
				}
			}
			return false
		})
		if now := w.term(); now > was+2 {
			t.Errorf("term %d after %d: claims should be few", now, was)
		}
	})
}

// A member that lost the controller alone does not claim: others vouch for it. It
// is fenced, since it cannot poll, and the term stays.
func TestVouched(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		for n := range 3 {
			w.join(fmt.Sprintf("host%d:1", n))
		}
		holder, lost := w.active()[0], w.nodes[0]
		if lost == holder {
			lost = w.nodes[1]
		}
		w.net.part(lost.name, holder.name)
		time.Sleep(30 * time.Second)
		if now := w.term(); now != 1 || lost.Stats().Claims != 0 {
			t.Errorf("term %d, after %d claims", now, lost.Stats().Claims)
		}
		if b, _ := holder.replica.Image().Broker(lost.inc); b != nil && b.Phase == metadata.Live {
			t.Error("who cannot poll is live")
		}
		if lost.Isolated() {
			t.Error("it reads the metadata log, and knows")
		}
		w.net.heal()
		time.Sleep(10 * time.Second)
		must(t, lost.register(lost.inc))
	})
}

// Processes that ask for an id at once get different ones.
func TestIDsAreAssigned(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		all := make([]func(), 6)
		for n := range all {
			p := w.start(fmt.Sprintf("host%d:1", n))
			all[n] = func() {
				if err := p.register(0); err != nil {
					t.Error(p.name, err)
				}
			}
		}
		together(all...)
		ids := map[karst.BrokerID]bool{}
		for _, n := range w.nodes {
			ids[n.ID()] = true
		}
		for id := range karst.BrokerID(len(all)) {
			if !ids[id+1] {
				t.Errorf("ids %v", ids)
			}
		}
	})
}

// A request that is repeated since its answer was lost gets what the first one
// got, whether that is committed already or not.
func TestRegisterAgain(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		w.join("host0:1")
		holder := w.active()[0]
		w.net.listen("silent:1")
		for _, id := range []karst.BrokerID{controller.AssignID, 9} {
			req := &pb.RegisterRequest{Registration: metadata.EncodeRegistration(&metadata.Registration{
				ID: id, Process: metadata.NewProcessID(), Host: "x", Peer: "silent:1",
			})}
			var got [3]*pb.RegisterResponse
			ask := func(n int) {
				var err error
				if got[n], err = holder.Handler().Register(t.Context(), req); err != nil || got[n].Error != nil {
					t.Errorf("id %d: %v, %v", id, err, got[n].Error)
				}
			}
			together(func() { ask(0) }, func() { ask(1) })
			ask(2)
			if got[0].Incarnation != got[1].Incarnation || got[0].Incarnation != got[2].Incarnation || got[0].Broker != got[2].Broker {
				t.Errorf("id %d: %v", id, got)
			}
			// One that it knows of is over: it gets the next.
			req.After = got[0].Incarnation
			ask(0)
			if got[0].Incarnation <= got[1].Incarnation || got[0].Broker != got[1].Broker && id != controller.AssignID {
				t.Errorf("after %d: %v", req.After, got[0])
			}
		}
	})
}

// An id belongs to the process that lives.
func TestRegisterRules(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		first := w.join("host0:1", withID(7))
		second := w.start("host1:1", withID(7))
		if err := second.register(0); !errors.Is(err, karst.DuplicateBroker.Err()) {
			t.Error("a second process with the id:", err)
		}
		// With an operator's word it fences the first.
		third := w.start("host2:1", withID(7), func(c *Config, _ *Deps) { c.TakeOver = true })
		must(t, third.register(0))
		img := third.replica.Image()
		if b, _ := img.LiveBroker(7); b.Incarnation != third.inc {
			t.Errorf("incarnation %d has the id", b.Incarnation)
		}
		// Not when it comes again: then it is the one that was replaced.
		must(t, first.replica.WaitFor(t.Context(), img.Position()))
		if err := first.register(first.inc); !errors.Is(err, karst.DuplicateBroker.Err()) {
			t.Error("who was replaced:", err)
		}
		// The dead are replaced, at once.
		third.stop()
		began := time.Now()
		must(t, second.register(0))
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the successor of a dead process waited %s", took)
		}
		// Who does not answer may live: its session has to end first.
		w.net.part("host1:1", "host0:1", "host2:1", "host3:1")
		fourth := w.start("host3:1", withID(7))
		must(t, fourth.register(0))
	})
}

// A broker whose write-ahead log the controller cannot reach is refused, and one
// that does not say which process it is.
func TestRegisterRefuses(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		holder := w.join("host0:1", func(_ *Config, d *Deps) {
			d.Reachable = func(_ context.Context, url string) error { return fmt.Errorf("no way to %s", url) }
		})
		n := w.start("host1:1", func(c *Config, _ *Deps) { c.Self.WALURL = "file:///elsewhere" })
		if err := n.register(0); !errors.Is(err, karst.InvalidRequest.Err()) {
			t.Error("an unreachable log:", err)
		}
		for _, reg := range [][]byte{nil, {0xff}, metadata.EncodeRegistration(&metadata.Registration{ID: 5, Host: "h"})} {
			r, err := holder.Handler().Register(t.Context(), &pb.RegisterRequest{Registration: reg})
			if err != nil || r.Error == nil {
				t.Errorf("%x was registered as %v", reg, r)
			}
		}
	})
}

// What is asked of a controller elsewhere returns when the own image has it.
func TestRemoteController(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		for n := range 3 {
			w.join(fmt.Sprintf("host%d:1", n))
		}
		for _, n := range w.nodes {
			s := n.topic("t."+n.name[:5], 3)
			if got, ok := n.replica.Image().Topic(s.Name); !ok || got.ID != s.ID {
				t.Errorf("%s created a topic and does not know it", n.name)
			}
			for p := range n.replica.Image().PartitionsOf(s.ID) {
				b, _ := n.replica.Image().Broker(p.Leader)
				leader := w.nodes[0]
				for _, o := range w.nodes {
					if o.ID() == b.ID {
						leader = o
					}
				}
				must(t, leader.replica.WaitFor(t.Context(), n.replica.Image().Position()))
				to := n.inc%3 + 1
				r := metadata.CommitRequest{Incarnation: p.Leader, Request: uint64(leader.replica.Image().Position().Number), Ranges: []metadata.Range{
					{Partition: p.ID, Epoch: p.Epoch, Start: p.End, End: p.End, NewLeader: to},
				}}
				must(t, leader.Commit(t.Context(), r))
				if now, _ := leader.replica.Image().Partition(p.ID); now.Epoch != p.Epoch+1 {
					t.Errorf("%s committed a hand-over and does not know it", leader.name)
				}
				must(t, leader.Commit(t.Context(), r)) // the answer was lost
			}
		}
		_, err := w.nodes[0].CreateTopic(t.Context(), controller.TopicSpec{Name: "t.host0", Partitions: 1, ReplicationFactor: 1})
		if !errors.Is(err, karst.TopicExists.Err()) {
			t.Error("a topic that is there:", err)
		}
		seen := map[karst.ProducerID]bool{}
		for range 3 {
			for _, n := range w.nodes {
				first, count, err := n.AllocateProducerIDs(t.Context())
				must(t, err)
				if seen[first] || count <= 0 {
					t.Errorf("producer ids %d+%d", first, count)
				}
				seen[first] = true
			}
		}
		r := metadata.CommitRequest{Incarnation: w.nodes[0].inc, Adopt: true, WALEnd: 1}
		resp, err := w.active()[0].Handler().Commit(t.Context(), &pb.CommitRequest{Request: metadata.EncodeRequest(&r)})
		if err != nil || resp.Error == nil {
			t.Error("a broker may adopt:", resp, err)
		}
	})
}

// A request of a client is executed by the controller, wherever that is.
func TestForward(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		for n := range 3 {
			w.join(fmt.Sprintf("host%d:1", n))
		}
		holder := w.active()[0]
		for _, n := range w.nodes {
			answer, done, err := n.ForwardRequest(t.Context(), 19, 7, "client", []byte("it"))
			if n == holder {
				if done || err != nil {
					t.Errorf("the controller forwards: %q, %v", answer, err)
				}
				continue
			}
			if !done || err != nil || string(answer) != holder.name+" did it" {
				t.Errorf("%s: %q, %v, %v", n.name, answer, done, err)
			}
		}
	})
}

// A request that was forwarded and may have been executed is not executed again,
// not even by who has become the controller meanwhile.
func TestForwardUnknown(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		asked := make(chan struct{})
		hang := func(_ *Config, d *Deps) {
			d.Forward = func(ctx context.Context, _, _ int16, _ string, _ []byte) ([]byte, error) {
				close(asked)
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}
		w.join("host0:1", hang)
		holder, other := w.active()[0], w.join("host1:1")
		together(
			func() {
				answer, done, err := other.ForwardRequest(t.Context(), 19, 7, "", nil)
				if done || !errors.Is(err, karst.TimedOut.Err()) {
					t.Errorf("%q, %v, %v: the outcome is not known", answer, done, err)
				}
			},
			func() {
				<-asked
				w.net.part(holder.name, other.name)
				w.until(30*time.Second, "the other is the controller", other.Active)
			},
		)
	})
}

// What is to be handed over is said at once, also to a broker that was between two
// polls when it was decided; and again, in case the answer was lost.
func TestMovesAreTold(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		holder, other := w.join("host0:1"), w.join("host1:1")
		s := holder.topic("t", 2)
		w.net.part(holder.name, other.name)
		time.Sleep(5 * time.Second) // its polls have ended, its session has not
		for p := range holder.replica.Image().PartitionsOf(s.ID) {
			if p.Leader == other.inc {
				holder.Move([]metadata.Placement{{Partition: p.ID, Leader: holder.inc}})
			}
		}
		for n, most := range []time.Duration{10 * time.Millisecond, holder.beat()} {
			began := time.Now()
			r, err := holder.Handler().Poll(t.Context(), &pb.PollRequest{Incarnation: uint64(other.inc), Position: holder.position()})
			must(t, err)
			if took := time.Since(began); len(r.Moves.GetTo()) != 1 || took > most {
				t.Errorf("poll %d: told of %v after %s", n, r.Moves, took)
			}
		}
	})
}

// A broker that says that it stops is given nothing, and what it leads is taken.
func TestDrain(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		for n := range 3 {
			w.join(fmt.Sprintf("host%d:1", n))
		}
		n := w.nodes[1]
		s := n.topic("t", 6)
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			n.Drain(t.Context())
		}()
		request := uint64(1000)
		w.until(10*time.Second, "it leads nothing", func() bool {
			n.mu.Lock()
			moves := n.moves
			n.moves = nil
			n.mu.Unlock()
			for _, m := range moves {
				p, _ := n.replica.Image().Partition(m.Partition)
				if p.Leader != n.inc || p.Epoch != m.Epoch {
					continue
				}
				request++
				must(t, n.Commit(t.Context(), metadata.CommitRequest{Incarnation: n.inc, Request: request, Ranges: []metadata.Range{
					{Partition: p.ID, Epoch: p.Epoch, Start: p.End, End: p.End, NewLeader: m.To},
				}}))
			}
			return n.replica.Image().LeadCount(n.inc) == 0
		})
		<-drained
		must(t, n.Depart(t.Context(), n.inc))
		n.stop()
		for p := range w.active()[0].replica.Image().PartitionsOf(s.ID) {
			if b, ok := w.active()[0].replica.Image().Broker(p.Leader); !ok || b.Phase != metadata.Live {
				t.Errorf("%s is led by %d", p.ID, p.Leader)
			}
		}
	})
}

// What a controller remembers of brokers ends with them.
func TestDirectorForgets(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		holder := w.join("host0:1")
		n := w.join("host1:1")
		for range 20 {
			must(t, n.register(n.inc))
			time.Sleep(2 * time.Second)
		}
		// One that was fenced polls on for a while.
		_, err := holder.Handler().Poll(t.Context(), &pb.PollRequest{Incarnation: 2, Position: peer.EncodePosition(metadata.Position{})})
		must(t, err)
		time.Sleep(2 * time.Second)
		d := holder.director.Load()
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.loads) != 2 || len(d.leaving) != 0 {
			t.Errorf("loads of %d incarnations, %d leaving, of 2 that live", len(d.loads), len(d.leaving))
		}
	})
}

// What a broker says of its load is a number, of what there is.
func TestLoads(t *testing.T) {
	l := balance.Load{BytesIn: 1, BytesOut: 2, Requests: 3, Hot: map[karst.TopicPartition]float64{
		{Topic: karst.TopicID{1}, Partition: 2}: 4, {Topic: karst.TopicID{1}}: 5, {Topic: karst.TopicID{2}}: 6,
	}}
	got, err := decodeLoad(encodeLoad(l))
	must(t, err)
	if fmt.Sprint(got) != fmt.Sprint(l) {
		t.Errorf("%v became %v", l, got)
	}
	if _, err := decodeLoad(nil); err != nil {
		t.Error(err)
	}
	id := make([]byte, 16)
	nan, inf := 0.0, 1e308
	nan, inf = nan/nan, inf*10
	for name, m := range map[string]*pb.Load{
		"columns":  {Topics: [][]byte{id}, Topic: []uint32{0}, Partition: []int32{0}},
		"topic":    {Topic: []uint32{0}, Partition: []int32{0}, Rate: []float64{1}},
		"infinite": {BytesIn: inf},
		"negative": {BytesOut: -1},
		"none":     {Topics: [][]byte{id}, Topic: []uint32{0}, Partition: []int32{0}, Rate: []float64{nan}},
		"too many": {Topics: [][]byte{id}, Topic: make([]uint32, hotMax+1), Partition: make([]int32, hotMax+1), Rate: make([]float64, hotMax+1)},
	} {
		if got, err := decodeLoad(m); err == nil {
			t.Errorf("%s: became %v", name, got)
		}
	}
}

// One that hears nothing of most others suspects itself, and the others find
// another controller.
func TestYields(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		for n := range 4 {
			w.join(fmt.Sprintf("host%d:1", n))
		}
		holder := w.active()[0]
		var others []string
		for _, n := range w.nodes {
			if n != holder {
				others = append(others, n.name)
			}
		}
		w.net.part(holder.name, others...)
		w.until(30*time.Second, "another is the controller", func() bool {
			for _, n := range w.active() {
				if n != holder {
					return true
				}
			}
			return false
		})
		for _, n := range w.nodes {
			if b, _ := n.replica.Image().Broker(n.inc); n != holder && b.Phase != metadata.Live {
				t.Errorf("%s was fenced", n.name)
			}
		}
		w.net.heal()
		time.Sleep(30 * time.Second)
		if n := len(w.active()); n != 1 {
			t.Errorf("%d controllers", n)
		}
	})
}

// Who yielded is sure of itself only if nobody took its place.
func TestSure(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		n := w.start("host0:1")
		n.stop()
		for process, sure := range map[metadata.ProcessID]bool{n.cfg.Self.Process: true, {9}: false} {
			h := &holding{m: n.Member, sure: true}
			held, err := n.replica.Holder(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			h.begin(t.Context(), metadata.Held{Term: held.Term, Claim: metadata.Claim{Process: process}})
			if h.sure != sure || !h.running() {
				t.Errorf("after a holder %v: sure %v, running %v", process, h.sure, h.running())
			}
			h.end()
		}
	})
}
