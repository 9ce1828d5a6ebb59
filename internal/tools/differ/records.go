package differ

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

var codecNames = [8]string{"none", "gzip", "snappy", "lz4", "zstd", "5", "6", "7"}

// batchesTree opens record batches: the header's fields, and a line for each
// record. What follows the last whole batch is only counted.
func batchesTree(b []byte) any {
	all := []any{}
	for len(b) >= 61 {
		size := 12 + int64(int32(binary.BigEndian.Uint32(b[8:])))
		if size < 61 || size > int64(len(b)) {
			break
		}
		all = append(all, batchTree(b[:size]))
		b = b[size:]
	}
	if len(b) > 0 {
		all = append(all, object{{name: "Partial", value: true}})
	}
	return all
}

func batchTree(b []byte) object {
	be := binary.BigEndian
	attributes := be.Uint16(b[21:])
	num := func(name string, v, usual int64) member { return member{name, v, v == usual} }
	o := object{
		num("BaseOffset", int64(be.Uint64(b)), -1),
		num("LeaderEpoch", int64(int32(be.Uint32(b[12:]))), -1),
		num("Magic", int64(b[16]), 2),
		{"Codec", codecNames[attributes&7], attributes&7 == 0},
		num("Attributes", int64(attributes&^7), 0),
		num("LastOffsetDelta", int64(int32(be.Uint32(b[23:]))), -1),
		num("MaxTimestamp", int64(be.Uint64(b[35:])), -1),
		num("ProducerID", int64(be.Uint64(b[43:])), -1),
		num("ProducerEpoch", int64(int16(be.Uint16(b[51:]))), -1),
		num("FirstSequence", int64(int32(be.Uint32(b[53:]))), -1),
		{"CRCIsBad", true, crc32.Checksum(b[21:], castagnoli) == be.Uint32(b[17:])},
	}
	return append(o, recordLines(b, int64(be.Uint64(b)), int64(be.Uint64(b[27:])), attributes))
}

// recordLines is a line for each record: offset @time key=value {headers}.
func recordLines(b []byte, base, first int64, attributes uint16) member {
	count := int32(binary.BigEndian.Uint32(b[57:]))
	raw, err := kgo.DefaultDecompressor().Decompress(b[61:], kgo.CompressionCodecType(attributes&7))
	if err != nil {
		return member{name: "Records", value: "undecompressable"}
	}
	d := varints{b: raw}
	lines := []any{}
	for range count {
		d.int()
		d.skip(1)
		when := first + d.int()
		if attributes&8 != 0 {
			when = int64(binary.BigEndian.Uint64(b[35:]))
		}
		offset := base + d.int()
		key, value := d.text(), d.text()
		var headers []string
		for range d.int() {
			headers = append(headers, d.text()+"="+d.text())
			if d.bad {
				break
			}
		}
		if d.bad {
			return member{name: "Records", value: "damaged"}
		}
		line := recordLine{offset, when, key + "=" + value}
		if headers != nil {
			line.text += " {" + strings.Join(headers, ", ") + "}"
		}
		lines = append(lines, line)
	}
	return member{name: "Records", value: fewer(lines)}
}

// fewer leaves the ends of a long list.
func fewer(lines []any) []any {
	if len(lines) <= 8 {
		return lines
	}
	return []any{lines[0], lines[1], fmt.Sprintf("… %d more", len(lines)-3), lines[len(lines)-1]}
}

// recordLine is a record on one line; its time is not text yet, for it may have
// to be hidden.
type recordLine struct {
	offset, time int64
	text         string
}

// MarshalText is for messages about answers that were not normalised.
func (l recordLine) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

func (l recordLine) String() string { return fmt.Sprintf("%d @%s %s", l.offset, clock(l.time), l.text) }

type varints struct {
	b   []byte
	bad bool
}

func (d *varints) int() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *varints) skip(n int64) []byte {
	if n < 0 || n > int64(len(d.b)) {
		d.bad = true
		return nil
	}
	s := d.b[:n]
	d.b = d.b[n:]
	return s
}

func (d *varints) text() string {
	n := d.int()
	if n < 0 {
		return "null"
	}
	s := bytesText(d.skip(n))
	if len(s) > 40 {
		return fmt.Sprintf("%s…(%d bytes, %08x)", s[:8], len(s), crc32.ChecksumIEEE([]byte(s)))
	}
	return s
}
