package record

import (
	"encoding/binary"
	"math"

	"github.com/karst-io/karst"
)

// Builder encodes one batch: for tools, tests and internal topics. Set the
// fields, Append records, take Bytes.
type Builder struct {
	Base          karst.Offset
	Epoch         karst.Epoch
	Codec         Codec
	Level         int // 0 for the codec's default
	Transactional bool
	Producer      karst.ProducerID
	ProducerEpoch karst.ProducerEpoch
	BaseSequence  karst.Sequence

	codecs     *Codecs
	control    bool
	count      int32
	first, max karst.Timestamp
	records    []byte
}

// NewBuilder makes a Builder for an uncompressed batch at offset 0, without
// producer and leader epoch.
func NewBuilder(c *Codecs) *Builder {
	return &Builder{Epoch: karst.NoEpoch, Producer: karst.NoProducer, ProducerEpoch: -1, BaseSequence: -1, codecs: c}
}

// Append adds a record at the next offset. A nil key or value is null.
func (b *Builder) Append(ts karst.Timestamp, key, value []byte, headers ...Header) {
	if b.count == 0 {
		b.first, b.max = ts, ts
	}
	b.max = max(b.max, ts)
	length := 1 + zigzagSize(int64(ts-b.first)) + zigzagSize(int64(b.count)) + bytesSize(key) + bytesSize(value) + zigzagSize(int64(len(headers)))
	for _, h := range headers {
		length += zigzagSize(int64(len(h.Key))) + len(h.Key) + bytesSize(h.Value)
	}
	r := appendZigzag(b.records, int64(length))
	r = append(r, 0)
	r = appendZigzag(r, int64(ts-b.first))
	r = appendZigzag(r, int64(b.count))
	r = appendBytes(r, key)
	r = appendBytes(r, value)
	r = appendZigzag(r, int64(len(headers)))
	for _, h := range headers {
		r = appendZigzag(r, int64(len(h.Key)))
		r = append(r, h.Key...)
		r = appendBytes(r, h.Value)
	}
	b.records = r
	b.count++
}

// Len is the number of records so far.
func (b *Builder) Len() int { return int(b.count) }

// Size is the number of bytes so far, before compression, header included.
func (b *Builder) Size() int { return HeaderSize + len(b.records) }

// Bytes encodes the batch. At least one record must have been appended. The
// Builder can go on; the result is its own.
func (b *Builder) Bytes() ([]byte, error) {
	if b.count == 0 {
		panic("BUG: record batch without records")
	}
	out, err := b.payload(make([]byte, HeaderSize, HeaderSize+len(b.records)))
	if err != nil {
		return nil, err
	}
	b.header(out)
	return out, nil
}

// payload appends the records, compressed, behind dst.
func (b *Builder) payload(dst []byte) ([]byte, error) {
	if b.Codec == None {
		return append(dst, b.records...), nil
	}
	w, err := b.codecs.writer(b.Codec, b.Level, dst, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	defer b.codecs.release(w)
	if _, err := w.Write(b.records); err != nil {
		return nil, err
	}
	return w.finish()
}

// header fills the header of a batch whose payload is in place.
func (b *Builder) header(out []byte) {
	attributes := uint16(b.Codec)
	if b.Transactional {
		attributes |= 16
	}
	if b.control {
		attributes |= 32
	}
	Stamp(out, b.Base, b.Epoch)
	binary.BigEndian.PutUint32(out[atLength:], uint32(len(out)-prefixSize))
	out[atMagic] = magicV2
	binary.BigEndian.PutUint16(out[atAttributes:], attributes)
	binary.BigEndian.PutUint32(out[atLastDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(out[atBaseTimestamp:], uint64(b.first))
	binary.BigEndian.PutUint64(out[atMaxTimestamp:], uint64(b.max))
	binary.BigEndian.PutUint64(out[atProducer:], uint64(b.Producer))
	binary.BigEndian.PutUint16(out[atProducerEpoch:], uint16(b.ProducerEpoch))
	binary.BigEndian.PutUint32(out[atBaseSequence:], uint32(b.BaseSequence))
	binary.BigEndian.PutUint32(out[atCount:], uint32(b.count))
	binary.BigEndian.PutUint32(out[atCRC:], checksum(out))
}

// EncodeMarker encodes a control batch: one transaction marker of version 0.
func EncodeMarker(m Marker, p karst.ProducerID, pe karst.ProducerEpoch, coordinatorEpoch int32, ts karst.Timestamp) []byte {
	b := NewBuilder(nil)
	b.Producer, b.ProducerEpoch, b.Transactional, b.control = p, pe, true, true
	key := binary.BigEndian.AppendUint16(make([]byte, 2, 4), uint16(m))
	value := binary.BigEndian.AppendUint32(make([]byte, 2, 6), uint32(coordinatorEpoch))
	b.Append(ts, key, value)
	out, _ := b.payload(make([]byte, HeaderSize, HeaderSize+len(b.records))) // uncompressed: never fails
	b.header(out)
	return out
}

// appendBytes appends a nullable byte string behind its length.
func appendBytes(b, v []byte) []byte {
	if v == nil {
		return append(b, 1) // -1
	}
	b = appendZigzag(b, int64(len(v)))
	return append(b, v...)
}

func bytesSize(v []byte) int {
	if v == nil {
		return 1
	}
	return zigzagSize(int64(len(v))) + len(v)
}
