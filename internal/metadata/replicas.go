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

// Of lists the replicas of a partition of a topic with a replication factor: the
// leader first, as the preferred one; then those it was created with; then, in
// the order of their ids after the leader's, as many others as the factor asks
// for. Brokers that are not live are replaced as long as others are there, so
// that no partition looks under-replicated. A partition without a live leader
// keeps the replicas it has. Do not change the result.
func (r Replicas) Of(p *PartitionState, factor int16) []karst.BrokerID {
	leader := r.Leader(p)
	if leader < 0 {
		return p.Replicas
	}
	n := min(max(int(factor), 1), len(r.live))
	if len(p.Replicas) == n && p.Replicas[0] == leader && !slices.ContainsFunc(p.Replicas, func(id karst.BrokerID) bool { return !r.Live(id) }) {
		return p.Replicas
	}
	shown := make([]karst.BrokerID, 1, n)
	shown[0] = leader
	add := func(id karst.BrokerID) {
		if len(shown) < n && r.Live(id) && !slices.Contains(shown, id) {
			shown = append(shown, id)
		}
	}
	for _, id := range p.Replicas {
		add(id)
	}
	at, _ := slices.BinarySearch(r.live, leader)
	for k := range r.live {
		add(r.live[(at+k)%len(r.live)])
	}
	return shown
}
