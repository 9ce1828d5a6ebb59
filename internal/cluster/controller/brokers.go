package controller

import (
	"context"
	"math"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// AssignID, as the ID of a Registration, asks for the lowest id that no live
// broker has.
const AssignID karst.BrokerID = -1

// producerBlock is how many producer ids are handed out at once.
const producerBlock = 1000

// Registration asks for an incarnation; its ID may be AssignID.
type Registration = metadata.Registration

// Register commits a new incarnation of a broker and fences, in the same commit,
// the live incarnation with the same broker id, whatever it is.
func (c *Controller) Register(ctx context.Context, r Registration) (karst.Incarnation, error) {
	return c.register(ctx, r, func(*metadata.Image) karst.Incarnation { return 0 }, func(*metadata.BrokerState) bool { return true })
}

// Replace is Register that fences over alone (0: none): if another incarnation of
// the broker id is live, it is refused with DuplicateBroker. A process that has a
// live incarnation above after keeps that: it asks again, since it had no answer.
func (c *Controller) Replace(ctx context.Context, r Registration, over, after karst.Incarnation) (karst.Incarnation, error) {
	has := func(img *metadata.Image) karst.Incarnation {
		for b := range img.LiveBrokers() {
			if b.Process == r.Process && b.Incarnation > after {
				return b.Incarnation
			}
		}
		return 0
	}
	return c.register(ctx, r, has, func(b *metadata.BrokerState) bool { return b.Incarnation == over })
}

// register gives out an incarnation, unless the process has one already. may says
// whether a live one with the id is to be fenced.
func (c *Controller) register(ctx context.Context, r Registration, has func(*metadata.Image) karst.Incarnation, may func(*metadata.BrokerState) bool) (karst.Incarnation, error) {
	if r.ID < AssignID {
		return 0, karst.InvalidRequest.Errorf("broker id %d is negative", r.ID)
	}
	var inc karst.Incarnation
	err := c.propose(ctx, func(img *metadata.Image) ([]metadata.Record, error) {
		if inc = has(img); inc != 0 {
			return nil, nil
		}
		id := r.ID
		if id == AssignID {
			id = freeID(img)
		}
		var records []metadata.Record
		for b := range img.LiveBrokers() {
			if b.ID == id {
				if !may(b) {
					return nil, karst.DuplicateBroker.Errorf("broker %d has registered just now, as incarnation %d", id, b.Incarnation)
				}
				records = append(records, &metadata.FenceIncarnation{Incarnation: b.Incarnation})
			}
		}
		r := r
		r.ID = id
		inc = img.NextIncarnation()
		return append(records, &metadata.RegisterBroker{Incarnation: inc, Registration: r}), nil
	})
	if err != nil {
		return 0, err
	}
	return inc, nil
}

func freeID(img *metadata.Image) karst.BrokerID {
	id := karst.BrokerID(1)
	for {
		if _, live := img.LiveBroker(id); !live {
			return id
		}
		id++
	}
}

// Fence commits Fenced for an incarnation; one that is fenced already is fine.
func (c *Controller) Fence(ctx context.Context, inc karst.Incarnation) error {
	return c.propose(ctx, func(img *metadata.Image) ([]metadata.Record, error) {
		b, ok := img.Broker(inc)
		if !ok && inc >= img.NextIncarnation() {
			return nil, karst.InvalidRequest.Errorf("incarnation %d was never handed out", inc)
		}
		if !ok || b.Phase != metadata.Live {
			return nil, nil
		}
		return []metadata.Record{&metadata.FenceIncarnation{Incarnation: inc}}, nil
	})
}

// Commit commits a flush, hand-over or adoption. A refusal as a whole is a
// *karst.Error with code NotLeader (fenced) or InvalidRequest (precondition); a
// request that was applied before is answered as it was then. Ranges may have
// been dropped: the requester's replica shows what became of them (I9).
func (c *Controller) Commit(ctx context.Context, r metadata.CommitRequest) error {
	return c.propose(ctx, func(*metadata.Image) ([]metadata.Record, error) {
		return []metadata.Record{&r}, nil
	})
}

// Forget drops the state of an adopted incarnation that leads nothing and of
// whose WAL nothing is referenced.
func (c *Controller) Forget(ctx context.Context, inc karst.Incarnation) error {
	return c.propose(ctx, func(*metadata.Image) ([]metadata.Record, error) {
		return []metadata.Record{&metadata.ForgetIncarnation{Incarnation: inc}}, nil
	})
}

// ReleaseHeld gives up, as loss, the WAL objects an adopted incarnation holds.
func (c *Controller) ReleaseHeld(ctx context.Context, inc karst.Incarnation) error {
	return c.propose(ctx, func(*metadata.Image) ([]metadata.Record, error) {
		return []metadata.Record{&metadata.ReleaseHeld{Incarnation: inc}}, nil
	})
}

// SetFeature raises a feature's level.
func (c *Controller) SetFeature(ctx context.Context, name string, level int32) error {
	return c.propose(ctx, func(*metadata.Image) ([]metadata.Record, error) {
		return []metadata.Record{&metadata.SetFeature{Name: name, Level: level}}, nil
	})
}

// Upgrade raises the level of what may be written; 0: as high as all live brokers
// read. It says what it was and is. Programs that do not read it are refused from
// then on, for good.
func (c *Controller) Upgrade(ctx context.Context, level int32) (before, after int32, err error) {
	var was, is int32 // not the results: the proposal may outlive this call
	err = c.propose(ctx, func(img *metadata.Image) ([]metadata.Record, error) {
		was, is = img.Level(), level
		least := int32(math.MaxInt32)
		for b := range img.LiveBrokers() {
			least = min(least, b.Level())
		}
		if level == 0 {
			is = min(metadata.LevelMax, least)
		}
		switch {
		case is > metadata.LevelMax && is <= least: // we are not among them right now
			return nil, karst.FeatureUpdateFailed.Errorf("the controller reads up to level %d, not %d: run a newer Karst everywhere first", metadata.LevelMax, is)
		case is == was:
			return nil, nil
		}
		return []metadata.Record{&metadata.SetFeature{Name: metadata.LevelFeature, Level: is}}, nil
	})
	if err != nil {
		return 0, 0, err
	}
	return was, is, nil
}

// AllocateProducerIDs hands out a block of producer ids never handed out before.
func (c *Controller) AllocateProducerIDs(ctx context.Context) (first karst.ProducerID, count int64, err error) {
	var next karst.ProducerID // not a result: the proposal may outlive this call
	err = c.propose(ctx, func(img *metadata.Image) ([]metadata.Record, error) {
		next = img.NextProducerID()
		return []metadata.Record{&metadata.AllocateProducerIDs{First: next, Count: producerBlock}}, nil
	})
	if err != nil {
		return 0, 0, err
	}
	return next, producerBlock, nil
}

// PlaceLeaders gives every leaderless partition (leader 0 or adopted, and not
// stopped) to a live incarnation, at epoch + 1, as Placements decides. Without live
// brokers it does nothing.
func (c *Controller) PlaceLeaders(ctx context.Context) error {
	return c.propose(ctx, func(img *metadata.Image) ([]metadata.Record, error) {
		placements := Placements(img, func(*metadata.PartitionState) bool { return true })
		if len(placements) == 0 {
			return nil, nil
		}
		return []metadata.Record{&metadata.PlaceLeaders{Placements: placements}}, nil
	})
}
