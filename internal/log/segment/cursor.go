package segment

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/karst-io/karst"
)

// cursor decodes bytes that came from an object. After the first error, which
// sticks, everything it returns is zero.
type cursor struct {
	name   string
	b      []byte
	origin int64 // of b in the object
	pos    int
	err    error
}

func (c *cursor) corrupt(format string, args ...any) error {
	return &karst.CorruptError{Object: c.name, Offset: c.origin + int64(c.pos), Reason: fmt.Sprintf(format, args...)}
}

func (c *cursor) unknownKind(what string, kind byte) error {
	if kind == kindReference {
		return c.corrupt("%s is a reference to another object, which version %d cannot read", what, version)
	}
	return c.corrupt("%s of unknown kind %d", what, kind)
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = c.corrupt(format, args...)
	}
}

// end is the error so far, or that bytes are left.
func (c *cursor) end(what string) error {
	if c.err == nil && c.pos != len(c.b) {
		c.fail("%d bytes follow the %s", len(c.b)-c.pos, what)
	}
	return c.err
}

// take returns the next n bytes, zeros after an error.
func (c *cursor) take(n int) []byte {
	if c.err == nil && n > len(c.b)-c.pos {
		c.fail("ends early")
	}
	if c.err != nil {
		return make([]byte, n)
	}
	c.pos += n
	return c.b[c.pos-n : c.pos]
}

func (c *cursor) byte() byte     { return c.take(1)[0] }
func (c *cursor) uint32() uint32 { return binary.BigEndian.Uint32(c.take(4)) }
func (c *cursor) uint64() uint64 { return binary.BigEndian.Uint64(c.take(8)) }

func (c *cursor) uvarint() uint64 {
	if c.err != nil {
		return 0
	}
	v, n := binary.Uvarint(c.b[c.pos:])
	if n <= 0 {
		c.fail("malformed integer")
		return 0
	}
	c.pos += n
	return v
}

func (c *cursor) varint() int64 {
	u := c.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// limited is an unsigned integer of at most most.
func (c *cursor) limited(most uint64) uint64 {
	v := c.uvarint()
	if v > most {
		c.fail("integer %d is out of range", v)
		return 0
	}
	return v
}

// size is a position or length.
func (c *cursor) size() int64 { return int64(c.limited(math.MaxInt64)) }

// signed is base plus a signed integer, between least and most.
func (c *cursor) signed(least, most, base int64) int64 {
	v := c.varint()
	if v < least-base || v > most-base {
		c.fail("integer %d is out of range", v)
		return 0
	}
	return base + v
}

// count is a number of things that take at least each bytes: one that could
// not fit is refused before anything is allocated for it.
func (c *cursor) count(each int) int {
	v := c.uvarint()
	if v > uint64(len(c.b)-c.pos)/uint64(each) {
		c.fail("count %d cannot be true", v)
	}
	if c.err != nil {
		return 0
	}
	return int(v)
}
