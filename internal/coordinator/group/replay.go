package group

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
)

func millis(d time.Duration) int32 {
	return int32(min(max(d.Milliseconds(), math.MinInt32), math.MaxInt32)) //nolint:gosec // bounded here
}

// Replay takes the next record of the partition. Types and versions that are not
// known here are skipped; an error says that a record of a known one is damaged.
func (m *Machine) Replay(r coordinator.Record) error {
	if len(r.Key) < 2 {
		return fmt.Errorf("group: record with a key of %d bytes", len(r.Key))
	}
	switch int16(binary.BigEndian.Uint16(r.Key)) { //nolint:gosec // a version
	case keyOffsetOld, keyOffset:
		return m.replayOffset(r)
	case keyGroup:
		return m.replayGroup(r)
	default:
		return nil
	}
}

// newerValue says whether a later Kafka wrote the value.
func newerValue(value []byte) bool {
	return len(value) >= 2 && int16(binary.BigEndian.Uint16(value)) > newestValue //nolint:gosec // a version
}

func (m *Machine) replayOffset(r coordinator.Record) error {
	var key kmsg.OffsetCommitKey
	if err := key.ReadFrom(r.Key); err != nil {
		return fmt.Errorf("group: key of an offset: %w", err)
	}
	g := m.groups[key.Group]
	if r.Value == nil {
		if g != nil && g.offsets.remove(key.Topic, key.Partition) {
			m.counts.Offsets--
		}
		return nil
	}
	if newerValue(r.Value) {
		return nil
	}
	value := kmsg.NewOffsetCommitValue()
	if err := value.ReadFrom(r.Value); err != nil {
		return fmt.Errorf("group: offset of %q in group %q: %w", key.Topic, key.Group, err)
	}
	c := committed{
		topic: value.TopicID, offset: karst.Offset(value.Offset), epoch: karst.Epoch(value.LeaderEpoch),
		metadata: value.Metadata, at: value.CommitTimestamp, expires: -1,
	}
	if value.Version < 3 {
		c.epoch = karst.NoEpoch
	}
	if value.Version == offsetValueExpiring {
		c.expires = value.ExpireTimestamp
	}
	if g == nil {
		g = m.create(time.UnixMilli(value.CommitTimestamp), key.Group)
	}
	if g.offsets.put(key.Topic, key.Partition, c) {
		m.counts.Offsets++
	}
	return nil
}

func (m *Machine) replayGroup(r coordinator.Record) error {
	var key kmsg.GroupMetadataKey
	if err := key.ReadFrom(r.Key); err != nil {
		return fmt.Errorf("group: key of a group: %w", err)
	}
	old := m.groups[key.Group]
	if r.Value == nil {
		if old != nil {
			m.replayGone(old)
		}
		return nil
	}
	if newerValue(r.Value) {
		return nil
	}
	value := kmsg.NewGroupMetadataValue()
	if err := value.ReadFrom(r.Value); err != nil {
		return fmt.Errorf("group: metadata of group %q: %w", key.Group, err)
	}
	g := newGroup(key.Group, time.Time{})
	g.changed = value.CurrentStateTimestamp
	if value.Version < 2 {
		g.changed = -1
	}
	g.kind, g.protocol, g.generation = value.ProtocolType, value.Protocol, value.Generation
	if value.Leader != nil {
		g.leader = *value.Leader
	}
	for i := range value.Members {
		if err := g.load(&value, &value.Members[i]); err != nil {
			return err
		}
	}
	if len(g.members) > 0 {
		g.state = stateStable
		if g.byID[g.leader] == nil {
			g.leader = g.members[0].id
		}
	}
	g.subscribe()
	if old != nil {
		g.offsets, old.offsets = old.offsets, offsets{} // they are not dropped with it
		m.drop(old)
	}
	m.groups[g.id] = g
	*m.counts.of(g.state)++
	m.counts.Members += len(g.members)
	return nil
}

// replayGone forgets the group, but not its offsets: theirs are tombstones of
// their own. Kafka writes this one alone when a group moves to the protocol of
// KIP-848.
func (m *Machine) replayGone(old *group) {
	kept := old.offsets
	old.offsets = offsets{}
	m.drop(old)
	if len(kept.topics) > 0 {
		m.create(time.UnixMilli(-1), old.id).offsets = kept
	}
}

// load takes a member from the group's record.
func (g *group) load(value *kmsg.GroupMetadataValue, v *kmsg.GroupMetadataValueMember) error {
	if value.Protocol == nil {
		return fmt.Errorf("group: group %q has members and no protocol", g.id)
	}
	if g.byID[v.MemberID] != nil || v.InstanceID != nil && g.byName[*v.InstanceID] != nil {
		return fmt.Errorf("group: group %q has member %q twice", g.id, v.MemberID)
	}
	mb := &member{
		id: v.MemberID, instance: v.InstanceID, client: Client{ID: v.ClientID, Host: v.ClientHost},
		session:    time.Duration(v.SessionTimeoutMillis) * time.Millisecond,
		rebalance:  time.Duration(v.RebalanceTimeoutMillis) * time.Millisecond,
		protocols:  []Protocol{{Name: *value.Protocol, Metadata: bytes.Clone(v.Subscription)}},
		assignment: bytes.Clone(v.Assignment),
	}
	if v.RebalanceTimeoutMillis == -1 {
		mb.rebalance = mb.session
	}
	g.add(mb, value.ProtocolType)
	return nil
}
