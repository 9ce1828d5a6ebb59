package bench

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func encode(t *testing.T, codec string, size, target int) batch {
	t.Helper()
	comp, _, err := compressor(codec)
	if err != nil {
		t.Fatal(err)
	}
	return encodeBatch(newText("json", size), size, target, comp, time.UnixMilli(1234))
}

// TestBatchIsKafkas reads batches of all codecs with another implementation.
func TestBatchIsKafkas(t *testing.T) {
	for number, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		b := encode(t, codec, 100, 4096)
		var rb kmsg.RecordBatch
		if err := rb.ReadFrom(b.bytes); err != nil {
			t.Fatalf("%s: %v", codec, err)
		}
		if crc := crc32.Checksum(b.bytes[batchAttributesAt:], crc32.MakeTable(crc32.Castagnoli)); uint32(rb.CRC) != crc {
			t.Errorf("%s: crc %x, computed %x", codec, uint32(rb.CRC), crc)
		}
		if int(rb.Attributes) != number || rb.Magic != 2 || rb.ProducerID != -1 || rb.FirstSequence != -1 || rb.FirstTimestamp != 1234 || rb.MaxTimestamp != 1234 {
			t.Errorf("%s: %+v", codec, rb)
		}
		if int64(rb.NumRecords) != b.records || rb.LastOffsetDelta != rb.NumRecords-1 || b.payload != b.records*100 {
			t.Errorf("%s: %d records in the header, %d reported, %d bytes", codec, rb.NumRecords, b.records, b.payload)
		}
		raw, err := kgo.DefaultDecompressor().Decompress(rb.Records, kgo.CompressionCodecType(number))
		if err != nil {
			t.Fatalf("%s: %v", codec, err)
		}
		for n := range b.records {
			var r kmsg.Record
			length, k := binary.Varint(raw)
			if err := r.ReadFrom(raw[:k+int(length)]); err != nil {
				t.Fatalf("%s: record %d: %v", codec, n, err)
			}
			if int64(r.OffsetDelta) != n || len(r.Value) != 100 || r.Key != nil {
				t.Errorf("%s: record %d is %+v", codec, n, r)
			}
			raw = raw[k+int(length):]
		}
		if len(raw) != 0 {
			t.Errorf("%s: %d bytes after the last record", codec, len(raw))
		}
	}
}

func TestBatchKeepsItsSize(t *testing.T) {
	for _, size := range []int{1, 10, 1000, 5000} {
		for _, target := range []int{200, 16 << 10, 1 << 20} {
			b := encode(t, "none", size, target)
			if len(b.bytes) > target && b.records > 1 {
				t.Errorf("records of %d: %d bytes for a target of %d", size, len(b.bytes), target)
			}
			if more := len(b.bytes) + recordBytes(size, b.records); more <= target {
				t.Errorf("records of %d: %d bytes, one more would fit into %d", size, len(b.bytes), target)
			}
		}
	}
}

func TestSequenceKeepsTheChecksum(t *testing.T) {
	b := encode(t, "none", 10, 200).bytes
	sequence(b, 77, 3, 1<<31-1)
	var rb kmsg.RecordBatch
	if err := rb.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	if rb.ProducerID != 77 || rb.ProducerEpoch != 3 || rb.FirstSequence != 1<<31-1 {
		t.Errorf("%+v", rb)
	}
	if crc := crc32.Checksum(b[batchAttributesAt:], crc32.MakeTable(crc32.Castagnoli)); uint32(rb.CRC) != crc {
		t.Errorf("crc %x, computed %x", uint32(rb.CRC), crc)
	}
}

func TestWalkBatches(t *testing.T) {
	one := encode(t, "none", 10, 200)
	n := one.records
	var all []byte
	for k := range int64(3) {
		b := slices.Clone(one.bytes)
		binary.BigEndian.PutUint64(b, uint64(100+k*n))
		all = append(all, b...)
	}
	size := int64(len(one.bytes))
	for _, c := range []struct {
		name string
		b    []byte
		from int64
		want fetched
	}{
		{"whole", all, 100, fetched{3 * n, 3 * size, 100 + 3*n}},
		{"from inside a batch", all, 101, fetched{3 * n, 3 * size, 100 + 3*n}},
		{"a batch that was read", all, 100 + n, fetched{2 * n, 2 * size, 100 + 3*n}},
		{"cut off", all[:2*size+70], 100, fetched{2 * n, 2 * size, 100 + 2*n}},
		{"cut off in the header", all[:size+20], 100, fetched{n, size, 100 + n}},
		{"empty", nil, 7, fetched{0, 0, 7}},
	} {
		if got, err := walkBatches(c.b, c.from); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
	for _, length := range []int32{-1, 0, 48, -1 << 31} {
		b := slices.Clone(one.bytes)
		binary.BigEndian.PutUint32(b[batchLengthAt:], uint32(length))
		if _, err := walkBatches(b, 0); err == nil {
			t.Errorf("a batch of length %d is accepted", length)
		}
	}
}

func FuzzWalkBatches(f *testing.F) {
	comp, _, err := compressor("none")
	if err != nil {
		f.Fatal(err)
	}
	b := encodeBatch(newText("json", 10), 10, 200, comp, time.UnixMilli(1)).bytes
	f.Add(b, int64(0))
	f.Add(bytes.Repeat(b, 2), int64(3))
	f.Fuzz(func(t *testing.T, b []byte, from int64) {
		if got, err := walkBatches(b, from); err == nil && (got.bytes > int64(len(b)) || got.next < from) {
			t.Errorf("%+v of %d bytes from %d", got, len(b), from)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(produceVersion)
	f.Add(append([]byte{0, 0, 0, 1, 0}, resp.AppendTo(nil)...))
	f.Add([]byte{0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(_ *testing.T, b []byte) {
		if len(b) < 4 {
			return // read lets none pass
		}
		_ = parse(b, 1, kmsg.NewPtrProduceResponse()) // it must not panic
	})
}

// TestProduceFrame finds the batch inside the frame, where it is patched.
func TestProduceFrame(t *testing.T) {
	b := encode(t, "lz4", 100, 2000)
	s := Defaults()
	p := &replayer{run: &run{settings: s}, topic: "a-topic", batch: b}
	frames, err := p.frames(t.Context(), []int32{4, 9})
	if err != nil {
		t.Fatal(err)
	}
	for i, partition := range []int32{4, 9} {
		f := frames[i]
		correlate(f.frame, 5)
		sequence(f.batch, 8, 1, 42)
		body := f.frame[4+2+2+4+2+len(clientID)+1:]
		req := kmsg.NewPtrProduceRequest()
		req.SetVersion(produceVersion)
		if err := req.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
		part := req.Topics[0].Partitions[0]
		var rb kmsg.RecordBatch
		if err := rb.ReadFrom(part.Records); err != nil {
			t.Fatal(err)
		}
		if int(binary.BigEndian.Uint32(f.frame)) != len(f.frame)-4 || binary.BigEndian.Uint32(f.frame[8:]) != 5 {
			t.Error("length or correlation id is wrong")
		}
		if req.Acks != -1 || req.Topics[0].Topic != "a-topic" || part.Partition != partition || rb.ProducerID != 8 || rb.FirstSequence != 42 {
			t.Errorf("request %+v, batch %+v", req, rb)
		}
	}
}
