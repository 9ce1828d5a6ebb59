package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/proptest"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var allCodecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

const now = karst.Timestamp(1_700_000_000_000)

func rules() Rules {
	return Rules{MaxBytes: 64 << 20, Now: now, BeforeMax: 1 << 62, AfterMax: 3600_000, AllowZstd: true}
}

type plain struct {
	ts         karst.Timestamp
	key, value []byte
	headers    []Header
}

func samples(n, size int) []plain {
	rng := rand.New(rand.NewPCG(1, 2))
	all := make([]plain, n)
	for i := range all {
		v := make([]byte, size)
		for k := range v {
			v[k] = byte('a' + rng.IntN(8)) // compresses, but not to nothing
		}
		all[i] = plain{ts: now + karst.Timestamp(i%7), key: fmt.Appendf(nil, "key-%d", i), value: v}
	}
	return all
}

func build(t testing.TB, codec Codec, all []plain) []byte {
	t.Helper()
	b := NewBuilder(NewCodecs(Limits{}))
	b.Codec = codec
	for _, p := range all {
		b.Append(p.ts, p.key, p.value, p.headers...)
	}
	out, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// resum makes the CRC right after a test has tampered with the batch.
func resum(b []byte) []byte {
	binary.BigEndian.PutUint32(b[atLength:], uint32(len(b)-prefixSize))
	binary.BigEndian.PutUint32(b[atCRC:], checksum(b))
	return b
}

func read(t testing.TB, b []byte) []plain {
	t.Helper()
	var all []plain
	for r, err := range NewDecoder(NewCodecs(Limits{})).Records(b) {
		if err != nil {
			t.Fatal(err)
		}
		p := plain{ts: r.Timestamp, key: bytes.Clone(r.Key), value: bytes.Clone(r.Value)}
		for _, h := range r.Headers {
			p.headers = append(p.headers, Header{Key: h.Key, Value: bytes.Clone(h.Value)})
		}
		all = append(all, p)
	}
	return all
}

func samePlain(a, b plain) bool {
	null := func(x, y []byte) bool { return (x == nil) == (y == nil) && bytes.Equal(x, y) }
	return a.ts == b.ts && null(a.key, b.key) && null(a.value, b.value) &&
		slices.EqualFunc(a.headers, b.headers, func(g, h Header) bool { return g.Key == h.Key && null(g.Value, h.Value) })
}

func sameAll(a, b []plain) bool { return slices.EqualFunc(a, b, samePlain) }

func wantCode(t *testing.T, err error, code karst.Code) *karst.Error {
	t.Helper()
	var e *karst.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("error %v, want code %d", err, code)
	}
	return e
}

