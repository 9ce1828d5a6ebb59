package metadata

import (
	"slices"

	"github.com/karst-io/karst"
)

// Replicas is who may be shown as the replicas of partitions (section 7 of the
// architecture): any replication factor is kept, and as many brokers as there
// are, up to it, are named. It is the view of one image.
type Replicas struct {
	img  *Image
	live []karst.BrokerID // ascending
}

// NewReplicas makes the view of an image.
func NewReplicas(img *Image) Replicas {
	r := Replicas{img: img}
	for b := range img.LiveBrokers() {
		r.live = append(r.live, b.ID)
	}
	slices.Sort(r.live)
	return r
}

// Live reports whether a broker has a live incarnation.
func (r Replicas) Live(id karst.BrokerID) bool {
	_, live := slices.BinarySearch(r.live, id)
	return live
}

// Leader is the broker that leads a partition; -1 if no live one does.
func (r Replicas) Leader(p *PartitionState) karst.BrokerID {
	if b, ok := r.img.Broker(p.Leader); ok && b.Phase == Live {
		return b.ID
	}
	return -1
}

// Of lists the replicas of a partition of a topic with a replication factor:
// those assigned, in their order, if all are live and the leader is one of them.
// Brokers that are not live are replaced by others as long as there are some, and
// as many are added as the factor asks for, so that no partition looks
// under-replicated: in the order of their ids after the leader's. A preferred
// leader that is not live is not replaced in its place, the first: no other is
// preferred. A leader that is none of those assigned has the first place. A
// partition without a live leader keeps the replicas it has. Do not change the
// result.
func (r Replicas) Of(p *PartitionState, factor int16) []karst.BrokerID {
	leader := r.Leader(p)
	if leader < 0 {
		return p.Replicas
	}
	if p.Factor > 0 {
		factor = p.Factor
	}
	n := min(max(int(factor), len(p.Replicas), 1), len(r.live))
	among := slices.Contains(p.Replicas, leader)
	if among && len(p.Replicas) == n && !slices.ContainsFunc(p.Replicas, func(id karst.BrokerID) bool { return !r.Live(id) }) {
		return p.Replicas
	}
	return r.mend(p.Replicas, leader, among, n)
}

// mend shows n replicas in place of those assigned; among says whether the
// leader is one of them.
func (r Replicas) mend(assigned []karst.BrokerID, leader karst.BrokerID, among bool, n int) []karst.BrokerID {
	shown := make([]karst.BrokerID, 0, n)
	if !among {
		shown = append(shown, leader)
	}
	at, _ := slices.BinarySearch(r.live, leader)
	ring := slices.Concat(r.live[at:], r.live[:at])
	other := func() { // adds the next one that is not assigned
		for len(ring) > 0 {
			id := ring[0]
			ring = ring[1:]
			if id != leader && !slices.Contains(assigned, id) {
				shown = append(shown, id)
				return
			}
		}
	}
	for _, id := range assigned {
		switch {
		case len(shown) == n:
		case r.Live(id):
			shown = append(shown, id)
		case len(shown) > 0:
			other()
		}
	}
	for len(shown) < n && len(ring) > 0 {
		other()
	}
	return shown
}
