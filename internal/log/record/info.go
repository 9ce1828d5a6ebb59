// Package record is Kafka's RecordBatch v2: the one Kafka format that is both
// wire and storage. It parses, validates, stamps, iterates and re-encodes
// batches, with every codec.
package record

import "github.com/karst-io/karst"

// HeaderSize is the length of a batch header, the base offset included, in bytes.
const HeaderSize = 61

// Attributes are the attribute bits of a batch.
type Attributes int16

// Codec is the compression codec of the batch.
func (a Attributes) Codec() Codec { return Codec(a & 7) }

// LogAppendTime reports whether the broker stamped the batch.
func (a Attributes) LogAppendTime() bool { return a&8 != 0 }

// Transactional reports whether the batch belongs to a transaction.
func (a Attributes) Transactional() bool { return a&16 != 0 }

// Control reports whether the batch holds a marker instead of data.
func (a Attributes) Control() bool { return a&32 != 0 }

// Codec is a compression codec, numbered as in Kafka.
type Codec uint8

// The codecs.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

// Marker is the type of a control batch.
type Marker int8

// The markers; NoMarker for data batches.
const (
	NoMarker     Marker = -1
	AbortMarker  Marker = 0
	CommitMarker Marker = 1
)

// Info is what is known of a batch without opening its records: the header,
// and what validation learned. WAL and segment indexes carry all of it, so that
// a partition's state can be rebuilt from indexes alone.
type Info struct {
	Base             karst.Offset // offset of the first record
	LastDelta        int32        // last offset = Base + LastDelta
	Count            int32        // records; 0 is legal in compacted logs
	Size             int32        // bytes, the 12-byte prefix included
	Epoch            karst.Epoch  // partition leader epoch
	Attributes       Attributes
	BaseTimestamp    karst.Timestamp
	MaxTimestamp     karst.Timestamp
	MaxDelta         int32 // offset delta of the first record with MaxTimestamp
	Producer         karst.ProducerID
	ProducerEpoch    karst.ProducerEpoch
	BaseSequence     karst.Sequence // -1 without producer
	Marker           Marker
	CoordinatorEpoch int32  // of a marker; -1 otherwise
	CRC              uint32 // the batch's own CRC-32C
}

// Last is the offset of the last record.
func (i Info) Last() karst.Offset { return i.Base + karst.Offset(i.LastDelta) }

// Next is the offset after the batch.
func (i Info) Next() karst.Offset { return i.Last() + 1 }

// LastSequence is the sequence of the last record, wrapped.
func (i Info) LastSequence() karst.Sequence { return i.BaseSequence.Add(i.LastDelta) }