// kafkaBatch is a batch as franz-go's own codec and compressors make it.
func kafkaBatch(t testing.TB, codec Codec, all []plain) []byte {
	t.Helper()
	var records []byte
	for i, p := range all {
		r := kmsg.Record{TimestampDelta64: int64(p.ts - all[0].ts), OffsetDelta: int32(i), Key: p.key, Value: p.value}
		for _, h := range p.headers {
			r.Headers = append(r.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		body := r.AppendTo(nil) // length 0 first
		r.Length = int32(len(body) - 1)
		records = r.AppendTo(records)
	}
	if codec != None {
		compressor, err := kgo.DefaultCompressor([]kgo.CompressionCodec{
			kgo.NoCompression(), kgo.GzipCompression(),
			kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
		}[codec])
		if err != nil {
			t.Fatal(err)
		}
		packed, used := compressor.Compress(new(bytes.Buffer), records)
		if Codec(used) != codec {
			t.Fatalf("franz-go used codec %d, want %d", used, codec)
		}
		records = bytes.Clone(packed)
	}
	last := all[0].ts
	for _, p := range all {
		last = max(last, p.ts)
	}
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(codec), LastOffsetDelta: int32(len(all) - 1),
		FirstTimestamp: int64(all[0].ts), MaxTimestamp: int64(last), ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: int32(len(all)), Records: records,
	}
	return resum(b.AppendTo(nil))
}

func TestKafkaClientsBatchesAreAcceptedUnchanged(t *testing.T) {
	for _, codec := range allCodecs {
		for _, n := range []int{1, 3, 400} {
			all := samples(n, 900)
			all[0].headers = []Header{{Key: "h"}, {Key: "h", Value: []byte{}}, {Key: "", Value: []byte("x")}}
			b := kafkaBatch(t, codec, all)
			before := bytes.Clone(b)
			got, err := NewValidator(NewCodecs(Limits{})).Validate(b, rules())
			if err != nil {
				t.Fatalf("codec %d: %v", codec, err)
			}
			if got.Reencoded || !bytes.Equal(got.Bytes, before) {
				t.Fatalf("codec %d: a good batch was changed", codec)
			}
			if want := int32(min(n-1, 6)); got.Info.MaxDelta != want || got.Info.MaxTimestamp != now+karst.Timestamp(want) {
				t.Fatalf("codec %d: max timestamp %d at %d", codec, got.Info.MaxTimestamp, got.Info.MaxDelta)
			}
			if !sameAll(read(t, b), all) {
				t.Fatalf("codec %d: records differ", codec)
			}
		}
	}
}

func TestKafkaClientsReadOurBatches(t *testing.T) {
	for _, codec := range allCodecs {
		all := samples(200, 1000)
		all[3].key, all[4].value, all[5].key = nil, nil, []byte{}
		b := build(t, codec, all)
		var k kmsg.RecordBatch
		if err := k.ReadFrom(b); err != nil {
			t.Fatal(err)
		}
		if k.NumRecords != 200 || uint32(k.CRC) != checksum(b) {
			t.Fatalf("kmsg reads %+v", k)
		}
		records, err := kgo.DefaultDecompressor().Decompress(k.Records, kgo.CompressionCodecType(codec))
		if err != nil {
			t.Fatalf("codec %d: %v", codec, err)
		}
		for i, p := range all {
			var r kmsg.Record
			if err := r.ReadFrom(records); err != nil {
				t.Fatal(err)
			}
			if int(r.OffsetDelta) != i || (r.Key == nil) != (p.key == nil) || !bytes.Equal(r.Value, p.value) || int64(p.ts) != k.FirstTimestamp+r.TimestampDelta64 {
				t.Fatalf("codec %d: record %d differs", codec, i)
			}
			records = records[int(r.Length)+zigzagSize(int64(r.Length)):]
		}
	}
}

// nullable draws null, or 0 to 200 bytes.
func nullable(r *rand.Rand) []byte {
	if proptest.Bool(r) {
		return nil
	}
	b := make([]byte, proptest.Int(r, 0, 200))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	codecs := NewCodecs(Limits{})
	proptest.Run(t, 100, func(t *testing.T, r *rand.Rand) {
		n := proptest.Int(r, 1, 20)
		b := NewBuilder(codecs)
		b.Codec = proptest.Pick(r, allCodecs)
		var all []plain
		newest := -1
		for i := range n {
			p := plain{ts: now + proptest.Int[karst.Timestamp](r, -1e9, 1e6), key: nullable(r), value: nullable(r)}
			for range proptest.Int(r, 0, 3) {
				p.headers = append(p.headers, Header{Key: proptest.String(r, 5), Value: nullable(r)})
			}
			if newest < 0 || p.ts > all[newest].ts {
				newest = i
			}
			all = append(all, p)
			b.Append(p.ts, p.key, p.value, p.headers...)
		}
		raw, err := b.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		ru := rules()
		ru.Recode, ru.Codec = proptest.Bool(r), proptest.Pick(r, allCodecs)
		got, err := NewValidator(codecs).Validate(raw, ru)
		if err != nil {
			t.Fatal(err)
		}
		if want := ru.Recode && ru.Codec != b.Codec; got.Reencoded != want || ru.Recode && got.Info.Attributes.Codec() != ru.Codec {
			t.Fatalf("reencoded %v to %d", got.Reencoded, got.Info.Attributes.Codec())
		}
		if int(got.Info.MaxDelta) != newest || got.Info.MaxTimestamp != all[newest].ts {
			t.Fatalf("max delta %d, want %d", got.Info.MaxDelta, newest)
		}
		if back := read(t, got.Bytes); !sameAll(back, all) {
			t.Fatalf("got %v want %v", back, all)
		}
		Stamp(got.Bytes, 77, 5)
		got.Info.Base, got.Info.Epoch = 77, 5
		if err := Check("o", 0, got.Bytes, got.Info); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRefusals(t *testing.T) {
	v := NewValidator(NewCodecs(Limits{}))
	set := func(at int, bytes ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[at:], bytes); return resum(b) }
	}
	cases := []struct {
		name string
		edit func([]byte) []byte
		rule func(*Rules)
		code karst.Code
	}{
		{"empty", func([]byte) []byte { return nil }, nil, karst.InvalidRecord},
		{"two", func(b []byte) []byte { return append(b, b...) }, nil, karst.InvalidRecord},
		{"trailing", func(b []byte) []byte { return append(b, 0) }, nil, karst.InvalidRecord},
		{"short", func(b []byte) []byte { return b[:len(b)-1] }, nil, karst.InvalidRecord},
		{"length", func(b []byte) []byte { copy(b[atLength:], []byte{0, 0, 0, 3}); return b }, nil, karst.CorruptRecord},
		{"negative length", func(b []byte) []byte { b[atLength] = 0xff; return b }, nil, karst.CorruptRecord},
		{"magic 1", set(atMagic, 1), nil, karst.InvalidRecord},
		{"base", set(atBase+7, 1), nil, karst.InvalidRecord},
		{"crc", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, nil, karst.CorruptRecord},
		{"codec 5", set(atAttributes+1, 5), nil, karst.UnsupportedCompression},
		{"control", set(atAttributes+1, 32), nil, karst.InvalidRecord},
		{"append time", set(atAttributes+1, 8), nil, karst.InvalidTimestamp},
		{"transaction without producer", set(atAttributes+1, 16), nil, karst.InvalidRecord},
		{"no records", func(b []byte) []byte {
			copy(b[atCount:], []byte{0, 0, 0, 0})
			copy(b[atLastDelta:], []byte{255, 255, 255, 255})
			return resum(b)
		}, nil, karst.InvalidRecord},
		{"last delta", set(atLastDelta+3, 7), nil, karst.InvalidRecord},
		{"count above", func(b []byte) []byte { b[atCount+3]++; b[atLastDelta+3]++; return resum(b) }, nil, karst.InvalidRecord},
		{"count below", func(b []byte) []byte { b[atCount+3]--; b[atLastDelta+3]--; return resum(b) }, nil, karst.InvalidRecord},
		{"producer without sequence", set(atProducer, 0, 0, 0, 0, 0, 0, 0, 9), nil, karst.InvalidRecord},
		{"record length", set(HeaderSize, 0x7e), nil, karst.InvalidRecord},
		{"max bytes", nil, func(r *Rules) { r.MaxBytes = 100 }, karst.RecordTooLarge},
		{"segment bytes", nil, func(r *Rules) { r.SegmentBytes = 100 }, karst.BatchTooLarge},
		{"too old", nil, func(r *Rules) { r.BeforeMax = 10; r.Now += 1000 }, karst.InvalidTimestamp},
		{"too new", nil, func(r *Rules) { r.AfterMax = 10; r.Now -= 1000 }, karst.InvalidTimestamp},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := build(t, None, samples(3, 50))
			if c.edit != nil {
				b = c.edit(b)
			}
			before := bytes.Clone(b)
			r := rules()
			if c.rule != nil {
				c.rule(&r)
			}
			_, err := v.Validate(b, r)
			wantCode(t, err, c.code)
			if !bytes.Equal(b, before) {
				t.Error("a refused batch was changed")
			}
		})
	}
	r := rules()
	r.AllowZstd = false
	_, err := v.Validate(build(t, Zstd, samples(3, 50)), r)
	wantCode(t, err, karst.UnsupportedCompression)
}

