package controller

import (
	"context"
	"maps"
	"slices"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// partitionsMax bounds the partitions of one topic.
const partitionsMax = 100_000

// TopicSpec asks for one topic.
type TopicSpec struct {
	Name              string
	Partitions        int32              // -1: default
	ReplicationFactor int16              // -1: default
	Assignment        [][]karst.BrokerID // by partition; nil: automatic
	Configs           map[string]string
	Internal          bool
	ValidateOnly      bool
}

// TopicResult is what became of one TopicSpec.
type TopicResult struct {
	// Topic is the topic as it was created, or would be: then its ID is made up.
	Topic *metadata.TopicState
	Err   error // a *karst.Error
}

// CreateTopic creates a topic and places its leaders.
func (c *Controller) CreateTopic(ctx context.Context, s TopicSpec) (*metadata.TopicState, error) {
	results, err := c.CreateTopics(ctx, []TopicSpec{s})
	if err != nil {
		return nil, err
	}
	return results[0].Topic, results[0].Err
}

// CreateTopics creates topics, each by itself: one that is refused does not
// keep the others from being created. They share as few commits as possible.
// The error is one of all.
func (c *Controller) CreateTopics(ctx context.Context, specs []TopicSpec) ([]TopicResult, error) {
	results := make([]TopicResult, len(specs))
	waiting := make([]*proposal, len(specs))
	for n, s := range specs {
		// Results are read only after done, and not at all if ctx ends first.
		p := &proposal{done: make(chan error, 1)}
		p.build = func(img *metadata.Image) ([]metadata.Record, error) {
			r, err := c.newTopic(img, s)
			if err != nil {
				return nil, err
			}
			results[n].Topic = topicOf(r)
			if s.ValidateOnly {
				return nil, nil
			}
			return []metadata.Record{r}, nil
		}
		waiting[n] = p
		if err := c.enqueue(p); err != nil {
			p.done <- err
		}
	}
	for n, p := range waiting {
		select {
		case err := <-p.done:
			if err != nil {
				results[n] = TopicResult{Err: err}
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return results, nil
}

func topicOf(r *metadata.CreateTopic) *metadata.TopicState {
	return &metadata.TopicState{
		ID: r.ID, Name: r.Name, Internal: r.Internal, ReplicationFactor: r.ReplicationFactor,
		Partitions: int32(len(r.Partitions)), Configs: maps.Clone(r.Configs),
	}
}

// newTopic decides a topic, in the order in which Apache Kafka checks.
func (c *Controller) newTopic(img *metadata.Image, s TopicSpec) (*metadata.CreateTopic, error) {
	if err := checkTopicName(s.Name); err != nil {
		return nil, err
	}
	if other, ok := img.TopicLike(s.Name); ok {
		if other == s.Name {
			return nil, karst.TopicExists.Errorf("Topic '%s' already exists.", s.Name)
		}
		return nil, karst.InvalidTopic.Errorf("Topic '%s' collides with existing topic: %s", s.Name, other)
	}
	for _, v := range s.Configs {
		if len(v) > configValueMax {
			return nil, valueTooLong()
		}
	}
	id := c.cfg.NewTopicID()
	if err := c.cfg.ValidateConfigs(img, metadata.Resource{Topic: id}, s.Configs); err != nil {
		return nil, err
	}
	r := &metadata.CreateTopic{ID: id, Name: s.Name, Internal: s.Internal, Configs: maps.Clone(s.Configs)}
	if s.Assignment != nil {
		return r, assign(img, r, s)
	}
	partitions, factor := s.Partitions, s.ReplicationFactor
	if partitions == -1 {
		partitions = c.cfg.Partitions
	}
	if factor == -1 {
		factor = c.cfg.ReplicationFactor
	}
	switch {
	case factor <= 0:
		return nil, karst.InvalidReplication.Errorf("Replication factor must be larger than 0, or -1 to use the default value.")
	case partitions <= 0:
		return nil, karst.InvalidPartitions.Errorf("Number of partitions was set to an invalid non-positive value.")
	case partitions > partitionsMax:
		return nil, karst.InvalidPartitions.Errorf("Number of partitions %d is above the limit of %d.", partitions, partitionsMax)
	}
	r.ReplicationFactor = factor
	var err error
	r.Partitions, err = newPartitions(img, partitions, factor)
	return r, err
}

// newPartitions spreads partitions over the live brokers that are not drained. Any replication
// factor is accepted (the replica fiction): Connect and MirrorMaker ask for 3.
func newPartitions(img *metadata.Image, n int32, factor int16) ([]metadata.NewPartition, error) {
	s := newSpread(img, nil)
	if len(s.live) == 0 {
		return nil, karst.InvalidReplication.Errorf("no broker is live")
	}
	out := make([]metadata.NewPartition, n)
	for k := range out {
		b := s.next()
		out[k] = metadata.NewPartition{Leader: b.Incarnation, Replicas: s.replicas(b.ID, factor)}
	}
	return out, nil
}

// assign checks a manual assignment of a new topic and takes it over.
func assign(img *metadata.Image, r *metadata.CreateTopic, s TopicSpec) error {
	switch {
	case s.ReplicationFactor != -1:
		return karst.InvalidRequest.Errorf("A manual partition assignment was specified, but replication factor was not set to -1.")
	case s.Partitions != -1:
		return karst.InvalidRequest.Errorf("A manual partition assignment was specified, but numPartitions was not set to -1.")
	case len(s.Assignment) == 0:
		return karst.InvalidAssignment.Errorf("The manual partition assignment is empty.")
	case len(s.Assignment) > partitionsMax:
		return karst.InvalidPartitions.Errorf("Number of partitions %d is above the limit of %d.", len(s.Assignment), partitionsMax)
	}
	var err error
	r.ReplicationFactor = int16(min(len(s.Assignment[0]), 1<<15-1))
	r.Partitions, err = assigned(img, s.Assignment, len(s.Assignment[0]), 0)
	return err
}

// assigned checks a manual assignment: every partition has factor distinct
// replicas that are registered; the first one that may lead does. first is the
// index of the first partition, for messages.
func assigned(img *metadata.Image, assignment [][]karst.BrokerID, factor int, first int32) ([]metadata.NewPartition, error) {
	s, known := newSpread(img, nil), registered(img)
	out := make([]metadata.NewPartition, len(assignment))
	for n, replicas := range assignment {
		index := first + int32(n)
		if len(replicas) == 0 {
			return nil, karst.InvalidAssignment.Errorf("The manual partition assignment for partition %d includes no brokers.", index)
		}
		if len(replicas) != factor {
			return nil, karst.InvalidAssignment.Errorf(
				"The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).",
				len(replicas), factor)
		}
		for k, id := range replicas {
			if !known[id] {
				return nil, karst.InvalidAssignment.Errorf("The manual partition assignment includes broker %d, but no such broker is registered.", id)
			}
			if slices.Contains(replicas[:k], id) {
				return nil, karst.InvalidAssignment.Errorf("The manual partition assignment includes the broker %d more than once.", id)
			}
		}
		leader := s.first(replicas)
		if leader == nil {
			return nil, karst.InvalidAssignment.Errorf("All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", index)
		}
		out[n] = metadata.NewPartition{Leader: leader.Incarnation, Replicas: slices.Clone(replicas)}
	}
	return out, nil
}

// registered are the ids of the brokers that the image knows, live or not.
func registered(img *metadata.Image) map[karst.BrokerID]bool {
	known := map[karst.BrokerID]bool{}
	for b := range img.Brokers() {
		known[b.ID] = true
	}
	return known
}

// DeleteTopic deletes a topic with its partitions.
func (c *Controller) DeleteTopic(ctx context.Context, id karst.TopicID) error {
	return c.propose(ctx, func(*metadata.Image) ([]metadata.Record, error) {
		return []metadata.Record{&metadata.DeleteTopic{ID: id}}, nil
	})
}

// CreatePartitions grows a topic to total partitions. The assignment, if not
// nil, is that of the new ones.
func (c *Controller) CreatePartitions(ctx context.Context, id karst.TopicID, total int32, assignment [][]karst.BrokerID, validateOnly bool) error {
	return c.propose(ctx, func(img *metadata.Image) ([]metadata.Record, error) {
		r, err := grow(img, id, total, assignment)
		if err != nil || validateOnly {
			return nil, err
		}
		return []metadata.Record{r}, nil
	})
}

func grow(img *metadata.Image, id karst.TopicID, total int32, assignment [][]karst.BrokerID) (*metadata.CreatePartitions, error) {
	t, ok := img.TopicByID(id)
	switch {
	case !ok:
		return nil, karst.UnknownTopicID.Errorf("no topic of id %s", id)
	case total == t.Partitions:
		return nil, karst.InvalidPartitions.Errorf("Topic already has %d partition(s).", t.Partitions)
	case total < t.Partitions:
		return nil, karst.InvalidPartitions.Errorf("The topic %s currently has %d partition(s); %d would not be an increase.", t.Name, t.Partitions, total)
	case total > partitionsMax:
		return nil, karst.InvalidPartitions.Errorf("Number of partitions %d is above the limit of %d.", total, partitionsMax)
	}
	r := &metadata.CreatePartitions{ID: id}
	var err error
	if assignment == nil {
		r.Partitions, err = newPartitions(img, total-t.Partitions, t.ReplicationFactor)
		return r, err
	}
	if len(assignment) != int(total-t.Partitions) {
		return nil, karst.InvalidAssignment.Errorf("Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", total-t.Partitions, len(assignment))
	}
	// As many replicas as the topic's partitions show, which may be fewer than
	// its replication factor.
	factor := len(assignment[0])
	if p, ok := img.Partition(karst.TopicPartition{Topic: id}); ok {
		factor = len(metadata.NewReplicas(img).Of(p, t.ReplicationFactor))
	}
	r.Partitions, err = assigned(img, assignment, factor, t.Partitions)
	return r, err
}
