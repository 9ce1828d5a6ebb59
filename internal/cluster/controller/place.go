package controller

import (
	"context"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// Spread gives partitions to live brokers, so that they lead about as many each.
type Spread struct{ spread }

// NewSpread spreads over the live brokers of an image, without those that are
// gone soon.
func NewSpread(img *metadata.Image, gone func(inc karst.Incarnation) bool) *Spread {
	return &Spread{*newSpread(img, gone)}
}

// Place is who is to lead a partition, one of its replicas if any is live; 0 if
// nobody can.
func (s *Spread) Place(p *metadata.PartitionState) karst.Incarnation {
	if len(s.live) == 0 {
		return 0
	}
	return s.place(p).Incarnation
}

// Back is the broker that led a partition last, or that it is being reassigned to,
// if it is live; otherwise 0.
func (s *Spread) Back(p *metadata.PartitionState) karst.Incarnation {
	if b := s.back(p); b != nil {
		return b.Incarnation
	}
	return 0
}

// Leaderless reports whether some partition has no leader and may have one.
func Leaderless(img *metadata.Image) bool {
	for range leaderless(img) {
		return true
	}
	return false
}

// leaderless yields the partitions that nobody leads and that are not stopped.
func leaderless(img *metadata.Image) func(yield func(*metadata.PartitionState) bool) {
	return func(yield func(*metadata.PartitionState) bool) {
		who := []karst.Incarnation{0}
		for b := range img.Brokers() {
			if b.Phase == metadata.Adopted && img.LeadCount(b.Incarnation) > 0 {
				who = append(who, b.Incarnation)
			}
		}
		for _, inc := range who {
			for p := range img.PartitionsLedBy(inc) {
				if p.Stopped == 0 && !yield(p) {
					return
				}
			}
		}
	}
}

// Place gives leaders to the partitions that have none, with back only those
// whose last broker is live: a partition goes to its last broker, otherwise to
// the replica that leads least, otherwise to who leads least. Who is gone soon gets none.
func (c *Controller) Place(ctx context.Context, gone func(inc karst.Incarnation) bool, back bool) error {
	return c.propose(ctx, func(img *metadata.Image) ([]metadata.Record, error) {
		s := NewSpread(img, gone)
		var r metadata.PlaceLeaders
		for p := range leaderless(img) {
			to := s.Back(p)
			if to == 0 && !back {
				to = s.Place(p)
			}
			if to != 0 {
				r.Placements = append(r.Placements, metadata.Placement{Partition: p.ID, Leader: to})
			}
		}
		if len(r.Placements) == 0 {
			return nil, nil
		}
		return []metadata.Record{&r}, nil
	})
}

// Drain says whether a broker is to lead nothing, until it is said again.
func (c *Controller) Drain(ctx context.Context, id karst.BrokerID, drained bool) error {
	now := karst.Timestamp(time.Now().UnixMilli())
	return c.propose(ctx, func(img *metadata.Image) ([]metadata.Record, error) {
		if img.Drained(id) == drained {
			return nil, nil
		}
		known := false
		for b := range img.Brokers() {
			known = known || b.ID == id
		}
		if drained && !known {
			return nil, karst.BrokerNotRegistered.Errorf("broker %d is not registered", id)
		}
		r := &metadata.DrainBroker{ID: id, Drained: drained}
		if drained && img.SaysSince() {
			r.Since = now
		}
		return []metadata.Record{r}, nil
	})
}
