package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"time"
)

const (
	headerBytes = 32
	magic       = 0x4b425231 // KBR1
	textBytes   = 1 << 20
)

// header is what a value begins with (see the package comment).
type header struct {
	run, producer uint32
	sequence      int64
	due           time.Time
}

var errForeign = errors.New("not a record of this benchmark")

// put writes the header in front of a value of at least 32 bytes whose rest is
// final: the checksum covers it.
func (h header) put(value []byte) {
	binary.BigEndian.PutUint32(value[4:], magic)
	binary.BigEndian.PutUint32(value[8:], h.run)
	binary.BigEndian.PutUint32(value[12:], h.producer)
	binary.BigEndian.PutUint64(value[16:], uint64(h.sequence))
	binary.BigEndian.PutUint64(value[24:], uint64(h.due.UnixNano()))
	binary.BigEndian.PutUint32(value, checksum(value[4:]))
}

// parseHeader reads a header and checks the whole value against it.
func parseHeader(value []byte) (header, error) {
	if len(value) < headerBytes || binary.BigEndian.Uint32(value[4:]) != magic {
		return header{}, errForeign
	}
	if want, got := binary.BigEndian.Uint32(value), checksum(value[4:]); want != got {
		return header{}, fmt.Errorf("checksum is %08x, of the bytes read %08x", want, got)
	}
	return header{
		run:      binary.BigEndian.Uint32(value[8:]),
		producer: binary.BigEndian.Uint32(value[12:]),
		sequence: int64(binary.BigEndian.Uint64(value[16:])),
		due:      dueOf(value),
	}, nil
}

// dueOf reads only the due time of a value this process wrote.
func dueOf(value []byte) time.Time {
	return time.Unix(0, int64(binary.BigEndian.Uint64(value[24:])))
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// text is endless content to cut values from.
type text struct {
	bytes []byte // textBytes and the longest value
}

// newText makes content for values of up to size bytes: "random" does not
// compress, "json" are log lines that compress to about a quarter.
func newText(kind string, size int) text {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same content in each run is the point
	b := make([]byte, 0, textBytes+size+256)
	for len(b) < textBytes+size {
		if kind == "random" {
			b = binary.BigEndian.AppendUint64(b, r.Uint64())
		} else {
			b = appendLogLine(b, r)
		}
	}
	return text{bytes: b[:textBytes+size]}
}

// fill copies the n-th piece of content into value.
func (t text) fill(value []byte, n int64) {
	copy(value, t.bytes[n*40503%textBytes:])
}

func appendLogLine(b []byte, r *rand.Rand) []byte {
	levels := []string{"debug", "info", "info", "info", "warn", "error"}
	verbs := []string{"GET", "GET", "GET", "POST", "PUT", "DELETE"}
	nouns := []string{"orders", "users", "carts", "sessions", "invoices", "products", "payments", "shipments"}
	b = append(b, `{"time":"2026-01-02T15:04:05.`...)
	b = strconv.AppendInt(b, 100000+r.Int64N(900000), 10)
	b = append(b, `Z","level":"`...)
	b = append(b, levels[r.IntN(len(levels))]...)
	b = append(b, `","trace":"`...)
	b = strconv.AppendUint(b, r.Uint64(), 16)
	b = append(b, `","method":"`...)
	b = append(b, verbs[r.IntN(len(verbs))]...)
	b = append(b, `","path":"/api/v1/`...)
	b = append(b, nouns[r.IntN(len(nouns))]...)
	b = append(b, '/')
	b = strconv.AppendInt(b, r.Int64N(100000), 10)
	b = append(b, `","status":`...)
	b = strconv.AppendInt(b, 200+100*r.Int64N(4), 10)
	b = append(b, `,"duration_us":`...)
	b = strconv.AppendInt(b, r.Int64N(250000), 10)
	return append(b, "}\n"...)
}
