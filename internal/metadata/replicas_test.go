package metadata

import (
	"slices"
	"testing"

	"github.com/karst-io/karst"
)

func TestReplicas(t *testing.T) {
	img := NewImage(karst.ClusterID{1})
	b := NewBatch(img)
	register := func(inc karst.Incarnation, id karst.BrokerID) {
		if err := b.Try(&RegisterBroker{Incarnation: inc, Registration: Registration{ID: id}}); err != nil {
			t.Fatal(err)
		}
	}
	register(1, 7)
	register(2, 3)
	register(3, 5)
	img, _ = b.Finish(Position{Term: 1, Number: 1}, 0)
	view := NewReplicas(img)
	ids := func(all ...karst.BrokerID) []karst.BrokerID { return all }
	for name, c := range map[string]struct {
		leader karst.Incarnation
		has    []karst.BrokerID
		factor int16
		fewer  int16
		want   []karst.BrokerID
	}{
		"as created":                    {1, ids(7, 3), 2, 0, ids(7, 3)},
		"manual order":                  {1, ids(7, 5, 3), 3, 0, ids(7, 5, 3)},
		"the leader is not preferred":   {2, ids(7, 3), 2, 0, ids(7, 3)},
		"leader is not one of them":     {3, ids(7), 1, 0, ids(5)},
		"nor of several":                {3, ids(7, 3), 2, 0, ids(5, 7)},
		"a dead preferred one":          {1, ids(9, 7), 2, 0, ids(7, 3)},
		"a dead preferred one of three": {2, ids(9, 7, 3), 3, 0, ids(7, 3, 5)},
		"two dead in front":             {2, ids(9, 8, 3), 3, 0, ids(3, 5, 7)},
		"a dead one in between":         {2, ids(7, 9, 3), 3, 0, ids(7, 5, 3)},
		"none to replace it":            {2, ids(7, 9, 3, 5), 4, 0, ids(7, 3, 5)},
		"more brokers than there were":  {2, ids(3), 3, 0, ids(3, 5, 7)},
		"factor above the brokers":      {1, ids(7, 3, 5), 9, 0, ids(7, 3, 5)},
		"fewer assigned by hand":        {1, ids(3, 7), 3, 2, ids(3, 7)},
		"and one of them dead":          {1, ids(7, 9), 3, 2, ids(7, 3)},
		"more than the topic's factor":  {1, ids(3, 7), 1, 0, ids(3, 7)},
		"no leader":                     {0, ids(9, 8), 2, 0, ids(9, 8)},
	} {
		p := &PartitionState{Leader: c.leader, Replicas: c.has, Factor: c.fewer}
		if got := view.Of(p, c.factor); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if view.Live(9) || !view.Live(5) {
		t.Error("Live is wrong")
	}
}

// TestAssignReplicas follows a partition through reassignments: one whose leader
// stays is complete at once, any other when one of the replicas leads.
func TestAssignReplicas(t *testing.T) {
	img := NewImage(karst.ClusterID{1})
	ids := func(all ...karst.BrokerID) []karst.BrokerID { return all }
	p := part(1, 0)
	var req uint64
	hand := func(from, to karst.Incarnation) Record {
		s, _ := img.Partition(p)
		req++
		return &CommitRequest{Incarnation: from, Request: req, Ranges: []Range{{Partition: p, Epoch: s.Epoch, Start: s.End, End: s.End, NewLeader: to}}}
	}
	assign := func(previous []karst.BrokerID, replicas ...karst.BrokerID) Record {
		return &AssignReplicas{Assignments: []Assignment{{Partition: p, Replicas: replicas, Previous: previous}}}
	}
	step := func(r ...Record) {
		t.Helper()
		b := NewBatch(img)
		if err := b.Try(r...); err != nil {
			t.Fatal(err)
		}
		img, _ = b.Finish(Position{Term: 1, Number: img.position.Number + 1}, 0)
		if err := img.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
		back, err := DecodeSnapshot("s", img.cluster, EncodeSnapshot(img))
		if err != nil {
			t.Fatal(err)
		}
		img = back
	}
	want := func(replicas, previous []karst.BrokerID, factor int16) {
		t.Helper()
		s, _ := img.Partition(p)
		if !slices.Equal(s.Replicas, replicas) || !slices.Equal(s.Previous, previous) || s.Factor != factor || s.Reassigning() != (previous != nil) {
			t.Errorf("%v after %v, factor %d; want %v after %v, %d", s.Replicas, s.Previous, s.Factor, replicas, previous, factor)
		}
	}
	for id := range karst.BrokerID(4) {
		step(&RegisterBroker{Incarnation: karst.Incarnation(id + 1), Registration: Registration{ID: id}})
	}
	step(&CreateTopic{ID: topicID(1), Name: "t", ReplicationFactor: 2, Partitions: []NewPartition{{Leader: 1, Replicas: ids(0, 1)}}})
	step(hand(1, 2))
	want(ids(0, 1), nil, 0) // the order stays
	step(hand(2, 3))
	want(ids(2, 1), nil, 0) // a leader that is none of them takes the first place
	step(assign(ids(2, 1), 1, 2))
	want(ids(1, 2), nil, 0) // complete at once
	step(assign(ids(1, 2), 0))
	want(ids(0), ids(1, 2), 1)
	step(hand(3, 4))
	want(ids(0), ids(1, 2), 1) // still in progress
	step(hand(4, 1))
	want(ids(0), nil, 1)
	step(assign(ids(0), 3, 2, 1))
	step(assign(nil, 0, 1))
	want(ids(0, 1), nil, 0)
	b := NewBatch(img)
	for _, bad := range []Record{assign(nil), assign(nil, 1, 1), assign(nil, -1), assign(ids(1, 1), 2)} {
		if err := b.Try(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