func TestRecordErrorsNameTheRecords(t *testing.T) {
	for _, codec := range allCodecs {
		all := samples(5, 10)
		all[1].key, all[4].key = nil, nil
		r := rules()
		r.RequireKeys = true
		_, err := NewValidator(NewCodecs(Limits{})).Validate(build(t, codec, all), r)
		e := wantCode(t, err, karst.InvalidRecord)
		if len(e.Records) != 2 || e.Records[0].Index != 1 || e.Records[1].Index != 4 {
			t.Errorf("codec %d: %+v", codec, e.Records)
		}
		all[2].ts = now + 2*3600_000
		_, err = NewValidator(NewCodecs(Limits{})).Validate(build(t, codec, all), rules())
		e = wantCode(t, err, karst.InvalidTimestamp)
		if len(e.Records) != 1 || e.Records[0].Index != 2 {
			t.Errorf("codec %d: %+v", codec, e.Records)
		}
	}
}

func TestNoTimestampIsAccepted(t *testing.T) {
	all := samples(2, 10)
	all[0].ts, all[1].ts = -1, -1
	r := rules()
	r.BeforeMax = 1
	got, err := NewValidator(NewCodecs(Limits{})).Validate(build(t, LZ4, all), r)
	if err != nil || got.Info.MaxTimestamp != -1 {
		t.Fatal(got.Info, err)
	}
}

