package group

import (
	"time"
	"unicode/utf8"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
)

// Commit is OffsetCommit.
func (m *Machine) Commit(now time.Time, t coordinator.Ticket, r CommitRequest) []coordinator.Effect {
	s := begin(now, r.Group)
	g, err := m.committer(s, &r)
	if err != nil {
		return s.doneWith(t, CommitAnswer{Err: err})
	}
	s.lazy = true
	a := CommitAnswer{Errs: make([]error, len(r.Offsets))}
	expires := int64(-1)
	if r.Retention >= 0 {
		expires = now.Add(r.Retention).UnixMilli()
	}
	batch := newOffsetBatch(r.Group, len(r.Offsets))
	for i := range r.Offsets {
		o := &r.Offsets[i]
		if m.tooLong(o.Metadata) || len(o.Topic.Name) > maxString {
			a.Errs[i] = karst.OffsetMetadataTooLarge.Errorf("The metadata field of the offset request was too large.")
			continue
		}
		c := committed{
			topic: o.Topic.ID, offset: o.Offset, epoch: o.Epoch, metadata: o.Metadata,
			at: now.UnixMilli(), expires: expires,
		}
		if expires >= 0 {
			// The version of the record that can expire has neither.
			c.topic, c.epoch = karst.TopicID{}, karst.NoEpoch
		}
		if r.Generation >= 0 && m.unchanged(g, o.Topic.Name, o.Partition, &c) {
			continue
		}
		if g == nil { // a simple group, made by its first offset
			g = m.create(now, r.Group)
		}
		if g.offsets.put(o.Topic.Name, o.Partition, c) {
			m.counts.Offsets++
		}
		s.record(batch.offset(o.Topic.Name, o.Partition, &c))
	}
	return s.doneWith(t, a)
}

// unchanged says that a member commits what is committed, as an idle consumer
// does every few seconds for each of its partitions: there is nothing to write. It
// is written now and then, because an offset may be retained from its last commit.
func (m *Machine) unchanged(g *group, topic string, partition int32, c *committed) bool {
	t := g.offsets.topics[topic]
	if t == nil {
		return false
	}
	was, ok := t.partitions[partition]
	since := c.at - was.at
	was.at = c.at
	return ok && was == *c && c.expires < 0 && since < m.cfg.OffsetsRetention.Milliseconds()/rewrites
}

// rewrites is how often an offset that stays is written in the time that offsets
// are retained.
const rewrites = 16

// committer checks who commits, and finds the group; nil if there is none yet.
func (m *Machine) committer(s *step, r *CommitRequest) (*group, error) {
	if err := groupIDError(r.Group); err != nil {
		return nil, err
	}
	g := m.groups[r.Group]
	if g == nil {
		if r.Generation < 0 {
			return nil, nil //nolint:nilnil // an administrator, or a consumer that assigns itself
		}
		if r.ByEpoch {
			return nil, groupNotFound(r.Group)
		}
		return nil, illegalGeneration()
	}
	if r.Generation < 0 && g.state == stateEmpty {
		return g, nil
	}
	if r.Generation < 0 && r.Member == "" && r.Instance == nil {
		if g.state != stateEmpty {
			return nil, unknownMember()
		}
		return g, nil
	}
	mb, err := g.lookup(r.Member, r.Instance)
	if err != nil {
		return nil, err
	}
	if r.Generation != g.generation {
		return nil, illegalGeneration()
	}
	if g.state == stateCompleting {
		return nil, rebalanceInProgress()
	}
	m.renew(s, mb, mb.session)
	return g, nil
}

// tooLong counts as Kafka does, in UTF-16 units.
func (m *Machine) tooLong(metadata string) bool {
	if len(metadata) > maxString {
		return true // what no record could hold
	}
	if len(metadata) <= m.cfg.MetadataMax {
		return false
	}
	units := 0
	for _, r := range metadata {
		units++
		if r > 0xffff && r <= utf8.MaxRune {
			units++
		}
	}
	return units > m.cfg.MetadataMax
}

// Fetch is OffsetFetch. That a group or an offset is not there is no error.
func (m *Machine) Fetch(now time.Time, t coordinator.Ticket, r FetchRequest) []coordinator.Effect {
	s := begin(now, r.Group)
	g := m.groups[r.Group]
	if r.All {
		a := FetchAnswer{Topics: []FetchedTopic{}}
		if g != nil {
			a.Topics = g.offsets.all()
		}
		return s.doneWith(t, a)
	}
	a := FetchAnswer{Topics: make([]FetchedTopic, len(r.Topics))}
	for i, ft := range r.Topics {
		f := FetchedTopic{Topic: ft.Topic, Offsets: make([]FetchedOffset, len(ft.Partitions))}
		for j, p := range ft.Partitions {
			f.Offsets[j] = FetchedOffset{Partition: p, Offset: -1, Epoch: karst.NoEpoch}
			if g == nil {
				continue
			}
			if c, ok := g.offsets.get(ft.Topic, p); ok {
				f.Offsets[j] = c.fetched(p)
			}
		}
		a.Topics[i] = f
	}
	return s.doneWith(t, a)
}
