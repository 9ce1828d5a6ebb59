package record

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"

	"github.com/pierrec/lz4/v4"
)

// The LZ4 frame format as Kafka uses it: blocks are independent, there is no
// dictionary, checksums of header, block and content are verified where
// present. What follows the first frame is ignored, as Kafka does.
const (
	lz4Magic        = 0x184D2204
	lz4Independent  = 1 << 5
	lz4BlockSums    = 1 << 4
	lz4ContentSize  = 1 << 3
	lz4ContentSum   = 1 << 2
	lz4Dictionary   = 1
	lz4Uncompressed = 1 << 31 // in a block's length
	lz4Block        = 64 << 10
)

var errLZ4 = errors.New("malformed lz4 frame")

// lz4Reader decodes block by block into one buffer.
type lz4Reader struct {
	src     []byte
	flags   byte
	out     []byte // cap is the largest block
	pos     int
	content xxh32
	done    bool
}

func (l *lz4Reader) reset(src []byte) error {
	l.out, l.pos, l.done = l.out[:0], 0, false
	if len(src) < 7 || binary.LittleEndian.Uint32(src) != lz4Magic {
		return errLZ4
	}
	l.flags = src[4]
	if l.flags>>6 != 1 || l.flags&lz4Independent == 0 || l.flags&(lz4Dictionary|2) != 0 {
		return errLZ4
	}
	size := int(src[5] >> 4)
	if size < 4 || size > 7 || src[5]&0x8f != 0 {
		return errLZ4
	}
	header := 6
	if l.flags&lz4ContentSize != 0 {
		header += 8
	}
	if len(src) < header+1 || src[header] != byte(xxh32Sum(src[4:header])>>8) {
		return errLZ4
	}
	l.src = src[header+1:]
	l.content.reset()
	block := 1 << (8 + 2*size) // 64 KiB, 256 KiB, 1 MiB, 4 MiB
	if cap(l.out) > 1<<20 && block <= 1<<20 {
		l.out = nil // not worth keeping
	}
	// A block cannot make more than 255 bytes of one, so small payloads with a
	// large block size need no large buffer.
	block = min(block, 255*len(src))
	if cap(l.out) < block {
		l.out = make([]byte, 0, block)
	}
	return nil
}

func (l *lz4Reader) Read(p []byte) (int, error) {
	for l.pos == len(l.out) {
		if l.done {
			return 0, io.EOF
		}
		if err := l.block(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.out[l.pos:])
	l.pos += n
	return n, nil
}

func (l *lz4Reader) block() error {
	if len(l.src) < 4 {
		return errLZ4
	}
	word := binary.LittleEndian.Uint32(l.src)
	l.src = l.src[4:]
	if word == 0 {
		return l.end()
	}
	n := int64(word &^ lz4Uncompressed)
	sum := int64(0)
	if l.flags&lz4BlockSums != 0 {
		sum = 4
	}
	if n+sum > int64(len(l.src)) {
		return errLZ4
	}
	block := l.src[:n]
	if sum > 0 && binary.LittleEndian.Uint32(l.src[n:]) != xxh32Sum(block) {
		return errLZ4
	}
	l.src = l.src[n+sum:]
	l.pos = 0
	if word&lz4Uncompressed != 0 {
		if n > int64(cap(l.out)) {
			return errLZ4
		}
		l.out = append(l.out[:0], block...)
	} else {
		m, err := lz4.UncompressBlock(block, l.out[:cap(l.out)])
		if err != nil {
			l.out = l.out[:0]
			return errLZ4
		}
		l.out = l.out[:m]
	}
	if l.flags&lz4ContentSum != 0 {
		l.content.write(l.out)
	}
	return nil
}

// end reads what follows the last block.
func (l *lz4Reader) end() error {
	l.done = true
	if l.flags&lz4ContentSum == 0 {
		return nil
	}
	if len(l.src) < 4 || binary.LittleEndian.Uint32(l.src) != l.content.sum() {
		return errLZ4
	}
	return nil
}

// appendLZ4Header appends a frame header: independent blocks of 64 KiB, no
// other checksum than the header's own, as the Java client writes it.
func appendLZ4Header(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, lz4Magic)
	desc := []byte{1<<6 | lz4Independent, 4 << 4}
	return append(dst, desc[0], desc[1], byte(xxh32Sum(desc)>>8))
}

// appendLZ4Block appends one block, uncompressed where that is shorter.
func appendLZ4Block(dst, plain []byte, scratch *[]byte, compress func(src, dst []byte) (int, error)) []byte {
	if most := lz4.CompressBlockBound(len(plain)); cap(*scratch) < most {
		*scratch = make([]byte, most)
	}
	n, err := compress(plain, (*scratch)[:cap(*scratch)])
	if err != nil || n == 0 || n >= len(plain) {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(plain))|lz4Uncompressed)
		return append(dst, plain...)
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	return append(dst, (*scratch)[:n]...)
}

// xxh32 is the XXH32 hash with seed 0, which LZ4 frames carry.
type xxh32 struct {
	lane  [4]uint32
	tail  [16]byte
	ntail int
	total uint64
}

// The primes of XXH32.
const (
	xxp1 uint32 = 2654435761
	xxp2 uint32 = 2246822519
	xxp3 uint32 = 3266489917
	xxp4 uint32 = 668265263
	xxp5 uint32 = 374761393
)

func xxh32Sum(b []byte) uint32 {
	var x xxh32
	x.reset()
	x.write(b)
	return x.sum()
}

func (x *xxh32) reset() {
	p1, p2 := xxp1, xxp2 // variables: the sums wrap
	*x = xxh32{lane: [4]uint32{p1 + p2, p2, 0, -p1}}
}

func (x *xxh32) write(b []byte) {
	x.total += uint64(len(b))
	if x.ntail > 0 {
		n := copy(x.tail[x.ntail:], b)
		x.ntail += n
		b = b[n:]
		if x.ntail < 16 {
			return
		}
		x.stripes(x.tail[:])
		x.ntail = 0
	}
	whole := len(b) &^ 15
	x.stripes(b[:whole])
	x.ntail = copy(x.tail[:], b[whole:])
}

func (x *xxh32) stripes(b []byte) {
	a, c, d, e := x.lane[0], x.lane[1], x.lane[2], x.lane[3]
	for ; len(b) >= 16; b = b[16:] {
		a = bits.RotateLeft32(a+binary.LittleEndian.Uint32(b)*xxp2, 13) * xxp1
		c = bits.RotateLeft32(c+binary.LittleEndian.Uint32(b[4:])*xxp2, 13) * xxp1
		d = bits.RotateLeft32(d+binary.LittleEndian.Uint32(b[8:])*xxp2, 13) * xxp1
		e = bits.RotateLeft32(e+binary.LittleEndian.Uint32(b[12:])*xxp2, 13) * xxp1
	}
	x.lane = [4]uint32{a, c, d, e}
}

func (x *xxh32) sum() uint32 {
	h := xxp5
	if x.total >= 16 {
		h = bits.RotateLeft32(x.lane[0], 1) + bits.RotateLeft32(x.lane[1], 7) +
			bits.RotateLeft32(x.lane[2], 12) + bits.RotateLeft32(x.lane[3], 18)
	}
	h += uint32(x.total)
	b := x.tail[:x.ntail]
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(b)*xxp3, 17) * xxp4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*xxp5, 11) * xxp1
	}
	h = (h ^ h>>15) * xxp2
	h = (h ^ h>>13) * xxp3
	return h ^ h>>16
}