func TestLogAppendTimeIsStampedInPlace(t *testing.T) {
	for _, codec := range allCodecs {
		b := build(t, codec, samples(5, 10))
		r := rules()
		r.LogAppendTime, r.Now = true, now+12345
		got, err := NewValidator(NewCodecs(Limits{})).Validate(b, r)
		if err != nil {
			t.Fatal(err)
		}
		if got.Reencoded || &got.Bytes[0] != &b[0] || !got.Info.Attributes.LogAppendTime() || got.Info.MaxTimestamp != r.Now || got.Info.MaxDelta != 0 {
			t.Fatalf("%+v", got.Info)
		}
		if got.Info.CRC != checksum(b) {
			t.Fatal("CRC not recomputed")
		}
		for _, p := range read(t, b) {
			if p.ts != r.Now {
				t.Fatalf("record reads as %d", p.ts)
			}
		}
	}
}

func TestWrongMaxTimestampDoesNotSurvive(t *testing.T) {
	for _, codec := range allCodecs {
		b := build(t, codec, samples(9, 10))
		binary.BigEndian.PutUint64(b[atMaxTimestamp:], uint64(now+99999))
		got, err := NewValidator(NewCodecs(Limits{})).Validate(resum(b), rules())
		if err != nil || got.Info.MaxTimestamp != now+6 || got.Info.MaxDelta != 6 || got.Reencoded || got.Info.CRC != checksum(got.Bytes) {
			t.Fatalf("%+v %v", got, err)
		}
	}
}

