package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
)

// Java clients wrap snappy in the framing of the xerial library: this magic, a
// version and the oldest compatible one (both 1), then blocks, each behind its
// length. Other clients send one raw block. Both are read, xerial is written.
var xerialMagic = []byte("\x82SNAPPY\x00")

const (
	xerialHeader = 16
	xerialBlock  = 32 << 10 // uncompressed bytes of a block we write
	snappyRatio  = 22       // the format's densest element makes 64 bytes of 3
)

var errSnappy = errors.New("malformed snappy data")

// snappyReader decodes block by block.
type snappyReader struct {
	src   []byte
	raw   bool
	limit int64 // most that one block may hold
	out   []byte
	pos   int
}

func (s *snappyReader) reset(src []byte, limit int64) error {
	if cap(s.out) > 1<<20 {
		s.out = nil // a large raw block is not worth keeping
	}
	s.src, s.limit, s.out, s.pos = src, limit, s.out[:0], 0
	s.raw = !bytes.HasPrefix(src, xerialMagic)
	if !s.raw {
		if len(src) < xerialHeader {
			return errSnappy
		}
		s.src = src[xerialHeader:]
	}
	return nil
}

func (s *snappyReader) Read(p []byte) (int, error) {
	for s.pos == len(s.out) {
		if err := s.block(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.out[s.pos:])
	s.pos += n
	return n, nil
}

// block decodes the next block.
func (s *snappyReader) block() error {
	if len(s.src) == 0 {
		return io.EOF
	}
	block := s.src
	if s.raw {
		s.src = nil
	} else {
		// Concatenated streams repeat the header.
		if bytes.HasPrefix(s.src, xerialMagic) && len(s.src) >= xerialHeader {
			s.src = s.src[xerialHeader:]
			return nil
		}
		if len(s.src) < 4 {
			return errSnappy
		}
		n := int64(binary.BigEndian.Uint32(s.src))
		if n > int64(len(s.src)-4) {
			return errSnappy
		}
		block, s.src = s.src[4:4+n], s.src[4+n:]
	}
	size, err := snappy.DecodedLen(block)
	if err != nil || int64(size) > snappyRatio*int64(len(block)) {
		return errSnappy
	}
	if int64(size) > s.limit {
		return errTooBig
	}
	// Strict: the other decoder also accepts an extension that clients do not.
	s.out, err = snappy.DecodeStrict(s.out[:cap(s.out)], block)
	s.pos = 0
	if err != nil {
		s.out = s.out[:0]
		return errSnappy
	}
	return nil
}

// appendXerialBlock appends one compressed block.
func appendXerialBlock(dst, plain []byte, scratch *[]byte) []byte {
	if most := s2.MaxEncodedLen(len(plain)); cap(*scratch) < most {
		*scratch = make([]byte, most)
	}
	block := s2.EncodeSnappy((*scratch)[:cap(*scratch)], plain)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
	return append(dst, block...)
}
