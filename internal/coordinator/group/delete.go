package group

import (
	"slices"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
)

// DeleteOffsets is OffsetDelete (KIP-496).
func (m *Machine) DeleteOffsets(now time.Time, t coordinator.Ticket, r DeleteOffsetsRequest) []coordinator.Effect {
	s := begin(now, r.Group)
	if err := memberGroupIDError(r.Group); err != nil {
		return s.doneWith(t, DeleteOffsetsAnswer{Err: err})
	}
	g := m.groups[r.Group]
	switch {
	case g == nil:
		return s.doneWith(t, DeleteOffsetsAnswer{Err: groupNotFound(r.Group)})
	case g.state != stateEmpty && g.kind != consumerType:
		return s.doneWith(t, DeleteOffsetsAnswer{Err: nonEmptyGroup()})
	}
	a := DeleteOffsetsAnswer{Errs: make([]error, len(r.Offsets))}
	for i, o := range r.Offsets {
		if g.subscribed(o.Topic) {
			a.Errs[i] = karst.GroupSubscribed.Errorf("Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.")
			continue
		}
		m.forget(s, g, o.Topic, o.Partition)
	}
	return s.doneWith(t, a)
}

// forget removes an offset, if there is one.
func (m *Machine) forget(s *step, g *group, topic string, partition int32) {
	if g.offsets.remove(topic, partition) {
		m.counts.Offsets--
		s.record(offsetTombstone(g.id, topic, partition))
	}
}

// DeleteGroup is DeleteGroups of one group: it must be empty.
func (m *Machine) DeleteGroup(now time.Time, t coordinator.Ticket, id string) []coordinator.Effect {
	s := begin(now, id)
	g := m.groups[id]
	switch {
	case g == nil:
		return s.doneWith(t, ErrAnswer{groupNotFound(id)})
	case g.state != stateEmpty:
		return s.doneWith(t, ErrAnswer{nonEmptyGroup()})
	}
	for _, topic := range g.offsets.names() {
		for _, p := range g.offsets.topics[topic].numbers() {
			m.forget(s, g, topic, p)
		}
	}
	s.record(groupTombstone(id))
	m.drop(g)
	return s.doneWith(t, ErrAnswer{})
}

// TopicsDeleted forgets what was committed for the topics. Where the topic's id is
// not known, because the record of an offset that expires has none, its name
// decides: there says whether a topic of that name exists now. It looks at every
// topic of every group.
func (m *Machine) TopicsDeleted(now time.Time, ids []karst.TopicID, there func(name string) bool) []coordinator.Effect {
	return m.forgetTopics(now, func(name string, id karst.TopicID) bool {
		if id.IsZero() {
			return !there(name)
		}
		return slices.Contains(ids, id)
	})
}

// TopicsRemain forgets what was committed for topics that there are no longer. The
// id is zero where it is not known.
func (m *Machine) TopicsRemain(now time.Time, there func(name string, id karst.TopicID) bool) []coordinator.Effect {
	return m.forgetTopics(now, func(name string, id karst.TopicID) bool { return !there(name, id) })
}

func (m *Machine) forgetTopics(now time.Time, gone func(name string, id karst.TopicID) bool) []coordinator.Effect {
	var effects []coordinator.Effect
	for _, id := range m.sortedGroups() {
		g := m.groups[id]
		s := begin(now, id)
		for _, topic := range g.offsets.names() {
			partitions := g.offsets.topics[topic]
			for _, p := range partitions.numbers() {
				if gone(topic, partitions.partitions[p].topic) {
					m.forget(s, g, topic, p)
				}
			}
		}
		effects = append(effects, s.done()...)
	}
	return effects
}
