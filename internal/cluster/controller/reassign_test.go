package controller

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store/mem"
)

func ids(all ...karst.BrokerID) []karst.BrokerID { return all }

// cluster starts a controller with as many brokers, 0 and up, on the racks given.
func cluster(t *testing.T, cfg Config, racks ...string) *node {
	t.Helper()
	n := start(t, mem.New("reassign"), cfg)
	for id, rack := range racks {
		_, err := n.Register(t.Context(), Registration{ID: karst.BrokerID(id), Rack: rack})
		must(t, err)
	}
	return n
}

// apply commits a record as others would.
func (n *node) apply(t *testing.T, r ...metadata.Record) {
	t.Helper()
	must(t, n.propose(t.Context(), func(*metadata.Image) ([]metadata.Record, error) { return r, nil }))
}

func (n *node) assigned(t *testing.T, name string, replicas ...[]karst.BrokerID) karst.TopicID {
	t.Helper()
	s, err := n.CreateTopic(t.Context(), TopicSpec{Name: name, Partitions: -1, ReplicationFactor: -1, Assignment: replicas})
	must(t, err)
	return s.ID
}

func (n *node) partition(t *testing.T, id karst.TopicID, at karst.Partition) *metadata.PartitionState {
	t.Helper()
	p, ok := n.replica.Image().Partition(karst.TopicPartition{Topic: id, Partition: at})
	if !ok {
		t.Fatal("no such partition")
	}
	return p
}

// move hands a partition over, as its leader does when it is asked to.
func (n *node) move(t *testing.T, request uint64, p *metadata.PartitionState, to karst.Incarnation) {
	t.Helper()
	must(t, n.Commit(t.Context(), metadata.CommitRequest{Incarnation: p.Leader, Request: request, Ranges: []metadata.Range{
		{Partition: p.ID, Epoch: p.Epoch, Start: p.End, End: p.End, NewLeader: to},
	}}))
}

// TestReassignRules are Kafka's, as ReplicationControlManager has them.
func TestReassignRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := cluster(t, Config{}, "", "", "")
		defer n.shutdown(t)
		id := n.assigned(t, "t", ids(0, 1))
		n.apply(t, &metadata.FenceIncarnation{Incarnation: 3}) // broker 2 stays registered
		at := func(p karst.Partition, replicas ...karst.BrokerID) Reassignment {
			return Reassignment{PartitionName{Topic: "t", Partition: p}, replicas}
		}
		for _, c := range []struct {
			r    Reassignment
			fix  bool
			want karst.Code
		}{
			{Reassignment{PartitionName{Topic: "nope"}, ids(0)}, false, karst.UnknownTopic},
			{Reassignment{PartitionName{ID: karst.TopicID{9}}, ids(0)}, false, karst.UnknownTopic},
			{at(9, 0), false, karst.UnknownTopic},
			{at(0), false, karst.NoReassignment},
			{Reassignment{PartitionName{Topic: "t"}, []karst.BrokerID{}}, false, karst.InvalidAssignment},
			{at(0, 0, 7), false, karst.InvalidAssignment},
			{at(0, 0, -2), false, karst.InvalidAssignment},
			{at(0, 1, 0, 1), false, karst.InvalidAssignment},
			{at(0, 1), true, karst.InvalidReplication},
		} {
			errs, err := n.Reassign(t.Context(), []Reassignment{c.r}, !c.fix)
			must(t, err)
			if code(errs[0]) != c.want {
				t.Errorf("%+v: %v, want code %d", c.r, errs[0], c.want)
			}
		}
		was := n.partition(t, id, 0)
		errs, err := n.Reassign(t.Context(), []Reassignment{at(9, 0), {PartitionName{ID: id}, ids(1, 0)}}, false)
		must(t, err)
		if p := n.partition(t, id, 0); errs[0] == nil || errs[1] != nil || !slices.Equal(p.Replicas, ids(1, 0)) || p.Reassigning() || p.Leader != was.Leader {
			t.Errorf("%v: %+v", errs, p)
		}
	})
}

