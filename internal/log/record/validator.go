package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/karst-io/karst"
)

// Rules are what a topic (and the request) demands of a batch.
type Rules struct {
	MaxBytes     int  // max.message.bytes: the whole batch, its 12-byte prefix included
	SegmentBytes int  // segment.bytes; 0 for no bound
	RequireKeys  bool // compacted topic: a record without a key is refused

	LogAppendTime bool            // message.timestamp.type
	Now           karst.Timestamp // the broker's clock
	BeforeMax     int64           // message.timestamp.before.max.ms
	AfterMax      int64           // message.timestamp.after.max.ms

	Recode bool  // store with Codec at Level; false keeps the producer's codec
	Codec  Codec // None for compression.type=uncompressed
	Level  int   // 0 for the codec's default

	AllowZstd bool // Produce v7 and later
	// TrustHeader accepts the header's word, under its CRC, for what is in a
	// compressed batch, and does not open it: offsets, timestamps and keys are not
	// checked, and a consumer may meet records it cannot decode.
	TrustHeader bool
}

// recordErrorsMax bounds how many offending records one answer lists (KIP-467).
const recordErrorsMax = 10_000

// Result is an accepted batch.
type Result struct {
	Info Info
	// Bytes is the batch to store: the slice that was validated, perhaps with its
	// header patched, or, if Reencoded, a new one.
	Bytes     []byte
	Reencoded bool
}

// Validator checks batches as they come from clients. It is safe for
// concurrent use.
type Validator struct{ codecs *Codecs }

// NewValidator makes a Validator that borrows its coders from c.
func NewValidator(c *Codecs) *Validator { return &Validator{codecs: c} }

// Validate checks that b is exactly one v2 batch that Kafka would accept under
// the rules. Errors are *karst.Error; b is then unchanged. Info.Base is 0 and
// Info.Epoch what the client sent, until Stamp. Info.MaxDelta is -1 when the
// batch was not opened (TrustHeader).
func (v *Validator) Validate(b []byte, rules Rules) (Result, error) {
	i, err := admit(b, &rules)
	if err != nil {
		return Result{}, err
	}
	recode := rules.Recode && rules.Codec != i.Attributes.Codec()
	s := survey{max: i.MaxTimestamp, maxDelta: -1, consecutive: true}
	if i.Attributes.Codec() == None || !rules.TrustHeader || recode {
		if s, err = v.survey(b[HeaderSize:], i, &rules); err != nil {
			return Result{}, err
		}
	}
	out := Result{Info: i, Bytes: b}
	if recode || !s.consecutive {
		codec, level := i.Attributes.Codec(), 0
		if rules.Recode {
			codec, level = rules.Codec, rules.Level
		}
		if out.Bytes, err = v.reencode(b, i, codec, level, s.consecutive, rules.MaxBytes); err != nil {
			return Result{}, err
		}
		out.Reencoded = true
	}
	if rules.SegmentBytes > 0 && len(out.Bytes) > rules.SegmentBytes {
		return Result{}, karst.BatchTooLarge.Errorf("record batch of %d bytes exceeds segment.bytes %d", len(out.Bytes), rules.SegmentBytes)
	}
	finish(out.Bytes, i, s, &rules, out.Reencoded)
	out.Info = parseHeader(out.Bytes)
	out.Info.MaxDelta = s.maxDelta
	if rules.LogAppendTime {
		out.Info.MaxDelta = 0 // all records read as the same time
	}
	return out, nil
}

