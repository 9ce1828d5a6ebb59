// Package segment is the one file format of Karst's data: an immutable object
// of record batches sorted by (topic id, partition, offset), with an index and
// a footer. A WAL object is a small segment, a flushed object a medium one, a
// merged object a large one.
//
// # Layout of version 1
//
// Integers of fixed size are big endian; "uv" is an unsigned LEB128 integer,
// "zz" a zigzag-coded signed one. Every byte of the object belongs to exactly
// one of the following, in this order and without gaps:
//
//	header     96 bytes, package object: kind Segment, version 1, check = CRC-32C of the directory
//	data       batches; those of one slice are contiguous, in offset order
//	indexes    one block per slice, in slice order
//	states     producer-state checkpoints
//	directory
//	footer     44 bytes
//
// Footer:
//
//	 0  8  position of the directory
//	 8  8  length of the directory
//	16  4  CRC-32C of the directory
//	20  8  length of the object
//	28  1  version
//	29  3  zero
//	32  8  magic "KARSTSEG"
//	40  4  CRC-32C of bytes 0 to 39
//
// Directory: it repeats who wrote the object, so that one GET of the object's
// end identifies it.
//
//	 0  1  version
//	 1 16  cluster id
//	17  8  writer
//	25  8  number
//	33 16  nonce
//	49 uv  slices, then that many of:
//	       1  kind: 1 batches in this object; 2 is reserved for references (these
//	          offsets are the bytes at that place of another broker's WAL segment)
//	       1  1 if the topic is that of the slice before, else 0
//	      16  topic id, if not the same
//	      zz  partition, minus that of the slice before
//	      uv  base offset, uv last offset minus base, uv batches
//	      uv  length of data, uv length of index block
//	       4  CRC-32C of the index block
//	      zz  maximum timestamp, uv its record's offset minus base plus 1 (0: not known)
//	   uv  trims: each 16 topic id, zz partition, zz epoch, zz offset
//	   uv  states: each 16 topic id, zz partition, uv length, 4 CRC-32C
//
// Index block:
//
//	0  1  kind: 1 batches
//	1  1  version
//	2 uv  position of the first batch, uv entries, then that many of:
//	      1  flags: bits 0-1 kind (0: a batch here; others are reserved for
//	         references), 4 count follows, 8 producer follows, 16 marker
//	         follows, 32 maxDelta follows
//	     uv  base offset, minus the offset after the entry before
//	     uv  last offset delta; [uv count, else lastDelta + 1]; uv bytes
//	     zz  leader epoch, minus that before; uv attributes
//	     zz  base timestamp, minus that before; zz maximum timestamp, minus base
//	     [uv maxDelta + 1, else lastDelta]
//	     [zz producer id minus that before, zz producer epoch, zz base sequence]
//	     [zz marker, zz coordinator epoch]
//	      4  the batch's own CRC-32C
//
// A batch's CRC covers it but for base offset, length and leader epoch; those
// are compared with the index (record.Check). Thus no flipped bit goes unseen.
package segment

import (
	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
)

// Batch is one batch on its way into a segment.
type Batch struct {
	Partition karst.TopicPartition
	Info      record.Info
	Bytes     []byte // exactly Info.Size bytes, stamped
}

// Trim is a DeleteRecords entry: everything below Offset is gone.
type Trim struct {
	Partition karst.TopicPartition
	Epoch     karst.Epoch
	Offset    karst.Offset
}

// State is a producer-state checkpoint of one partition, opaque to this package.
type State struct {
	Partition karst.TopicPartition
	Bytes     []byte
}

// Entry is one batch as the index knows it.
type Entry struct {
	Info record.Info
	Pos  int64 // from the start of the object, in bytes
}

// Slice is the part of a segment that belongs to one partition: a contiguous
// run of batches in offset order (with gaps where records were compacted away),
// all of one leader epoch or several.
type Slice struct {
	Partition          karst.TopicPartition
	Base, Last         karst.Offset
	Batches            int32
	Data, Index        karst.Span
	IndexCheck         uint32 // CRC-32C of the index block
	MaxTimestamp       karst.Timestamp
	MaxTimestampOffset karst.Offset // of the first record that has it; -1 if its batch was not opened
}

// Directory is what the end of a segment says about it.
type Directory struct {
	Header object.Header
	Slices []Slice // in partition order; a partition may have one at most
	Trims  []Trim
	States []StateAt

	end   []byte // what came with the directory of the index blocks before it
	endAt int64  // its position
}

// StateAt is where a checkpoint lies.
type StateAt struct {
	Partition karst.TopicPartition
	At        karst.Span
	Check     uint32
}

// Built is a finished segment in memory.
type Built struct {
	Directory Directory
	Indexes   [][]Entry  // of each slice, with positions
	Batches   [][][]byte // of each slice, the bytes of each batch within Body
	Body      store.Body // the caller sets Hold
	Size      int64
}
