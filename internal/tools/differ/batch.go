package differ

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A batch statement makes one record batch (magic 2):
//
//	batch b codec=lz4 pid=$pid epoch=0 seq=5 time=1700000000000
//	  record key value               "null" is null, "" is empty
//	  record null value +5 h=x g=null    5 ms later, with two headers
//	  record k v delta=7             offset delta 7 instead of the next one
//	  fill 1000 k 64                 1000 records with values of 64 bytes
//
// Header fields can be set to anything: base=, leaderepoch=, magic=, attributes=
// (or'ed), poke=30:ff (one byte, before the CRC is taken), pokerecord=3:ff (one of
// the records, before they are compressed), lastdelta=, count=, maxtime=, length=+2. "crc=bad" spoils the CRC,
// "cut=3" takes bytes from the end, "junk" instead of records is a compressed
// part that is none.
type batchSpec struct {
	options []string
	records [][]string
}

type batchBuilder struct {
	pokes, recordPokes map[int]byte
	options            map[string]int64
	badCRC             bool
	junk               bool
	codec              string
	records            []byte
	count              int32
	last               int64 // time delta
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// build is the batch's bytes.
func (s batchSpec) build(e *env) ([]byte, error) {
	b := batchBuilder{pokes: map[int]byte{}, recordPokes: map[int]byte{}, options: map[string]int64{"pid": -1, "epoch": -1, "seq": -1, "time": 1700000000000, "magic": 2, "leaderepoch": -1}}
	for _, o := range s.options {
		if err := b.option(o, e); err != nil {
			return nil, err
		}
	}
	for _, r := range s.records {
		if err := b.add(r); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(r, " "), err)
		}
	}
	return b.bytes()
}

func (b *batchBuilder) option(o string, e *env) error {
	name, value, _ := strings.Cut(o, "=")
	switch {
	case name == "codec":
		if _, ok := codecs[value]; !ok {
			return fmt.Errorf("no codec %q", value)
		}
		b.codec = value
		return nil
	case name == "poke":
		return poke(b.pokes, value, e)
	case name == "pokerecord":
		return poke(b.recordPokes, value, e)
	case o == "crc=bad":
		b.badCRC = true
		return nil
	case o == "junk":
		b.junk = true
		return nil
	}
	v, err := e.expand(value)
	if err != nil {
		return err
	}
	n, ok := v.(int64)
	if !ok {
		if n, err = strconv.ParseInt(fmt.Sprint(v), 0, 64); err != nil {
			return fmt.Errorf("option %s: %w", o, err)
		}
	}
	b.options[name] = n
	return nil
}

// poke notes AT:BYTE.
func poke(into map[int]byte, what string, e *env) error {
	at, value, _ := strings.Cut(what, ":")
	expanded, err := e.expand(at)
	if err != nil {
		return err
	}
	i, err := strconv.Atoi(fmt.Sprint(expanded))
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(value, 16, 8)
	into[i] = byte(n)
	return err
}

// apply sets the bytes that were noted, as far as there are such.
func apply(b []byte, pokes map[int]byte) {
	for i, v := range pokes {
		if i >= 0 && i < len(b) {
			b[i] = v
		}
	}
}

// add is one record or fill line.
func (b *batchBuilder) add(words []string) error {
	switch {
	case words[0] == "fill" && len(words) == 4:
		n, err := strconv.Atoi(words[1])
		size, err2 := strconv.Atoi(words[3])
		if err != nil || err2 != nil {
			return fmt.Errorf("fill COUNT KEY BYTES")
		}
		value := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		for range n {
			b.record(words[2], value, 0, int64(b.count), nil)
		}
		return nil
	case words[0] != "record" || len(words) < 3:
		return fmt.Errorf("record KEY VALUE …, or fill COUNT KEY BYTES")
	}
	delta, offset := int64(0), int64(b.count)
	var headers [][2]string
	for _, w := range words[3:] {
		name, value, isPair := strings.Cut(w, "=")
		n, err := strconv.ParseInt(value+strings.TrimPrefix(name, "delta"), 10, 64)
		switch {
		case !isPair:
			if n, err = strconv.ParseInt(w, 10, 64); err != nil {
				return err
			}
			delta = n
		case name == "delta" && err == nil:
			offset = n
		default:
			headers = append(headers, [2]string{name, value})
		}
	}
	b.record(words[1], words[2], delta, offset, headers)
	return nil
}

func (b *batchBuilder) record(key, value string, delta, offset int64, headers [][2]string) {
	body := []byte{0}
	body = binary.AppendVarint(body, delta)
	body = binary.AppendVarint(body, offset)
	body = appendNullable(appendNullable(body, key), value)
	body = binary.AppendVarint(body, int64(len(headers)))
	for _, h := range headers {
		body = appendNullable(appendNullable(body, h[0]), h[1])
	}
	b.records = append(binary.AppendVarint(b.records, int64(len(body))), body...)
	b.count++
	b.last = max(b.last, delta)
}

func appendNullable(dst []byte, s string) []byte {
	if s == "null" {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(s))), s...)
}

func (b *batchBuilder) or(name string, n int64) int64 {
	if v, ok := b.options[name]; ok {
		return v
	}
	return n
}

func (b *batchBuilder) bytes() ([]byte, error) {
	attributes := b.or("attributes", 0)
	records := b.records
	apply(records, b.recordPokes)
	if b.codec != "" && b.codec != "none" {
		c, err := kgo.DefaultCompressor(codecs[b.codec])
		if err != nil {
			return nil, err
		}
		packed, codec := c.Compress(new(bytes.Buffer), records)
		records = append([]byte(nil), packed...)
		attributes |= int64(codec)
	}
	if b.junk {
		records = []byte("this is not compressed at all")
	}
	first := b.or("time", 0)
	out := make([]byte, 61, 61+len(records))
	be := binary.BigEndian
	be.PutUint64(out, uint64(b.or("base", 0)))
	be.PutUint32(out[8:], uint32(49+len(records)+int(b.or("length", 0))))
	be.PutUint32(out[12:], uint32(b.or("leaderepoch", -1)))
	out[16] = byte(b.or("magic", 2))
	be.PutUint16(out[21:], uint16(attributes))
	be.PutUint32(out[23:], uint32(b.or("lastdelta", int64(b.count)-1)))
	be.PutUint64(out[27:], uint64(first))
	be.PutUint64(out[35:], uint64(b.or("maxtime", first+b.last)))
	be.PutUint64(out[43:], uint64(b.or("pid", -1)))
	be.PutUint16(out[51:], uint16(b.or("epoch", -1)))
	be.PutUint32(out[53:], uint32(b.or("seq", -1)))
	be.PutUint32(out[57:], uint32(b.or("count", int64(b.count))))
	out = append(out, records...)
	apply(out, b.pokes)
	be.PutUint32(out[17:], crc32.Checksum(out[21:], castagnoli))
	if b.badCRC {
		out[17] ^= 1
	}
	return out[:len(out)-int(b.or("cut", 0))], nil
}
