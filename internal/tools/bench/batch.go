package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Positions in a RecordBatch of version 2 (KIP-98), big-endian.
const (
	batchOverhead      = 61
	batchLengthAt      = 8
	batchCRCAt         = 17
	batchAttributesAt  = 21
	batchLastDeltaAt   = 23
	batchFirstTimeAt   = 27
	batchMaxTimeAt     = 35
	batchProducerAt    = 43
	batchEpochAt       = 51
	batchSequenceAt    = 53
	batchRecordCountAt = 57
)

// codecs maps the setting to franz-go's compressors.
func compressor(name string) (kgo.Compressor, kgo.CompressionCodec, error) {
	all := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	codec, ok := all[name]
	if !ok {
		return nil, codec, fmt.Errorf("codec %q: it is none, gzip, snappy, lz4 or zstd", name)
	}
	c, err := kgo.DefaultCompressor(codec)
	return c, codec, err
}

// batch is an encoded RecordBatch and what it holds.
type batch struct {
	bytes   []byte
	records int64
	payload int64 // bytes of values
}

// encodeBatch makes one batch of records of size bytes, as many as fit into
// target bytes before compression and at least one, without a producer id.
func encodeBatch(t text, size, target int, comp kgo.Compressor, now time.Time) batch {
	var records, value []byte
	value = make([]byte, size)
	var n int64
	for n == 0 || batchOverhead+len(records)+recordBytes(size, n) <= target {
		t.fill(value, n)
		records = appendRecord(records, n, value)
		n++
	}
	var attributes uint16
	if comp != nil {
		var codec kgo.CompressionCodecType
		records, codec = comp.Compress(new(bytes.Buffer), records)
		attributes = uint16(codec)
	}
	b := make([]byte, batchOverhead, batchOverhead+len(records))
	b = append(b, records...)
	be := binary.BigEndian
	be.PutUint32(b[batchLengthAt:], uint32(len(b)-batchLengthAt-4))
	b[16] = 2 // the version of the format
	be.PutUint16(b[batchAttributesAt:], attributes)
	be.PutUint32(b[batchLastDeltaAt:], uint32(n-1))
	be.PutUint64(b[batchFirstTimeAt:], uint64(now.UnixMilli()))
	be.PutUint64(b[batchMaxTimeAt:], uint64(now.UnixMilli()))
	be.PutUint32(b[batchRecordCountAt:], uint32(n))
	sequence(b, -1, -1, -1)
	return batch{bytes: b, records: n, payload: n * int64(size)}
}

// sequence writes the producer's identity and position into a batch and
// computes its checksum again.
func sequence(b []byte, producer int64, epoch int16, first int32) {
	be := binary.BigEndian
	be.PutUint64(b[batchProducerAt:], uint64(producer))
	be.PutUint16(b[batchEpochAt:], uint16(epoch))
	be.PutUint32(b[batchSequenceAt:], uint32(first))
	be.PutUint32(b[batchCRCAt:], crc32.Checksum(b[batchAttributesAt:], crc32.MakeTable(crc32.Castagnoli)))
}

// appendRecord encodes a record without key and headers, at the batch's time.
func appendRecord(b []byte, delta int64, value []byte) []byte {
	b = binary.AppendVarint(b, recordBody(len(value), delta))
	b = append(b, 0)                  // attributes
	b = binary.AppendVarint(b, 0)     // timestamp delta
	b = binary.AppendVarint(b, delta) // offset delta
	b = binary.AppendVarint(b, -1)    // no key
	b = binary.AppendVarint(b, int64(len(value)))
	b = append(b, value...)
	return binary.AppendVarint(b, 0) // no headers
}

func recordBody(size int, delta int64) int64 {
	return int64(4 + varintBytes(delta) + varintBytes(int64(size)) + size)
}

func recordBytes(size int, delta int64) int {
	body := recordBody(size, delta)
	return varintBytes(body) + int(body)
}

func varintBytes(v int64) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutVarint(b[:], v)
}

// fetched is what a walk over the batches of a fetch response found.
type fetched struct {
	records, bytes int64
	next           int64 // the offset after the last whole batch
}

// walkBatches counts the records of the whole batches in b without decoding
// them. The last batch may be cut off (KIP-74).
func walkBatches(b []byte, from int64) (fetched, error) {
	f := fetched{next: from}
	be := binary.BigEndian
	for len(b) >= batchOverhead {
		length := int64(int32(be.Uint32(b[batchLengthAt:]))) + batchLengthAt + 4
		if length < batchOverhead || b[16] != 2 {
			return f, fmt.Errorf("batch at offset %d: length %d, version %d", int64(be.Uint64(b)), length, b[16])
		}
		if length > int64(len(b)) {
			break
		}
		last := int64(be.Uint64(b)) + int64(int32(be.Uint32(b[batchLastDeltaAt:])))
		if last >= f.next { // a fetch begins with the batch that holds its offset
			f.records += int64(int32(be.Uint32(b[batchRecordCountAt:])))
			f.bytes += length
			f.next = last + 1
		}
		b = b[length:]
	}
	return f, nil
}
