package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/coordinator"
)

// The versions of Kafka's coordinator records. A key's version is the type of the
// record; other types are of newer group protocols.
const (
	keyOffsetOld int16 = 0 // as keyOffset
	keyOffset    int16 = 1
	keyGroup     int16 = 2

	offsetValueExpiring int16 = 1 // the one version that says when it expires
	offsetValue         int16 = 4 // with the topic's id
	groupValue          int16 = 3

	// newestValue is the newest version of either value that can be read.
	newestValue int16 = 4
)

// offsetBatch makes the records of one commit, in one piece of memory.
type offsetBatch struct {
	group string
	bytes []byte
	left  int // records
}

func newOffsetBatch(group string, records int) offsetBatch {
	return offsetBatch{group: group, left: records}
}

func (b *offsetBatch) offset(topic string, partition int32, c *committed) coordinator.Record {
	// Lengths and fixed fields of key and value; strings come on top.
	const fixed = (2 + 2 + 2 + 4) + (2 + 8 + 4 + 3 + 8 + 8 + 19)
	size := fixed + len(b.group) + len(topic) + len(c.metadata)
	if cap(b.bytes)-len(b.bytes) < size {
		b.bytes = make([]byte, 0, size*max(1, min(b.left, 64)))
	}
	b.left--
	start := len(b.bytes)
	key := kmsg.OffsetCommitKey{Version: keyOffset, Group: b.group, Topic: topic, Partition: partition}
	b.bytes = key.AppendTo(b.bytes)
	middle := len(b.bytes)
	value := kmsg.OffsetCommitValue{
		Version: offsetValue, Offset: int64(c.offset), LeaderEpoch: int32(c.epoch), Metadata: c.metadata,
		CommitTimestamp: c.at, ExpireTimestamp: -1, TopicID: c.topic,
	}
	if c.expires != -1 {
		value.Version, value.ExpireTimestamp = offsetValueExpiring, c.expires
	}
	b.bytes = value.AppendTo(b.bytes)
	end := len(b.bytes)
	return coordinator.Record{Key: b.bytes[start:middle:middle], Value: b.bytes[middle:end:end]}
}

func offsetTombstone(group, topic string, partition int32) coordinator.Record {
	key := kmsg.OffsetCommitKey{Version: keyOffset, Group: group, Topic: topic, Partition: partition}
	return coordinator.Record{Key: key.AppendTo(nil)}
}

func groupTombstone(group string) coordinator.Record {
	key := kmsg.GroupMetadataKey{Version: keyGroup, Group: group}
	return coordinator.Record{Key: key.AppendTo(nil)}
}

// newGroupRecord is the record of a group that has just been made.
func newGroupRecord(g *group) coordinator.Record {
	return encodeGroup(g.id, kmsg.GroupMetadataValue{Version: groupValue, CurrentStateTimestamp: g.changed})
}

// groupRecord is the record of a group and its members, and whether the partition
// would take it.
func (m *Machine) groupRecord(g *group) (coordinator.Record, bool) {
	value := kmsg.GroupMetadataValue{
		Version:               groupValue,
		ProtocolType:          g.kind,
		Generation:            g.generation,
		Protocol:              g.protocol,
		Leader:                optional(g.leader),
		CurrentStateTimestamp: g.changed,
		Members:               make([]kmsg.GroupMetadataValueMember, len(g.members)),
	}
	for i, mb := range g.members {
		value.Members[i] = kmsg.GroupMetadataValueMember{
			MemberID: mb.id, InstanceID: mb.instance, ClientID: mb.client.ID, ClientHost: mb.client.Host,
			RebalanceTimeoutMillis: millis(mb.rebalance),
			SessionTimeoutMillis:   millis(mb.session),
			Subscription:           mb.metadata(*g.protocol),
			Assignment:             mb.assignment,
		}
	}
	r := encodeGroup(g.id, value)
	limit := m.cfg.recordMax()
	return r, limit == 0 || int64(len(r.Key)+len(r.Value)) <= limit
}

func encodeGroup(id string, value kmsg.GroupMetadataValue) coordinator.Record {
	key := kmsg.GroupMetadataKey{Version: keyGroup, Group: id}
	return coordinator.Record{Key: key.AppendTo(nil), Value: value.AppendTo(nil)}
}