// TestReassignment goes on until one of the replicas leads, and can be changed
// and cancelled until then.
func TestReassignment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := cluster(t, Config{}, "", "", "", "")
		defer n.shutdown(t)
		id := n.assigned(t, "t", ids(0, 1))
		reassign := func(replicas []karst.BrokerID, previous []karst.BrokerID) {
			t.Helper()
			errs, err := n.Reassign(t.Context(), []Reassignment{{PartitionName{Topic: "t"}, replicas}}, true)
			must(t, err)
			must(t, errs[0])
			if p := n.partition(t, id, 0); replicas != nil && !slices.Equal(p.Replicas, replicas) || !slices.Equal(p.Previous, previous) {
				t.Errorf("replicas %v after %v, want %v after %v", p.Replicas, p.Previous, replicas, previous)
			}
		}
		reassign(ids(2), ids(0, 1))
		reassign(ids(3, 2), ids(0, 1))
		reassign(nil, nil)
		if p := n.partition(t, id, 0); !slices.Equal(p.Replicas, ids(0, 1)) {
			t.Errorf("cancelled: %v", p.Replicas)
		}
		reassign(ids(2, 3), ids(0, 1))
		n.move(t, 1, n.partition(t, id, 0), 4)
		if p := n.partition(t, id, 0); !slices.Equal(p.Replicas, ids(2, 3)) || p.Reassigning() || p.Broker != 3 {
			t.Errorf("after the move: %+v", p)
		}
		// Whoever came to lead instead stays after a cancellation.
		reassign(ids(0), ids(2, 3))
		n.move(t, 1, n.partition(t, id, 0), 2)
		reassign(nil, nil)
		if p := n.partition(t, id, 0); !slices.Equal(p.Replicas, ids(1, 3)) {
			t.Errorf("cancelled under another: %v", p.Replicas)
		}
	})
}

func TestElect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var moved []metadata.Placement
		n := cluster(t, Config{Move: func(m []metadata.Placement) { moved = m }}, "", "", "", "")
		defer n.shutdown(t)
		id := n.assigned(t, "t", ids(0, 1), ids(1, 0), ids(2, 0), ids(3, 0), ids(2, 3))
		n.move(t, 1, n.partition(t, id, 0), 2) // away from the preferred one
		n.move(t, 1, n.partition(t, id, 2), 1)
		n.move(t, 1, n.partition(t, id, 3), 1)
		n.apply(t, &metadata.DrainBroker{ID: 3, Drained: true}, &metadata.FenceIncarnation{Incarnation: 3})
		var all []PartitionName
		for p := range karst.Partition(6) {
			all = append(all, PartitionName{Topic: "t", Partition: p})
		}
		elect := func(preferred bool, want ...karst.Code) []Elected {
			t.Helper()
			got, err := n.Elect(t.Context(), all, preferred)
			must(t, err)
			for i, w := range want {
				if e := got[i].Err; w == 0 && e != nil || w != 0 && code(e) != w {
					t.Errorf("partition %d: %v, want code %d", i, e, w)
				}
			}
			return got
		}
		got := elect(true, 0, karst.ElectionNotNeeded, karst.PreferredNotAvailable, karst.PreferredNotAvailable, karst.PreferredNotAvailable, karst.UnknownTopic)
		if len(moved) != 1 || moved[0].Leader != 1 || moved[0].Partition != got[0].Partition || got[0].Leader != 0 {
			t.Errorf("moved %+v, elected %+v", moved, got[0])
		}
		not := karst.ElectionNotNeeded
		elect(false, not, not, not, not, karst.EligibleNotAvailable, karst.UnknownTopic)
		n.cfg.Move = nil
		elect(true, karst.PreferredNotAvailable)
	})
}

func TestUnregister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := cluster(t, Config{}, "", "")
		defer n.shutdown(t)
		id := n.assigned(t, "t", ids(1))
		_, err := n.Register(t.Context(), Registration{ID: 1}) // 3, and fences 2
		must(t, err)
		for id, want := range map[karst.BrokerID]karst.Code{0: karst.InvalidRequest, 1: karst.InvalidRequest, 7: karst.BrokerNotRegistered} {
			if err := n.Unregister(t.Context(), id); code(err) != want {
				t.Errorf("broker %d: %v", id, err)
			}
		}
		n.apply(t, &metadata.FenceIncarnation{Incarnation: 3}, &metadata.DrainBroker{ID: 1, Drained: true})
		adopt := func(inc karst.Incarnation) {
			must(t, n.Commit(t.Context(), metadata.CommitRequest{Incarnation: inc, Adopt: true, WALEnd: 1}))
		}
		adopt(3)
		if err := n.Unregister(t.Context(), 1); code(err) != karst.InvalidRequest {
			t.Errorf("one incarnation is not adopted: %v", err)
		}
		if _, ok := n.replica.Image().Broker(3); ok {
			t.Error("what could be forgotten was not")
		}
		adopt(2)
		if err := n.Unregister(t.Context(), 1); code(err) != karst.InvalidRequest || n.partition(t, id, 0).Leader != 2 {
			t.Errorf("it is the last leader of a partition: %v", err)
		}
		must(t, n.PlaceLeaders(t.Context()))
		must(t, n.Unregister(t.Context(), 1))
		if img := n.replica.Image(); img.Drained(1) {
			t.Error("it is drained, still")
		}
		if err := n.Unregister(t.Context(), 1); code(err) != karst.BrokerNotRegistered {
			t.Errorf("twice: %v", err)
		}
	})
}

