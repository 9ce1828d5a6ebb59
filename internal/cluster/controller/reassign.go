package controller

import (
	"context"
	"slices"
	"strings"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// PartitionName names a partition by the id of its topic, or, if that is zero, by
// the topic's name.
type PartitionName struct {
	Topic     string
	ID        karst.TopicID
	Partition karst.Partition
}

// find finds the partition, or says that it is not there as Kafka does.
func (n PartitionName) find(img *metadata.Image) (*metadata.TopicState, *metadata.PartitionState, error) {
	t, ok := img.TopicByID(n.ID)
	if n.ID.IsZero() {
		t, ok = img.Topic(n.Topic)
	}
	switch {
	case !ok && n.ID.IsZero():
		return nil, nil, karst.UnknownTopic.Errorf("Unable to find a topic named %s.", n.Topic)
	case !ok:
		return nil, nil, karst.UnknownTopic.Errorf("Unable to find a topic with ID %s.", n.ID)
	}
	p, ok := img.Partition(karst.TopicPartition{Topic: t.ID, Partition: n.Partition})
	if !ok {
		return nil, nil, karst.UnknownTopic.Errorf("Unable to find partition %s:%d.", t.Name, n.Partition)
	}
	return t, p, nil
}

// Reassignment asks for a partition to be given replicas.
type Reassignment struct {
	PartitionName
	Replicas []karst.BrokerID // nil: cancel what is in progress
}

// Reassign gives partitions replicas, each by itself: the errors are theirs. A
// reassignment is complete at once if a replica leads the partition; any other is
// in progress until one does. allowFactorChange says whether the number of
// replicas may change. The last error is one of all.
func (c *Controller) Reassign(ctx context.Context, all []Reassignment, allowFactorChange bool) ([]error, error) {
	var errs []error // not read if the proposal outlives this call
	err := c.propose(ctx, func(img *metadata.Image) ([]metadata.Record, error) {
		var r *metadata.AssignReplicas
		r, errs = Assignments(img, all, allowFactorChange)
		if len(r.Assignments) == 0 {
			return nil, nil
		}
		return []metadata.Record{r}, nil
	})
	if err != nil {
		return nil, err
	}
	return errs, nil
}

// Assignments decides reassignments, by the image alone, as Apache Kafka's
// ReplicationControlManager does: the record of those that hold, and why each of
// the others does not.
func Assignments(img *metadata.Image, all []Reassignment, allowFactorChange bool) (*metadata.AssignReplicas, []error) {
	a := assigner{img: img, view: metadata.NewReplicas(img), registered: registered(img), factorChange: allowFactorChange}
	record, errs := &metadata.AssignReplicas{}, make([]error, len(all))
	for n, r := range all {
		to, err := a.assign(r)
		if errs[n] = err; err == nil && to != nil {
			record.Assignments = append(record.Assignments, *to)
		}
	}
	return record, errs
}

// assigner decides the reassignments of one request.
type assigner struct {
	img          *metadata.Image
	view         metadata.Replicas
	registered   map[karst.BrokerID]bool
	factorChange bool
}

// assign decides one; nil if nothing is to be changed.
func (a *assigner) assign(r Reassignment) (*metadata.Assignment, error) {
	t, p, err := r.find(a.img)
	if err != nil {
		return nil, err
	}
	shown := a.view.Of(p, t.ReplicationFactor)
	if r.Replicas == nil {
		if !p.Reassigning() {
			return nil, karst.NoReassignment.Err()
		}
		return &metadata.Assignment{Partition: p.ID, Replicas: reverted(p)}, nil
	}
	if err := a.check(r.Replicas); err != nil {
		return nil, err
	}
	now := len(shown)
	if p.Reassigning() {
		now = len(p.Replicas)
	}
	if !a.factorChange && len(r.Replicas) != now {
		return nil, karst.InvalidReplication.Errorf("The replication factor is changed from %d to %d", now, len(r.Replicas))
	}
	to := &metadata.Assignment{Partition: p.ID, Replicas: r.Replicas}
	if !slices.Contains(r.Replicas, p.Broker) {
		to.Previous = shown
		if p.Reassigning() {
			to.Previous = p.Previous
		}
	}
	return to, nil
}

// reverted are the replicas after a cancellation, which is complete at once: those
// shown before, with whoever came to lead meanwhile in the first place.
func reverted(p *metadata.PartitionState) []karst.BrokerID {
	if p.Broker < 0 || slices.Contains(p.Previous, p.Broker) {
		return p.Previous
	}
	return slices.Concat([]karst.BrokerID{p.Broker}, p.Previous[1:])
}

// check is what Kafka asks of the replicas of a partition.
func (a *assigner) check(replicas []karst.BrokerID) error {
	if len(replicas) == 0 {
		return karst.InvalidAssignment.Errorf("The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for n, id := range sorted {
		if !a.registered[id] {
			return karst.InvalidAssignment.Errorf("The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if n > 0 && id == sorted[n-1] {
			return karst.InvalidAssignment.Errorf("The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	return nil
}

// Elected is what becomes of an election.
type Elected struct {
	Partition karst.TopicPartition
	Leader    karst.BrokerID // who is to lead it, without an error
	Err       error          // a *karst.Error
}

// Elect asks for partitions to be led by their preferred replicas (preferred), or
// by anybody at all. Without an error a move was asked for (Config.Move): it is
// done when the image shows the leader. The error is one of all.
func (c *Controller) Elect(ctx context.Context, all []PartitionName, preferred bool) ([]Elected, error) {
	var out []Elected
	var moves []metadata.Placement
	err := c.propose(ctx, func(img *metadata.Image) ([]metadata.Record, error) {
		out, moves = Elections(img, all, preferred)
		return nil, nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(moves) == 0:
	case c.cfg.Move == nil:
		for n := range out {
			if out[n].Err == nil {
				out[n].Err = karst.PreferredNotAvailable.Errorf("This broker cannot move leaders.")
			}
		}
	default:
		c.cfg.Move(moves)
	}
	return out, nil
}

// Elections decides elections by the image alone, and which moves they take.
func Elections(img *metadata.Image, all []PartitionName, preferred bool) ([]Elected, []metadata.Placement) {
	view := metadata.NewReplicas(img)
	out := make([]Elected, len(all))
	var moves []metadata.Placement
	for n, name := range all {
		_, p, err := name.find(img)
		if err != nil {
			out[n].Err = err
			continue
		}
		out[n].Partition = p.ID
		to, err := elect(img, view, p, preferred)
		if err != nil {
			out[n].Err = err
			continue
		}
		out[n].Leader = to.ID
		moves = append(moves, metadata.Placement{Partition: p.ID, Leader: to.Incarnation})
	}
	return out, moves
}

// elect is the broker that a partition is to be moved to.
func elect(img *metadata.Image, view metadata.Replicas, p *metadata.PartitionState, preferred bool) (*metadata.BrokerState, error) {
	leader := view.Leader(p)
	switch {
	case !preferred && leader >= 0, preferred && leader >= 0 && (len(p.Replicas) == 0 || p.Replicas[0] == leader):
		return nil, karst.ElectionNotNeeded.Errorf("Leader election not needed for topic partition.")
	case !preferred:
		return nil, karst.EligibleNotAvailable.Errorf("No broker is live that could lead the partition.")
	case leader < 0: // whoever is live is placed without being asked
		return nil, karst.PreferredNotAvailable.Errorf("No broker is live that could lead the partition.")
	}
	b, live := img.LiveBroker(p.Replicas[0])
	switch {
	case !live:
		return nil, karst.PreferredNotAvailable.Errorf("Broker %d, the preferred leader, is not live.", p.Replicas[0])
	case img.Drained(b.ID):
		return nil, karst.PreferredNotAvailable.Errorf("Broker %d, the preferred leader, is drained.", b.ID)
	}
	return b, nil
}

// Unregister forgets a broker that is gone: those of its incarnations that can be
// forgotten. If there are others it forgets what it can, and says so.
func (c *Controller) Unregister(ctx context.Context, id karst.BrokerID) error {
	var rest error
	err := c.propose(ctx, func(img *metadata.Image) ([]metadata.Record, error) {
		records, left, err := Unregistration(img, id)
		rest = left
		return records, err
	})
	if err != nil {
		return err
	}
	return rest
}

// Unregistration decides, by the image alone, what is forgotten of a broker; rest
// is why not all of it can be yet.
func Unregistration(img *metadata.Image, id karst.BrokerID) (records []metadata.Record, rest, err error) {
	known := false
	var why []string
	for b := range img.Brokers() {
		if b.ID != id {
			continue
		}
		known = true
		if b.Phase == metadata.Live {
			return nil, nil, karst.InvalidRequest.Errorf("Broker %d is live. It leaves the cluster by being stopped.", id)
		}
		if err := img.WhyKept(b.Incarnation); err != nil {
			why = append(why, err.Error())
			continue
		}
		records = append(records, &metadata.ForgetIncarnation{Incarnation: b.Incarnation})
	}
	switch {
	case !known:
		return nil, nil, karst.BrokerNotRegistered.Errorf("Broker ID %d is not currently registered", id)
	case len(why) > 0:
		return records, karst.InvalidRequest.Errorf("Broker %d is gone but cannot be forgotten yet: %s.", id, strings.Join(why, "; ")), nil
	case img.Drained(id): // whoever takes the id next is another broker
		records = append(records, &metadata.DrainBroker{ID: id})
	}
	return records, nil, nil
}
