// Package karst holds the nouns every other package speaks in: the identities
// of topics, partitions, brokers and producers, the numbers that order them,
// and the errors that cross package boundaries. It imports only the standard
// library.
package karst

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
)

// ClusterID names one Karst cluster, that is one bucket prefix. It is drawn at
// random when the bucket is first used and never changes.
type ClusterID [16]byte

// String is the id as Kafka clients see it: 22 characters of base64url.
func (id ClusterID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// TopicID is the random UUID of one incarnation of a topic (KIP-516). The zero
// value means "no topic".
type TopicID [16]byte

// String is the id in lower-case hexadecimal.
func (id TopicID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the id is absent.
func (id TopicID) IsZero() bool { return id == TopicID{} }

// Partition is the index of a partition within its topic, from 0.
type Partition int32

// TopicPartition identifies one partition of one topic incarnation.
type TopicPartition struct {
	Topic     TopicID
	Partition Partition
}

func (tp TopicPartition) String() string {
	return tp.Topic.String() + "-" + strconv.Itoa(int(tp.Partition))
}

// Compare orders partitions by topic id, then index: the order of segments.
func (tp TopicPartition) Compare(o TopicPartition) int {
	for i := range tp.Topic {
		if tp.Topic[i] != o.Topic[i] {
			return int(tp.Topic[i]) - int(o.Topic[i])
		}
	}
	return int(tp.Partition) - int(o.Partition)
}

// Offset is the position of a record in its partition, from 0.
type Offset int64

// Epoch is a leader epoch: it grows by one each time a partition's leadership
// is placed. -1 means unknown or "do not check" (KIP-320).
type Epoch int32

// NoEpoch is the absent leader epoch.
const NoEpoch Epoch = -1

// BrokerID is the Kafka node id of a broker, from 0. It outlives processes.
type BrokerID int32

// Incarnation is one life of one broker process, handed out by the metadata
// log; it only grows, and 0 means none.
type Incarnation uint64

// Term counts controllers; the first is 1.
type Term uint64

// Number is the position of an object in a numbered log; the first is 1.
type Number uint64

// ProducerID identifies an idempotent producer (KIP-98); -1 means none.
type ProducerID int64

// NoProducer is the absent producer id.
const NoProducer ProducerID = -1

// ProducerEpoch is the epoch of a producer id; -1 means none.
type ProducerEpoch int16

// Sequence is a producer's batch sequence number; it wraps from 2^31-1 to 0.
type Sequence int32

// Add is s advanced by n records, wrapped as Kafka wraps it.
func (s Sequence) Add(n int32) Sequence {
	return Sequence((int64(s) + int64(n)) & 0x7fffffff)
}

// Timestamp is milliseconds since the Unix epoch; -1 means none.
type Timestamp int64

// NoTimestamp is the absent timestamp.
const NoTimestamp Timestamp = -1

// CorruptError says that stored bytes are not what was written.
type CorruptError struct {
	Object string // name of the object
	Offset int64  // position in the object, in bytes; -1 if not known
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt object %s at byte %d: %s", e.Object, e.Offset, e.Reason)
}

// Span is a place in an object.
type Span struct {
	Pos int64 // from the start of the object, in bytes
	Len int64 // bytes
}