// TestDrainedBrokersGetNothing unless there is no other.
func TestDrainedBrokersGetNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := cluster(t, Config{}, "", "", "")
		defer n.shutdown(t)
		n.apply(t, &metadata.DrainBroker{ID: 1, Drained: true})
		id := n.topic(t, "t").ID
		for p := range n.replica.Image().PartitionsOf(id) {
			if p.Broker == 1 || slices.Contains(p.Replicas, 1) {
				t.Errorf("%s is led by %d of %v", p.ID, p.Broker, p.Replicas)
			}
		}
		id = n.assigned(t, "a", ids(1, 2))
		if p := n.partition(t, id, 0); p.Broker != 2 || !slices.Equal(p.Replicas, ids(1, 2)) {
			t.Errorf("by hand: led by %d of %v", p.Broker, p.Replicas)
		}
		if _, err := n.CreateTopic(t.Context(), TopicSpec{Name: "b", Partitions: -1, ReplicationFactor: -1, Assignment: [][]karst.BrokerID{{1}}}); code(err) != karst.InvalidAssignment {
			t.Errorf("to a drained one alone: %v", err)
		}
		for inc := karst.Incarnation(1); inc < 4; inc += 2 {
			n.apply(t, &metadata.FenceIncarnation{Incarnation: inc}, &metadata.CommitRequest{Incarnation: inc, Adopt: true, WALEnd: 1})
		}
		must(t, n.PlaceLeaders(t.Context()))
		for p := range n.replica.Image().Partitions() {
			if p.Broker != 1 {
				t.Errorf("%s is led by %d, nobody else is live", p.ID, p.Broker)
			}
		}
	})
}

// TestPlacement keeps to the replicas where it can.
func TestPlacement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := cluster(t, Config{}, "", "", "", "")
		defer n.shutdown(t)
		id := n.assigned(t, "t", ids(0, 2), ids(0, 3), ids(0, 2), ids(0, 3), ids(0, 1))
		_, err := n.Reassign(t.Context(), []Reassignment{{PartitionName{ID: id, Partition: 4}, ids(3, 2)}}, true)
		must(t, err)
		n.apply(t, &metadata.FenceIncarnation{Incarnation: 1}, &metadata.CommitRequest{Incarnation: 1, Adopt: true, WALEnd: 1})
		must(t, n.PlaceLeaders(t.Context()))
		for at, want := range []karst.BrokerID{2, 3, 2, 3, 3} {
			if p := n.partition(t, id, karst.Partition(at)); p.Broker != want || p.Reassigning() {
				t.Errorf("partition %d is led by %d, want %d", at, p.Broker, want)
			}
		}
	})
}

// TestSpread is that of failovers and cold starts.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := cluster(t, Config{}, "", "", "")
		defer n.shutdown(t)
		id := n.assigned(t, "t", ids(0, 2), ids(0, 1), ids(0, 2))
		n.apply(t, &metadata.FenceIncarnation{Incarnation: 1})
		at := func(p karst.Partition) *metadata.PartitionState { return n.partition(t, id, p) }
		gone := func(inc karst.Incarnation) bool { return inc == 3 }
		s := NewSpread(n.replica.Image(), func(karst.Incarnation) bool { return false })
		if s.Back(at(0)) != 0 || s.Place(at(0)) != 3 || s.Place(at(1)) != 2 || s.Place(at(2)) != 3 {
			t.Error("not placed with the replicas, or nowhere")
		}
		s = NewSpread(n.replica.Image(), gone)
		if s.Place(at(0)) != 2 || s.Place(at(1)) != 2 {
			t.Error("placed with who is gone soon")
		}
		n.apply(t, &metadata.DrainBroker{ID: 1, Drained: true})
		if s = NewSpread(n.replica.Image(), gone); s.Place(at(2)) != 2 {
			t.Error("not placed with the one that is left, which is drained")
		}
		if s = NewSpread(n.replica.Image(), func(karst.Incarnation) bool { return true }); s.Place(at(2)) != 0 || s.Back(at(0)) != 0 {
			t.Error("placed with nobody")
		}
	})
}

// TestReplicasAreSpread over racks, and the second ones over brokers.
func TestReplicasAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		racks := []string{"a", "a", "b", "b", "c", "c"}
		n := cluster(t, Config{}, racks...)
		defer n.shutdown(t)
		s, err := n.CreateTopic(t.Context(), TopicSpec{Name: "t", Partitions: 30, ReplicationFactor: 3})
		must(t, err)
		places, second := map[karst.BrokerID]int{}, map[string]int{}
		for p := range n.replica.Image().PartitionsOf(s.ID) {
			in := map[string]bool{}
			for _, id := range p.Replicas {
				in[racks[id]] = true
				places[id]++
			}
			if len(in) != 3 || len(p.Replicas) != 3 || p.Replicas[0] != p.Broker {
				t.Errorf("%v, led by %d", p.Replicas, p.Broker)
			}
			second[fmt.Sprint(p.Replicas[:2])]++
		}
		for id, count := range places {
			if count < 10 || count > 20 {
				t.Errorf("broker %d is a replica of %d partitions", id, count)
			}
		}
		if len(second) < 18 {
			t.Errorf("those after the leaders are few: %v", second)
		}
	})
}
