package segment

import (
	"encoding/binary"
	"math"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store/object"
)

const (
	footerSize = 44
	magic      = "KARSTSEG"

	// Least bytes of what the directory counts: they bound allocation.
	sliceMin = 14
	trimMin  = 19
	stateMin = 22
)

// footer is the fixed end of a segment.
type footer struct {
	directory karst.Span
	check     uint32
	size      int64 // of the object
}

func (f footer) append(b []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint64(b, uint64(f.directory.Pos))
	b = binary.BigEndian.AppendUint64(b, uint64(f.directory.Len))
	b = binary.BigEndian.AppendUint32(b, f.check)
	b = binary.BigEndian.AppendUint64(b, uint64(f.size))
	b = append(b, version, 0, 0, 0)
	b = append(b, magic...)
	return binary.BigEndian.AppendUint32(b, object.Checksum(b[start:]))
}

// decodeFooter decodes the last footerSize bytes of an object, b.
func decodeFooter(name string, b []byte) (footer, error) {
	c := cursor{name: name, b: b, origin: -1}
	bad := func(why string, args ...any) (footer, error) { return footer{}, c.corrupt(why, args...) }
	if len(b) != footerSize {
		return bad("shorter than a segment footer")
	}
	if string(b[32:40]) != magic {
		return bad("does not end as a segment (bad magic)")
	}
	if binary.BigEndian.Uint32(b[40:]) != object.Checksum(b[:40]) {
		return bad("footer checksum differs")
	}
	if b[28] != version {
		return bad("segment of unknown version %d", b[28])
	}
	f := footer{
		directory: karst.Span{Pos: int64(binary.BigEndian.Uint64(b)), Len: int64(binary.BigEndian.Uint64(b[8:]))},
		check:     binary.BigEndian.Uint32(b[16:]),
		size:      int64(binary.BigEndian.Uint64(b[20:])),
	}
	d := f.directory
	if d.Pos < object.HeaderSize || d.Len < 0 || d.Pos > math.MaxInt64-footerSize-d.Len || d.Pos+d.Len+footerSize != f.size {
		return bad("footer places the directory at %d+%d of %d bytes", d.Pos, d.Len, f.size)
	}
	return f, nil
}

func appendDirectory(b []byte, d *Directory) []byte {
	b = append(b, version)
	b = append(b, d.Header.Cluster[:]...)
	b = binary.BigEndian.AppendUint64(b, d.Header.Writer)
	b = binary.BigEndian.AppendUint64(b, d.Header.Number)
	b = append(b, d.Header.Nonce[:]...)
	b = binary.AppendUvarint(b, uint64(len(d.Slices)))
	var prev karst.TopicPartition
	for i := range d.Slices {
		s := &d.Slices[i]
		b = append(b, kindBatches)
		if i > 0 && s.Partition.Topic == prev.Topic {
			b = append(b, 1)
		} else {
			b = append(append(b, 0), s.Partition.Topic[:]...)
		}
		b = binary.AppendVarint(b, int64(s.Partition.Partition)-int64(prev.Partition))
		b = binary.AppendUvarint(b, uint64(s.Base))
		b = binary.AppendUvarint(b, uint64(s.Last-s.Base))
		b = binary.AppendUvarint(b, uint64(uint32(s.Batches)))
		b = binary.AppendUvarint(b, uint64(s.Data.Len))
		b = binary.AppendUvarint(b, uint64(s.Index.Len))
		b = binary.BigEndian.AppendUint32(b, s.IndexCheck)
		b = binary.AppendVarint(b, int64(s.MaxTimestamp))
		if s.MaxTimestampOffset < 0 {
			b = append(b, 0)
		} else {
			b = binary.AppendUvarint(b, uint64(s.MaxTimestampOffset-s.Base)+1)
		}
		prev = s.Partition
	}
	b = binary.AppendUvarint(b, uint64(len(d.Trims)))
	for _, t := range d.Trims {
		b = appendPartition(b, t.Partition)
		b = binary.AppendVarint(b, int64(t.Epoch))
		b = binary.AppendVarint(b, int64(t.Offset))
	}
	b = binary.AppendUvarint(b, uint64(len(d.States)))
	for _, s := range d.States {
		b = appendPartition(b, s.Partition)
		b = binary.AppendUvarint(b, uint64(s.At.Len))
		b = binary.BigEndian.AppendUint32(b, s.Check)
	}
	return b
}

func appendPartition(b []byte, tp karst.TopicPartition) []byte {
	b = append(b, tp.Topic[:]...)
	return binary.AppendVarint(b, int64(tp.Partition))
}