// admit checks everything but the records.
func admit(b []byte, rules *Rules) (Info, error) {
	if len(b) > atMagic && b[atMagic] != magicV2 {
		return Info{}, karst.InvalidRecord.Errorf("record batch has magic %d; only 2 is accepted", int8(b[atMagic]))
	}
	if len(b) < HeaderSize {
		return Info{}, karst.InvalidRecord.Errorf("exactly one record batch is accepted; there is none in %d bytes", len(b))
	}
	length := int64(int32(binary.BigEndian.Uint32(b[atLength:])))
	if length < HeaderSize-prefixSize {
		return Info{}, karst.CorruptRecord.Errorf("record batch claims %d bytes, less than a header", length)
	}
	if size := length + prefixSize; size != int64(len(b)) || size > math.MaxInt32 {
		return Info{}, karst.InvalidRecord.Errorf("exactly one record batch is accepted; the first claims %d of %d bytes", size, len(b))
	}
	i := parseHeader(b)
	codec := i.Attributes.Codec()
	switch {
	case codec > Zstd:
		return Info{}, karst.UnsupportedCompression.Errorf("unknown compression codec %d", codec)
	case codec == Zstd && !rules.AllowZstd:
		return Info{}, karst.UnsupportedCompression.Errorf("zstd needs Produce version 7")
	case i.Base != 0:
		return Info{}, karst.InvalidRecord.Errorf("base offset of a produced batch is %d, want 0", i.Base)
	case len(b) > rules.MaxBytes:
		return Info{}, tooLarge(len(b), rules.MaxBytes)
	}
	if sum := checksum(b); sum != i.CRC {
		return Info{}, karst.CorruptRecord.Errorf("record batch has CRC %08x, computed %08x", i.CRC, sum)
	}
	switch {
	case i.Count <= 0 || int64(i.LastDelta)+1 != int64(i.Count):
		return Info{}, karst.InvalidRecord.Errorf("record batch has %d records and last offset delta %d", i.Count, i.LastDelta)
	case i.Attributes.Control():
		return Info{}, karst.InvalidRecord.Errorf("clients may not write control batches")
	case i.Producer > karst.NoProducer && i.BaseSequence < 0:
		return Info{}, karst.InvalidRecord.Errorf("producer id %d with base sequence %d", i.Producer, i.BaseSequence)
	case i.Attributes.Transactional() && i.Producer < 0:
		return Info{}, karst.InvalidRecord.Errorf("transactional batch without a producer id")
	case i.Attributes.LogAppendTime():
		return Info{}, karst.InvalidTimestamp.Errorf("producers may not set the timestamp type to LogAppendTime")
	}
	return i, nil
}

func tooLarge(size, most int) error {
	return karst.RecordTooLarge.Errorf("record batch of %d bytes exceeds max.message.bytes %d", size, most)
}

// survey is what opening a batch finds out.
type survey struct {
	max         karst.Timestamp
	maxDelta    int32 // of the first record that has it
	consecutive bool  // offset deltas are 0, 1, 2 …
	bad         []karst.RecordError
	badTime     bool
}

// survey checks every record of the payload.
func (v *Validator) survey(payload []byte, i Info, rules *Rules) (survey, error) {
	var s survey
	if i.Attributes.Codec() == None {
		w := window{buf: payload, end: len(payload)}
		err := s.walk(&w, i, rules)
		return s, s.verdict(err)
	}
	r, err := v.codecs.open(i.Attributes.Codec(), payload)
	if err != nil {
		return s, refused(err)
	}
	defer v.codecs.close(r)
	err = s.walk(&r.window, i, rules)
	return s, s.verdict(err)
}

func (s *survey) walk(w *window, i Info, rules *Rules) error {
	s.max, s.consecutive = karst.NoTimestamp, true
	var r head
	for n := range i.Count {
		if err := w.next(&r); err != nil {
			return err
		}
		if r.offset != n {
			s.consecutive = false
		}
		ts := i.BaseTimestamp + karst.Timestamp(r.timestamp)
		if ts > s.max {
			s.max, s.maxDelta = ts, n
		}
		if !r.hasKey && rules.RequireKeys {
			s.add(n, "compacted topic cannot accept a record without a key")
		}
		if !rules.LogAppendTime && ts != karst.NoTimestamp {
			if age := int64(rules.Now - ts); age > rules.BeforeMax || -age > rules.AfterMax {
				s.badTime = true
				s.add(n, outOfRange(ts, rules))
			}
		}
	}
	return w.ended()
}

// add notes an offending record. Once one is known the batch is lost, so cost
// no longer matters, but it is bounded.
func (s *survey) add(index int32, what string) {
	if len(s.bad) < recordErrorsMax {
		s.bad = append(s.bad, karst.RecordError{Index: index, Message: what})
	}
}

