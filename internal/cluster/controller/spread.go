package controller

import (
	"cmp"
	"slices"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// Placements decides who should lead the leaderless partitions that want reports
// true of, by the image alone. A partition that is being reassigned goes to the
// first replica that is live. Any other goes back to the broker that had it, or, if
// that one is not live, to the replica that leads least; or, if there is none, to
// whoever leads least.
func Placements(img *metadata.Image, want func(*metadata.PartitionState) bool) []metadata.Placement {
	s := newSpread(img, nil)
	if len(s.live) == 0 {
		return nil
	}
	var out []metadata.Placement
	for p := range leaderless(img) {
		if !want(p) {
			continue
		}
		to := s.back(p)
		if to == nil {
			to = s.place(p)
		}
		out = append(out, metadata.Placement{Partition: p.ID, Leader: to.Incarnation})
	}
	return out
}

// spread gives out partitions so that the brokers lead about as many each: the
// live ones that are not gone soon and not drained, or, if all are drained, those.
type spread struct {
	live []load // ascending by id
	ring []int  // of live, alternating between the racks; nil until it is needed
}

type load struct {
	broker *metadata.BrokerState
	leads  int
}

// newSpread spreads over the brokers of an image; a nil gone is nobody.
func newSpread(img *metadata.Image, gone func(inc karst.Incarnation) bool) *spread {
	var drained []load
	s := &spread{}
	for b := range img.LiveBrokers() {
		if gone != nil && gone(b.Incarnation) {
			continue
		}
		l := load{broker: b, leads: img.LeadCount(b.Incarnation)}
		if img.Drained(b.ID) {
			drained = append(drained, l)
		} else {
			s.live = append(s.live, l)
		}
	}
	if len(s.live) == 0 {
		s.live = drained
	}
	slices.SortFunc(s.live, func(a, b load) int { return cmp.Compare(a.broker.ID, b.broker.ID) })
	return s
}

// next is the broker that leads least; of equals the lowest id.
func (s *spread) next() *metadata.BrokerState {
	return s.least(func(karst.BrokerID) bool { return true })
}

// least is the broker that leads least of those that may lead; nil if none may.
func (s *spread) least(may func(karst.BrokerID) bool) *metadata.BrokerState {
	best := -1
	for n := range s.live {
		if may(s.live[n].broker.ID) && (best < 0 || s.live[n].leads < s.live[best].leads) {
			best = n
		}
	}
	if best < 0 {
		return nil
	}
	s.live[best].leads++
	return s.live[best].broker
}

// first is the first broker of those that may lead; nil if none may.
func (s *spread) first(ids []karst.BrokerID) *metadata.BrokerState {
	for _, id := range ids {
		if n := s.find(id); n >= 0 {
			s.live[n].leads++
			return s.live[n].broker
		}
	}
	return nil
}

// back is the broker that a partition without a leader waits for: the first live
// replica of one that is being reassigned, otherwise who led it last. nil if that
// one is not live.
func (s *spread) back(p *metadata.PartitionState) *metadata.BrokerState {
	if b := s.assigned(p); b != nil {
		return b
	}
	return s.first([]karst.BrokerID{p.Broker})
}

// assigned is the first live replica of a partition that is being reassigned.
func (s *spread) assigned(p *metadata.PartitionState) *metadata.BrokerState {
	if !p.Reassigning() {
		return nil
	}
	return s.first(p.Replicas)
}

// place decides who leads a partition that has no leader: one of the replicas if
// any is live, which keeps their order. The spread is not empty.
func (s *spread) place(p *metadata.PartitionState) *metadata.BrokerState {
	if b := s.assigned(p); b != nil {
		return b
	}
	if b := s.least(func(id karst.BrokerID) bool { return slices.Contains(p.Replicas, id) }); b != nil {
		return b
	}
	return s.next()
}

func (s *spread) find(id karst.BrokerID) int {
	n, found := slices.BinarySearchFunc(s.live, id, func(l load, id karst.BrokerID) int { return cmp.Compare(l.broker.ID, id) })
	if !found {
		return -1
	}
	return n
}

// replicas is the leader and others, up to min(factor, brokers). As in Kafka they
// are taken from a ring in which the racks alternate, first from racks that have
// none yet, and from another place in it for each partition of the leader, so that
// what a broker led is not all led by one other when it is gone.
func (s *spread) replicas(leader karst.BrokerID, factor int16) []karst.BrokerID {
	if s.ring == nil {
		s.ring = s.alternating()
	}
	own := s.find(leader)
	out := []karst.BrokerID{leader}
	n := min(int(factor), len(s.live))
	if n == 1 {
		return out
	}
	racks := map[string]bool{s.live[own].broker.Rack: true}
	at := slices.Index(s.ring, own)
	others := slices.Concat(s.ring[at+1:], s.ring[:at])
	shift := s.live[own].leads % len(others)
	others = slices.Concat(others[shift:], others[:shift])
	for _, fresh := range []bool{true, false} {
		for _, k := range others {
			b := s.live[k].broker
			if len(out) < n && !slices.Contains(out, b.ID) && (!fresh || !racks[b.Rack]) {
				out = append(out, b.ID)
				racks[b.Rack] = true
			}
		}
	}
	return out
}

// alternating lists the brokers so that the racks take turns, in the order of
// their names; within one, ids ascend.
func (s *spread) alternating() []int {
	byRack := map[string][]int{}
	var racks []string
	for n := range s.live {
		r := s.live[n].broker.Rack
		if byRack[r] == nil {
			racks = append(racks, r)
		}
		byRack[r] = append(byRack[r], n)
	}
	slices.Sort(racks)
	ring := make([]int, 0, len(s.live))
	for turn := 0; len(ring) < len(s.live); turn++ {
		for _, r := range racks {
			if turn < len(byRack[r]) {
				ring = append(ring, byRack[r][turn])
			}
		}
	}
	return ring
}
