// Package object is the header every stored object begins with: what it is,
// which cluster it belongs to, who wrote it, and a nonce that lets a writer
// whose create had an unknown outcome recognise its own bytes (I3).
//
// Layout, big endian, 96 bytes:
//
//	 0  8  magic "KARSTOBJ"
//	 8  1  kind
//	 9  1  version of the kind's format
//	10  2  zero
//	12 16  cluster id
//	28  8  writer: incarnation, or term
//	36  8  number in its log, or counter of its writer
//	44 16  nonce
//	60  8  payload length, bytes after this header
//	68  4  check: CRC-32C whose scope the kind defines
//	72 20  zero
//	92  4  CRC-32C of bytes 0 to 91
package object

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"

	"github.com/karst-io/karst"
)

// HeaderSize is the length of an encoded Header in bytes.
const HeaderSize = 96

var (
	magic      = []byte("KARSTOBJ")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Kind is what an object is.
type Kind uint8

// The kinds. Values are stored: never renumber.
const (
	Cluster   Kind = 1 // <prefix>/cluster
	Segment   Kind = 2 // record batches: WAL, flushed or merged
	Tombstone Kind = 3 // the end of a numbered log
	Claim     Kind = 4 // the claim of a term
	Commit    Kind = 5 // one commit of the metadata log
	Snapshot  Kind = 6 // an image
)

// Nonce distinguishes two writers that claim the same name.
type Nonce [16]byte

// NewNonce draws a nonce at random.
func NewNonce() (n Nonce) {
	rand.Read(n[:]) // never fails (crypto/rand)
	return n
}

// Header is the decoded header of an object.
type Header struct {
	Kind    Kind
	Version uint8
	Cluster karst.ClusterID
	Writer  uint64
	Number  uint64
	Nonce   Nonce
	Length  int64  // of the payload, in bytes
	Check   uint32 // scope defined by the kind
}

// Append appends the encoded header to b.
func (h Header) Append(b []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = append(b, byte(h.Kind), h.Version, 0, 0)
	b = append(b, h.Cluster[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Writer)
	b = binary.BigEndian.AppendUint64(b, h.Number)
	b = append(b, h.Nonce[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Length))
	b = binary.BigEndian.AppendUint32(b, h.Check)
	b = append(b, make([]byte, 20)...)
	return binary.BigEndian.AppendUint32(b, Checksum(b[start:]))
}

// Decode reads the header at the start of b. The object's name goes into the
// error, a *karst.CorruptError.
func Decode(name string, b []byte) (Header, error) {
	corrupt := func(at int64, why string) (Header, error) {
		return Header{}, &karst.CorruptError{Object: name, Offset: at, Reason: why}
	}
	if len(b) < HeaderSize {
		return corrupt(int64(len(b)), "shorter than an object header")
	}
	if !bytes.Equal(b[:8], magic) {
		return corrupt(0, "not a Karst object (bad magic)")
	}
	if binary.BigEndian.Uint32(b[92:]) != Checksum(b[:92]) {
		return corrupt(92, "header checksum differs")
	}
	h := Header{
		Kind: Kind(b[8]), Version: b[9],
		Writer: binary.BigEndian.Uint64(b[28:]),
		Number: binary.BigEndian.Uint64(b[36:]),
		Length: int64(binary.BigEndian.Uint64(b[60:])),
		Check:  binary.BigEndian.Uint32(b[68:]),
	}
	copy(h.Cluster[:], b[12:])
	copy(h.Nonce[:], b[44:])
	if h.Length < 0 {
		return corrupt(60, "negative length")
	}
	return h, nil
}

// Checksum is the CRC-32C (Castagnoli) of b.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