// decodeDirectory decodes the directory that f speaks of.
func decodeDirectory(name string, f footer, b []byte) (*Directory, error) {
	c := cursor{name: name, b: b, origin: f.directory.Pos}
	if sum := object.Checksum(b); sum != f.check {
		return nil, c.corrupt("directory has CRC %08x, want %08x", sum, f.check)
	}
	if v := c.byte(); c.err == nil && v != version {
		return nil, c.corrupt("directory of unknown version %d", v)
	}
	d := &Directory{Header: object.Header{
		Kind: object.Segment, Version: version,
		Length: f.size - object.HeaderSize, Check: f.check,
	}}
	copy(d.Header.Cluster[:], c.take(len(d.Header.Cluster)))
	d.Header.Writer, d.Header.Number = c.uint64(), c.uint64()
	copy(d.Header.Nonce[:], c.take(len(d.Header.Nonce)))
	pos := c.slices(d, f.directory.Pos)
	if n := c.count(trimMin); n > 0 {
		d.Trims = make([]Trim, 0, n)
	}
	for range cap(d.Trims) {
		tp := c.partition()
		d.Trims = append(d.Trims, Trim{
			Partition: tp, Epoch: karst.Epoch(c.signed(math.MinInt32, math.MaxInt32, 0)), Offset: karst.Offset(c.varint()),
		})
	}
	if n := c.count(stateMin); n > 0 {
		d.States = make([]StateAt, 0, n)
	}
	for range cap(d.States) {
		s := StateAt{Partition: c.partition()}
		s.At = c.span(&pos, f.directory.Pos)
		s.Check = c.uint32()
		d.States = append(d.States, s)
	}
	if c.err == nil && pos != f.directory.Pos {
		c.fail("data, indexes and states end at %d, the directory begins at %d", pos, f.directory.Pos)
	}
	if err := c.end("directory"); err != nil {
		return nil, err
	}
	return d, nil
}

// slices decodes the slices and returns where their index blocks end.
func (c *cursor) slices(d *Directory, end int64) int64 {
	if n := c.count(sliceMin); n > 0 {
		d.Slices = make([]Slice, 0, n)
	}
	pos := int64(object.HeaderSize)
	var prev karst.TopicPartition
	for i := range cap(d.Slices) {
		s := c.slice(prev, i == 0)
		if c.err == nil && s.Data.Len > end-pos {
			c.fail("slice of %d bytes at %d passes the directory", s.Data.Len, pos)
		}
		if c.err != nil {
			return 0
		}
		s.Data.Pos = pos
		pos += s.Data.Len
		prev = s.Partition
		d.Slices = append(d.Slices, s)
	}
	for i := range d.Slices {
		at := &d.Slices[i].Index
		if at.Len > end-pos {
			c.fail("index block of %d bytes at %d passes the directory", at.Len, pos)
			return 0
		}
		at.Pos = pos
		pos += at.Len
	}
	return pos
}

// slice decodes one slice but for the positions.
func (c *cursor) slice(prev karst.TopicPartition, first bool) Slice {
	var s Slice
	if kind := c.byte(); c.err == nil && kind != kindBatches {
		c.err = c.unknownKind("slice", kind)
	}
	s.Partition.Topic = prev.Topic
	switch same := c.byte(); {
	case same == 0:
		copy(s.Partition.Topic[:], c.take(len(s.Partition.Topic)))
	case same != 1 || first:
		c.fail("slice without a topic")
	}
	s.Partition.Partition = karst.Partition(c.signed(math.MinInt32, math.MaxInt32, int64(prev.Partition)))
	if c.err == nil && !first && prev.Compare(s.Partition) >= 0 {
		c.fail("slices are out of order")
	}
	s.Base = karst.Offset(c.size())
	span := c.limited(uint64(math.MaxInt64 - 1 - int64(s.Base)))
	s.Last = s.Base + karst.Offset(span)
	s.Batches = int32(c.limited(math.MaxInt32))
	s.Data.Len, s.Index.Len = c.size(), c.size()
	s.IndexCheck = c.uint32()
	s.MaxTimestamp = karst.Timestamp(c.varint())
	s.MaxTimestampOffset = -1
	if at := c.limited(span + 1); at > 0 {
		s.MaxTimestampOffset = s.Base + karst.Offset(at-1)
	}
	return s
}

func (c *cursor) partition() (tp karst.TopicPartition) {
	copy(tp.Topic[:], c.take(len(tp.Topic)))
	tp.Partition = karst.Partition(c.signed(math.MinInt32, math.MaxInt32, 0))
	return tp
}

// span is the next span, of a length that is decoded, which must end before end.
func (c *cursor) span(pos *int64, end int64) karst.Span {
	n := c.size()
	if c.err == nil && n > end-*pos {
		c.fail("state of %d bytes at %d passes the directory", n, *pos)
	}
	if c.err != nil {
		return karst.Span{}
	}
	at := karst.Span{Pos: *pos, Len: n}
	*pos += n
	return at
}
