package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"math"

	"github.com/karst-io/karst"
)

// Where the fields of a batch are, in bytes from its start. Everything is big
// endian; the CRC-32C covers attributes to end.
const (
	atBase          = 0
	atLength        = 8 // bytes after this field
	atEpoch         = 12
	atMagic         = 16
	atCRC           = 17
	atAttributes    = 21
	atLastDelta     = 23
	atBaseTimestamp = 27
	atMaxTimestamp  = 35
	atProducer      = 43
	atProducerEpoch = 51
	atBaseSequence  = 53
	atCount         = 57

	prefixSize = 12 // base offset and length, not counted by the length
	magicV2    = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Parse decodes the header of the batch at the start of b, which must hold the
// whole batch; what follows it is ignored. The CRC is not verified. MaxDelta is
// -1 (not known), unless there is only one offset in the batch. Errors are *karst.Error.
func Parse(b []byte) (Info, error) {
	if len(b) < HeaderSize {
		return Info{}, karst.CorruptRecord.Errorf("%d bytes are too few for a record batch", len(b))
	}
	if m := b[atMagic]; m != magicV2 {
		return Info{}, karst.InvalidRecord.Errorf("record batch has magic %d; only 2 is accepted", int8(m))
	}
	length := int32(binary.BigEndian.Uint32(b[atLength:]))
	if length < HeaderSize-prefixSize || length > math.MaxInt32-prefixSize || int64(length)+prefixSize > int64(len(b)) {
		return Info{}, karst.CorruptRecord.Errorf("record batch claims %d bytes after its length; %d are there", length, len(b)-prefixSize)
	}
	i := parseHeader(b)
	if i.Attributes.Control() {
		if err := parseMarker(b[HeaderSize:i.Size], &i); err != nil {
			return Info{}, err
		}
	}
	return i, nil
}

// parseHeader decodes the fixed fields; b has been measured.
func parseHeader(b []byte) Info {
	b = b[:HeaderSize]
	i := Info{
		Base:             karst.Offset(binary.BigEndian.Uint64(b[atBase:])),
		LastDelta:        int32(binary.BigEndian.Uint32(b[atLastDelta:])),
		Count:            int32(binary.BigEndian.Uint32(b[atCount:])),
		Size:             int32(binary.BigEndian.Uint32(b[atLength:])) + prefixSize,
		Epoch:            karst.Epoch(binary.BigEndian.Uint32(b[atEpoch:])),
		Attributes:       Attributes(binary.BigEndian.Uint16(b[atAttributes:])),
		BaseTimestamp:    karst.Timestamp(binary.BigEndian.Uint64(b[atBaseTimestamp:])),
		MaxTimestamp:     karst.Timestamp(binary.BigEndian.Uint64(b[atMaxTimestamp:])),
		MaxDelta:         -1,
		Producer:         karst.ProducerID(binary.BigEndian.Uint64(b[atProducer:])),
		ProducerEpoch:    karst.ProducerEpoch(binary.BigEndian.Uint16(b[atProducerEpoch:])),
		BaseSequence:     karst.Sequence(binary.BigEndian.Uint32(b[atBaseSequence:])),
		Marker:           NoMarker,
		CoordinatorEpoch: -1,
		CRC:              binary.BigEndian.Uint32(b[atCRC:]),
	}
	if i.Count == 1 && i.LastDelta == 0 {
		i.MaxDelta = 0
	}
	return i
}

// parseMarker reads marker and coordinator epoch from the one record of an
// uncompressed control batch. Control records of other types (a KRaft log has
// some) leave Marker at NoMarker.
func parseMarker(payload []byte, i *Info) error {
	if i.Count == 0 { // a compacted-away marker: the batch is kept for its header
		return nil
	}
	if i.Attributes.Codec() != None || i.Count != 1 {
		return karst.InvalidRecord.Errorf("control batch is compressed or has %d records", i.Count)
	}
	w := window{buf: payload, end: len(payload)}
	var r head
	if err := w.next(&r); err != nil {
		return refused(err)
	}
	// Key: version, type. Value: version, coordinator epoch.
	if len(r.key) < 4 {
		return karst.InvalidRecord.Errorf("control record has no type")
	}
	switch m := Marker(binary.BigEndian.Uint16(r.key[2:])); m {
	case AbortMarker, CommitMarker:
		if len(r.value) < 6 {
			return karst.InvalidRecord.Errorf("transaction marker has no coordinator epoch")
		}
		i.Marker, i.CoordinatorEpoch = m, int32(binary.BigEndian.Uint32(r.value[2:]))
	default:
	}
	return nil
}

// Stamp sets base offset and leader epoch in place; neither is covered by the
// batch's CRC.
func Stamp(b []byte, base karst.Offset, epoch karst.Epoch) {
	_ = b[:HeaderSize]
	binary.BigEndian.PutUint64(b[atBase:], uint64(base))
	binary.BigEndian.PutUint32(b[atEpoch:], uint32(epoch))
}

// checksum is the CRC-32C of a whole batch.
func checksum(b []byte) uint32 { return crc32.Checksum(b[atAttributes:], castagnoli) }

// Check verifies that b is the batch the index entry want speaks of: length,
// header and CRC. The error is a *karst.CorruptError for byte at of object.
func Check(object string, at int64, b []byte, want Info) error {
	corrupt := func(format string, args ...any) error {
		return &karst.CorruptError{Object: object, Offset: at, Reason: fmt.Sprintf(format, args...)}
	}
	if int64(len(b)) != int64(want.Size) {
		return corrupt("batch at offset %d has %d bytes, the index says %d", want.Base, len(b), want.Size)
	}
	if len(b) < HeaderSize || b[atMagic] != magicV2 {
		return corrupt("no record batch where the index says offset %d is", want.Base)
	}
	got := parseHeader(b)
	// What is not in the header is covered by the CRC (marker) or is the index's own.
	got.MaxDelta, got.Marker, got.CoordinatorEpoch = want.MaxDelta, want.Marker, want.CoordinatorEpoch
	if got != want {
		return corrupt("batch header differs from the index: %+v, want %+v", got, want)
	}
	if sum := checksum(b); sum != want.CRC {
		return corrupt("batch at offset %d has CRC %08x, want %08x", want.Base, sum, want.CRC)
	}
	return nil
}

// Batch is one batch: its header and all its bytes.
type Batch struct {
	Info  Info
	Bytes []byte
}

// Batches yields the batches that b is a concatenation of, and ends with an
// error if something else follows. CRCs are not verified.
func Batches(b []byte) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for len(b) > 0 {
			i, err := Parse(b)
			if err != nil {
				yield(Batch{}, err)
				return
			}
			if !yield(Batch{Info: i, Bytes: b[:i.Size:i.Size]}, nil) {
				return
			}
			b = b[i.Size:]
		}
	}
}
