package group

import (
	"time"

	"github.com/karst-io/karst/internal/coordinator"
)

// How much of the check for expired offsets one call of Expire does.
const (
	checkGroups  = 256
	checkOffsets = 8192
)

// expireOffsets goes on with the check for expired offsets, or begins one.
func (m *Machine) expireOffsets(now time.Time) []coordinator.Effect {
	if len(m.due) == 0 {
		m.due = m.sortedGroups()
	}
	var effects []coordinator.Effect
	for n, seen := 0, 0; len(m.due) > 0 && n < checkGroups && seen < checkOffsets; n++ {
		g := m.groups[m.due[0]]
		m.due = m.due[1:]
		if g == nil {
			continue
		}
		seen += g.offsets.len()
		s := begin(now, g.id)
		m.expireGroup(s, g)
		effects = append(effects, s.done()...)
	}
	if len(m.due) == 0 {
		m.due = nil
		m.check = now.Add(m.cfg.OffsetsCheck)
	}
	return effects
}

// expireGroup forgets the offsets of a group that have expired, and the group
// when it is empty and has none left (KIP-211).
func (m *Machine) expireGroup(s *step, g *group) {
	since, ok := g.retainedSince()
	left := len(g.offsets.topics) > 0 && !ok
	if ok {
		for _, topic := range g.offsets.names() {
			if g.subscribed(topic) {
				left = true
				continue
			}
			partitions := g.offsets.topics[topic]
			for _, p := range partitions.numbers() {
				if m.isExpired(s.now, partitions.partitions[p], since) {
					m.forget(s, g, topic, p)
				} else {
					left = true
				}
			}
		}
	}
	if !left && g.state == stateEmpty {
		s.record(groupTombstone(g.id))
		m.drop(g)
	}
}

// retainedSince says whether offsets of the group may expire now, and since when
// their retention counts; -1: since each one's commit.
func (g *group) retainedSince() (int64, bool) {
	switch {
	case g.kind == "": // a simple group
		return -1, true
	case g.state == stateEmpty:
		return g.changed, true
	default:
		return -1, g.kind == consumerType && g.topicsKnown && g.state == stateStable
	}
}

func (m *Machine) isExpired(now time.Time, c committed, since int64) bool {
	if c.expires != -1 {
		return now.UnixMilli() >= c.expires
	}
	if since < 0 {
		since = c.at
	}
	return now.UnixMilli()-since >= m.cfg.OffsetsRetention.Milliseconds()
}