func outOfRange(ts karst.Timestamp, rules *Rules) string {
	return fmt.Sprintf("timestamp %d is more than %d ms before or %d ms after the broker's %d", ts, rules.BeforeMax, rules.AfterMax, rules.Now)
}

// verdict turns what a walk found into an error.
func (s *survey) verdict(err error) error {
	switch {
	case err != nil:
		return refused(err)
	case s.badTime:
		return &karst.Error{Code: karst.InvalidTimestamp, Message: "one or more records have been rejected due to invalid timestamp", Records: s.bad}
	case len(s.bad) > 0:
		return &karst.Error{Code: karst.InvalidRecord, Message: fmt.Sprintf("one or more records have been rejected: %s", s.bad[0].Message), Records: s.bad}
	}
	return nil
}

// finish patches the header where it is not yet what is to be stored.
func finish(b []byte, i Info, s survey, rules *Rules, changed bool) {
	if rules.LogAppendTime {
		s.max = rules.Now
		binary.BigEndian.PutUint16(b[atAttributes:], binary.BigEndian.Uint16(b[atAttributes:])|8)
		changed = true
	}
	if s.max != i.MaxTimestamp {
		binary.BigEndian.PutUint64(b[atMaxTimestamp:], uint64(s.max))
		changed = true
	}
	if changed {
		binary.BigEndian.PutUint32(b[atCRC:], checksum(b))
	}
}

// reencode writes the batch anew with the codec, and with consecutive offsets.
// The header but for length, codec and CRC is that of b.
func (v *Validator) reencode(b []byte, i Info, codec Codec, level int, consecutive bool, most int) ([]byte, error) {
	dst := make([]byte, HeaderSize, min(most, len(b)+len(b)/8)+HeaderSize)
	copy(dst, b[:HeaderSize])
	out, err := v.codecs.writer(codec, level, dst, most)
	if err != nil {
		return nil, karst.InvalidConfig.Errorf("%v", err)
	}
	defer v.codecs.release(out)
	payload := b[HeaderSize:]
	if i.Attributes.Codec() == None {
		w := window{buf: payload, end: len(payload)}
		err = transcode(&w, out, i.Count, consecutive)
	} else {
		var r *reader
		if r, err = v.codecs.open(i.Attributes.Codec(), payload); err == nil {
			err = transcode(&r.window, out, i.Count, consecutive)
			v.codecs.close(r)
		}
	}
	if err == nil {
		dst, err = out.finish()
	}
	switch {
	case errors.Is(err, errTooBig) || err == nil && len(dst) > most:
		return nil, karst.RecordTooLarge.Errorf("record batch exceeds max.message.bytes %d after recompression", most)
	case err != nil:
		return nil, refused(err)
	}
	binary.BigEndian.PutUint32(dst[atLength:], uint32(len(dst)-prefixSize))
	binary.BigEndian.PutUint16(dst[atAttributes:], uint16(i.Attributes&^7)|uint16(codec))
	return dst, nil
}

// transcode copies the payload in w to out; w has been surveyed.
func transcode(w *window, out *writer, count int32, consecutive bool) error {
	if consecutive {
		for w.fill(1) {
			if _, err := out.Write(w.buf[w.pos:w.end]); err != nil {
				return err
			}
			w.pos = w.end
		}
		return w.ended()
	}
	var r head
	var front []byte
	for n := range count {
		if err := w.grow(); err != nil {
			return err
		}
		if err := w.next(&r); err != nil {
			return err
		}
		length := 1 + zigzagSize(r.timestamp) + zigzagSize(int64(n)) + len(r.body)
		front = appendZigzag(front[:0], int64(length))
		front = append(front, 0)
		front = appendZigzag(front, r.timestamp)
		front = appendZigzag(front, int64(n))
		if _, err := out.Write(front); err != nil {
			return err
		}
		if _, err := out.Write(r.body); err != nil {
			return err
		}
	}
	return nil
}
