package metadata

import (
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/karst-io/karst"
)

func (r *CreateTopic) apply(img *Image, d *changes) error {
	if r.Name == "" || r.ID.IsZero() || len(r.Partitions) == 0 {
		return karst.InvalidTopic.Errorf("topic without a name, an id or partitions")
	}
	if !utf8.ValidString(r.Name) {
		return karst.InvalidTopic.Errorf("topic name %q is not valid UTF-8", r.Name)
	}
	if err := checkConfigs(r.Configs); err != nil {
		return err
	}
	if other, ok := img.TopicLike(r.Name); ok {
		if other == r.Name {
			return karst.TopicExists.Errorf("Topic '%s' already exists.", r.Name)
		}
		return karst.InvalidTopic.Errorf("Topic '%s' collides with existing topic: %s", r.Name, other)
	}
	if _, ok := img.TopicByID(r.ID); ok {
		return karst.TopicExists.Errorf("a topic of id %s exists", r.ID)
	}
	img.setTopic(d, &TopicState{
		ID: r.ID, Name: r.Name, Internal: r.Internal,
		ReplicationFactor: r.ReplicationFactor, Partitions: int32(len(r.Partitions)),
		Configs: maps.Clone(r.Configs),
	})
	return img.addPartitions(d, r.ID, 0, r.Partitions)
}

func (r *CreatePartitions) apply(img *Image, d *changes) error {
	t, ok := img.TopicByID(r.ID)
	if !ok {
		return karst.UnknownTopicID.Errorf("no topic of id %s", r.ID)
	}
	if len(r.Partitions) == 0 || int64(t.Partitions)+int64(len(r.Partitions)) > math.MaxInt32 {
		return karst.InvalidPartitions.Errorf("%d new partitions for topic '%s'", len(r.Partitions), t.Name)
	}
	next := *t
	next.Partitions += int32(len(r.Partitions))
	img.setTopic(d, &next)
	return img.addPartitions(d, r.ID, t.Partitions, r.Partitions)
}

func (i *Image) addPartitions(d *changes, id karst.TopicID, first int32, add []NewPartition) error {
	for n, np := range add {
		p := &PartitionState{
			ID:     karst.TopicPartition{Topic: id, Partition: karst.Partition(first + int32(n))},
			Leader: np.Leader, Broker: -1,
			Epochs:   []EpochStart{{}},
			Replicas: slices.Clone(np.Replicas),
		}
		if np.Leader != 0 {
			b, ok := i.Broker(np.Leader)
			if !ok || b.Phase != Live {
				return refuse("leader %d of %s is not live", np.Leader, p.ID)
			}
			p.Broker = b.ID
		}
		i.setPartition(d, nil, p)
	}
	return nil
}

func (r *DeleteTopic) apply(img *Image, d *changes) error {
	t, ok := img.TopicByID(r.ID)
	if !ok {
		return karst.UnknownTopicID.Errorf("no topic of id %s", r.ID)
	}
	for _, p := range slices.Collect(img.PartitionsOf(r.ID)) {
		img.removePartition(d, p)
	}
	img.removeTopic(d, t)
	return nil
}

// Placement moves an epoch without an end of its own, so nobody may be leading:
// all that the last leader had acknowledged is below End since its adoption (I8).
func (r *PlaceLeaders) apply(img *Image, d *changes) error {
	for _, at := range r.Placements {
		p, ok := img.Partition(at.Partition)
		if !ok {
			return karst.UnknownTopic.Errorf("no partition %s", at.Partition)
		}
		b, ok := img.Broker(at.Leader)
		switch {
		case !ok || b.Phase != Live:
			return refuse("leader %d of %s is not live", at.Leader, at.Partition)
		case p.Leader != 0 && !img.adopted(p.Leader):
			return refuse("%s is led by incarnation %d, which is not adopted (I12)", at.Partition, p.Leader)
		case p.Stopped != 0:
			return refuse("%s waits for held WAL objects of incarnation %d", at.Partition, p.Stopped)
		}
		next := *p
		next.lead(at.Leader, b.ID)
		img.setPartition(d, p, &next)
	}
	return nil
}

func (r *AssignReplicas) apply(img *Image, d *changes) error {
	for _, a := range r.Assignments {
		p, ok := img.Partition(a.Partition)
		if !ok {
			return karst.UnknownTopic.Errorf("no partition %s", a.Partition)
		}
		if len(a.Replicas) == 0 {
			return karst.InvalidAssignment.Errorf("%s is assigned no replicas", a.Partition)
		}
		for _, ids := range [][]karst.BrokerID{a.Replicas, a.Previous} {
			for n, id := range ids {
				if id < 0 || slices.Contains(ids[:n], id) {
					return karst.InvalidAssignment.Errorf("%s is assigned replica %d twice, or it is none", a.Partition, id)
				}
			}
		}
		next := *p
		next.Replicas, next.Previous, next.Factor = slices.Clone(a.Replicas), nil, 0
		if !slices.Contains(a.Replicas, p.Broker) {
			next.Previous = slices.Clone(a.Previous)
		}
		if t, ok := img.TopicByID(a.Partition.Topic); ok && len(a.Replicas) < int(t.ReplicationFactor) {
			next.Factor = int16(len(a.Replicas))
		}
		img.setPartition(d, p, &next)
	}
	return nil
}

// checkConfigs refuses strings that a commit cannot hold: they come from
// clients as they are.
func checkConfigs(m map[string]string) error {
	for k, v := range m {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return karst.InvalidConfig.Errorf("config %q is not valid UTF-8", k)
		}
	}
	return nil
}