// gapped is a batch whose inner offsets are 0, 2, 4 …, the header claiming n.
func gapped(t testing.TB, codec Codec, all []plain) []byte {
	var records []byte
	for i, p := range all {
		r := kmsg.Record{TimestampDelta64: int64(p.ts - all[0].ts), OffsetDelta: int32(2 * i), Key: p.key, Value: p.value}
		body := r.AppendTo(nil)
		r.Length = int32(len(body) - 1)
		records = r.AppendTo(records)
	}
	w, err := NewCodecs(Limits{}).writer(codec, 0, build(t, codec, all)[:HeaderSize:HeaderSize], 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(records)
	b, err := w.finish()
	if err != nil {
		t.Fatal(err)
	}
	return resum(b)
}

func TestInnerOffsetsAreRewritten(t *testing.T) {
	for _, codec := range allCodecs {
		all := samples(100, 1000)
		all[50].value = bytes.Repeat([]byte("large"), 50_000) // larger than the window
		got, err := NewValidator(NewCodecs(Limits{})).Validate(gapped(t, codec, all), rules())
		if err != nil {
			t.Fatalf("codec %d: %v", codec, err)
		}
		if !got.Reencoded || !sameAll(read(t, got.Bytes), all) || got.Info.CRC != checksum(got.Bytes) {
			t.Fatalf("codec %d: rewritten wrongly", codec)
		}
		again, err := NewValidator(NewCodecs(Limits{})).Validate(got.Bytes, rules())
		if err != nil || again.Reencoded {
			t.Fatalf("codec %d: rewritten batch is not good: %v", codec, err)
		}
	}
}

func TestRecompressionIsMeasuredAgain(t *testing.T) {
	b := build(t, Zstd, []plain{{ts: now, value: make([]byte, 500_000)}})
	r := rules()
	r.MaxBytes, r.Recode, r.Codec = 100_000, true, None
	_, err := NewValidator(NewCodecs(Limits{})).Validate(b, r)
	wantCode(t, err, karst.RecordTooLarge)
}

func TestBombsAreRefused(t *testing.T) {
	zeros := []plain{{ts: now, value: make([]byte, 40<<20)}}
	for _, codec := range allCodecs[1:] {
		b := build(t, codec, zeros)
		_, err := NewValidator(NewCodecs(Limits{Bytes: 16 << 20})).Validate(b, rules())
		wantCode(t, err, karst.RecordTooLarge)
	}
	b := build(t, Zstd, zeros) // far denser than 1024 to 1
	_, err := NewValidator(NewCodecs(Limits{})).Validate(b, rules())
	wantCode(t, err, karst.RecordTooLarge)
}

func TestSnappyWithAndWithoutFraming(t *testing.T) {
	all := samples(300, 1000)
	framed, bare := build(t, Snappy, all), build(t, None, all)
	if !bytes.HasPrefix(framed[HeaderSize:], xerialMagic) {
		t.Fatal("we do not write xerial framing")
	}
	raw := append(bytes.Clone(bare[:HeaderSize]), s2.EncodeSnappy(nil, bare[HeaderSize:])...)
	raw[atAttributes+1] = byte(Snappy)
	for _, b := range [][]byte{framed, resum(raw)} {
		got, err := NewValidator(NewCodecs(Limits{})).Validate(b, rules())
		if err != nil || got.Reencoded || !sameAll(read(t, b), all) {
			t.Fatal(err)
		}
	}
}

func TestGzipOfSeveralMembers(t *testing.T) {
	all := samples(30, 100)
	bare := build(t, None, all)
	b := bytes.NewBuffer(bytes.Clone(bare[:HeaderSize]))
	for part := range slices.Chunk(bare[HeaderSize:], 1000) {
		z := gzip.NewWriter(b)
		_, _ = z.Write(part)
		_ = z.Close()
	}
	b.Bytes()[atAttributes+1] = byte(Gzip)
	if got, err := NewValidator(NewCodecs(Limits{})).Validate(resum(b.Bytes()), rules()); err != nil || !sameAll(read(t, got.Bytes), all) {
		t.Fatal(err)
	}
}

func TestTrustedHeaderIsNotOpened(t *testing.T) {
	b := build(t, Zstd, samples(3, 10))
	b = resum(b[:len(b)-5]) // cannot be decompressed
	r := rules()
	if _, err := NewValidator(NewCodecs(Limits{})).Validate(bytes.Clone(b), r); err == nil {
		t.Fatal("a broken batch was accepted")
	}
	r.TrustHeader = true
	got, err := NewValidator(NewCodecs(Limits{})).Validate(b, r)
	if err != nil || got.Info.MaxDelta != -1 {
		t.Fatal(got.Info, err)
	}
}

func TestMarkers(t *testing.T) {
	b := EncodeMarker(CommitMarker, 42, 3, 9, now)
	Stamp(b, 1000, 7)
	i, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	want := Info{
		Base: 1000, Count: 1, Size: int32(len(b)), Epoch: 7, Attributes: 48, BaseTimestamp: now, MaxTimestamp: now,
		Producer: 42, ProducerEpoch: 3, BaseSequence: -1, Marker: CommitMarker, CoordinatorEpoch: 9, CRC: checksum(b),
	}
	if i != want {
		t.Fatalf("%+v", i)
	}
	if _, err := NewValidator(NewCodecs(Limits{})).Validate(EncodeMarker(AbortMarker, 1, 1, 1, now), rules()); err == nil {
		t.Fatal("a client wrote a marker")
	}
}

func TestFirstAtOrAfter(t *testing.T) {
	for _, codec := range allCodecs {
		all := samples(20, 10) // timestamps 0…6, again and again
		b := build(t, codec, all)
		Stamp(b, 100, 0)
		d := NewDecoder(NewCodecs(Limits{}))
		for _, c := range []struct {
			from karst.Offset
			ts   karst.Timestamp
			want karst.Offset
		}{{0, 0, 100}, {0, now + 3, 103}, {104, now + 3, 104}, {107, now + 3, 110}, {0, now + 7, -1}, {120, 0, -1}} {
			off, _, found, err := d.FirstAtOrAfter(b, c.from, c.ts)
			if err != nil || off != c.want || found != (c.want >= 0) {
				t.Errorf("codec %d: from %d at %d: %d %v", codec, c.from, c.ts, off, err)
			}
		}
	}
}

func TestCheckSeesEveryFlippedBit(t *testing.T) {
	b := build(t, None, samples(2, 20))
	Stamp(b, 5, 6)
	want, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(b) * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		if Check("o", 0, b, want) == nil {
			t.Fatalf("bit %d went unseen", bit)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestBatches(t *testing.T) {
	a, b := build(t, None, samples(2, 20)), build(t, LZ4, samples(3, 20))
	n := 0
	for batch, err := range Batches(append(bytes.Clone(a), b...)) {
		if err != nil {
			t.Fatal(err)
		}
		n += len(batch.Bytes)
	}
	if n != len(a)+len(b) {
		t.Fatal(n)
	}
}

func TestLargeZstdWindowsAreBoundedAndNotKept(t *testing.T) {
	all := []plain{{ts: now, value: bytes.Repeat([]byte("0123456789abcdef, and so on."), 20_000)}}
	bare := build(t, None, all)
	for window, ok := range map[int]bool{8 << 20: true, 16 << 20: true, 64 << 20: false} {
		e, err := zstd.NewWriter(nil, zstd.WithWindowSize(window), zstd.WithSingleSegment(false))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		out.Write(bare[:HeaderSize])
		e.Reset(&out)
		_, _ = e.Write(bare[HeaderSize:])
		_ = e.Flush() // the size is not known, so the window is declared
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		out.Bytes()[atAttributes+1] = byte(Zstd)
		c := NewCodecs(Limits{})
		_, err = NewValidator(c).Validate(resum(out.Bytes()), rules())
		if (err == nil) != ok {
			t.Errorf("window of %d bytes: %v", window, err)
		}
		if !ok {
			wantCode(t, err, karst.RecordTooLarge)
		}
		if kept := len(c.readers[Zstd].free); kept != map[bool]int{true: 1}[window <= zstdKept] {
			t.Errorf("window of %d bytes: %d decoders kept", window, kept)
		}
	}
}

func TestGoodBatchesDoNotAllocate(t *testing.T) {
	if race {
		t.Skip("the race detector empties the pools inside the codecs")
	}
	codecs := NewCodecs(Limits{})
	v := NewValidator(codecs)
	for _, codec := range allCodecs {
		b := build(t, codec, samples(16, 1024))
		r := rules()
		if n := testing.AllocsPerRun(50, func() {
			if _, err := v.Validate(b, r); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("codec %d: %v allocations", codec, n)
		}
	}
}

// events are records of about 1 KiB that compress as JSON does.
func events(n int) []plain {
	rng := rand.New(rand.NewPCG(3, 4))
	all := make([]plain, n)
	for i := range all {
		v := []byte("{")
		for k := 0; len(v) < 1000; k++ {
			v = fmt.Appendf(v, `"field_%d":"%x","count":%d,`, k, rng.Uint32(), rng.IntN(1000))
		}
		all[i] = plain{ts: now + karst.Timestamp(i), key: fmt.Appendf(nil, "user-%d", rng.IntN(1000)), value: v}
	}
	return all
}

func BenchmarkValidate(b *testing.B) {
	for _, codec := range allCodecs {
		for _, n := range []int{16, 1024} {
			b.Run(fmt.Sprintf("codec=%d/records=%d", codec, n), func(b *testing.B) {
				batch := build(b, codec, events(n))
				v, r := NewValidator(NewCodecs(Limits{})), rules()
				b.SetBytes(int64(len(build(b, None, events(n))))) // uncompressed
				b.ReportAllocs()
				for b.Loop() {
					if _, err := v.Validate(batch, r); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(batch)), "stored-B")
			})
		}
	}
}
