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
		want   []karst.BrokerID
	}{
		"as created":                   {1, ids(7, 3), 2, ids(7, 3)},
		"manual order":                 {1, ids(7, 5, 3), 3, ids(7, 5, 3)},
		"leader moved":                 {2, ids(7, 3), 2, ids(3, 7)},
		"leader is not one of them":    {3, ids(7), 1, ids(5)},
		"a dead one is replaced":       {1, ids(9, 7), 2, ids(7, 3)},
		"more brokers than there were": {2, ids(3), 3, ids(3, 5, 7)},
		"factor above the brokers":     {1, ids(7, 3, 5), 9, ids(7, 3, 5)},
		"no leader":                    {0, ids(9, 8), 2, ids(9, 8)},
	} {
		p := &PartitionState{Leader: c.leader, Replicas: c.has}
		if got := view.Of(p, c.factor); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if view.Live(9) || !view.Live(5) {
		t.Error("Live is wrong")
	}
}
