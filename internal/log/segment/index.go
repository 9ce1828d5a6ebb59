package segment

import (
	"encoding/binary"
	"math"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/store/object"
)

const (
	version = 1 // of segment, directory and index block

	kindBatches   = 1 // of a slice or index block: batches in this object
	kindReference = 2 // reserved: bytes in another broker's WAL segment

	// Flags of an entry.
	entryKind     = 3 // 0: a batch in this object; others reserved for references
	entryCount    = 4
	entryProducer = 8
	entryMarker   = 16
	entryMaxDelta = 32
	entryUnknown  = ^byte(entryKind | entryCount | entryProducer | entryMarker | entryMaxDelta)

	entryMin = 12 // least bytes of an encoded entry: bounds allocation
)

// appendIndex appends the index block of one slice.
func appendIndex(b []byte, entries []Entry) []byte {
	b = append(b, kindBatches, version)
	b = binary.AppendUvarint(b, uint64(entries[0].Pos))
	b = binary.AppendUvarint(b, uint64(len(entries)))
	prev := record.Info{LastDelta: -1} // Next is 0
	for k := range entries {
		i := &entries[k].Info
		b = appendEntry(b, i, &prev)
		prev = *i
	}
	return b
}

func appendEntry(b []byte, i, prev *record.Info) []byte {
	at := len(b)
	flags := byte(0)
	b = append(b, 0)
	b = binary.AppendUvarint(b, uint64(i.Base-prev.Next()))
	b = binary.AppendUvarint(b, uint64(uint32(i.LastDelta)))
	if i.Count != i.LastDelta+1 {
		flags |= entryCount
		b = binary.AppendUvarint(b, uint64(uint32(i.Count)))
	}
	b = binary.AppendUvarint(b, uint64(uint32(i.Size)))
	b = binary.AppendVarint(b, int64(i.Epoch)-int64(prev.Epoch))
	b = binary.AppendUvarint(b, uint64(uint16(i.Attributes)))
	b = binary.AppendVarint(b, int64(i.BaseTimestamp-prev.BaseTimestamp))
	b = binary.AppendVarint(b, int64(i.MaxTimestamp-i.BaseTimestamp))
	if i.MaxDelta != i.LastDelta {
		flags |= entryMaxDelta
		b = binary.AppendUvarint(b, uint64(uint32(i.MaxDelta+1)))
	}
	if i.Producer != karst.NoProducer || i.ProducerEpoch != -1 || i.BaseSequence != -1 {
		flags |= entryProducer
		b = binary.AppendVarint(b, int64(i.Producer-prev.Producer))
		b = binary.AppendVarint(b, int64(i.ProducerEpoch))
		b = binary.AppendVarint(b, int64(i.BaseSequence))
	}
	if i.Marker != record.NoMarker || i.CoordinatorEpoch != -1 {
		flags |= entryMarker
		b = binary.AppendVarint(b, int64(i.Marker))
		b = binary.AppendVarint(b, int64(i.CoordinatorEpoch))
	}
	b[at] = flags
	return binary.BigEndian.AppendUint32(b, i.CRC)
}

// DecodeIndex decodes the bytes of an index block, which were read from at in
// the object name. Errors are *karst.CorruptError.
func DecodeIndex(name string, at karst.Span, check uint32, b []byte) ([]Entry, error) {
	c := cursor{name: name, b: b, origin: at.Pos}
	if int64(len(b)) != at.Len {
		return nil, c.corrupt("index block has %d bytes, want %d", len(b), at.Len)
	}
	if sum := object.Checksum(b); sum != check {
		return nil, c.corrupt("index block has CRC %08x, want %08x", sum, check)
	}
	kind, ver := c.byte(), c.byte()
	if c.err == nil && ver != version {
		return nil, c.corrupt("index block of unknown version %d", ver)
	}
	if c.err == nil && kind != kindBatches {
		return nil, c.unknownKind("index block", kind)
	}
	pos := c.size()
	entries := make([]Entry, 0, c.count(entryMin))
	prev := record.Info{LastDelta: -1}
	for range cap(entries) {
		i := c.entry(&prev)
		if c.err != nil {
			return nil, c.err
		}
		if pos > math.MaxInt64-int64(i.Size) {
			return nil, c.corrupt("batch position overflows")
		}
		entries = append(entries, Entry{Info: i, Pos: pos})
		pos += int64(i.Size)
		prev = i
	}
	return entries, c.end("index block")
}

// entry decodes one entry.
func (c *cursor) entry(prev *record.Info) record.Info {
	var i record.Info
	flags := c.byte()
	if c.err == nil && flags&entryKind != 0 {
		c.err = c.unknownKind("index entry", flags&entryKind)
	}
	if c.err == nil && flags&entryUnknown != 0 {
		c.err = c.corrupt("index entry with unknown flags %#x", flags)
	}
	gap := c.size()
	i.LastDelta = int32(c.limited(math.MaxInt32))
	i.Count = i.LastDelta + 1
	if i.LastDelta == math.MaxInt32 || gap > math.MaxInt64-int64(prev.Next())-int64(i.LastDelta)-1 {
		c.fail("offset overflows")
	}
	i.Base = prev.Next() + karst.Offset(gap)
	if flags&entryCount != 0 {
		i.Count = int32(c.limited(math.MaxInt32))
	}
	i.Size = int32(c.limited(math.MaxInt32))
	if i.Size < record.HeaderSize {
		c.fail("batch of %d bytes", i.Size)
	}
	i.Epoch = karst.Epoch(c.signed(math.MinInt32, math.MaxInt32, int64(prev.Epoch)))
	i.Attributes = record.Attributes(uint16(c.limited(math.MaxUint16)))
	i.BaseTimestamp = prev.BaseTimestamp + karst.Timestamp(c.varint())
	i.MaxTimestamp = i.BaseTimestamp + karst.Timestamp(c.varint())
	i.MaxDelta = i.LastDelta
	if flags&entryMaxDelta != 0 {
		i.MaxDelta = int32(c.limited(math.MaxInt32)) - 1
	}
	i.Producer, i.ProducerEpoch, i.BaseSequence = karst.NoProducer, -1, -1
	if flags&entryProducer != 0 {
		i.Producer = prev.Producer + karst.ProducerID(c.varint())
		i.ProducerEpoch = karst.ProducerEpoch(c.signed(math.MinInt16, math.MaxInt16, 0))
		i.BaseSequence = karst.Sequence(c.signed(math.MinInt32, math.MaxInt32, 0))
	}
	i.Marker, i.CoordinatorEpoch = record.NoMarker, -1
	if flags&entryMarker != 0 {
		i.Marker = record.Marker(c.signed(math.MinInt8, math.MaxInt8, 0))
		i.CoordinatorEpoch = int32(c.signed(math.MinInt32, math.MaxInt32, 0))
	}
	i.CRC = c.uint32()
	return i
}
