package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// responseMax bounds a response before memory is allocated for it.
const responseMax = 1<<30 + 1<<20

// conn speaks the protocol's frames over TCP. One goroutine may write while
// another reads.
type conn struct {
	net.Conn
	r   *bufio.Reader
	buf []byte
}

func dial(ctx context.Context, addr string, timeout time.Duration) (*conn, error) {
	d := net.Dialer{Timeout: timeout}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, r: bufio.NewReaderSize(c, 64<<10)}, nil
}

// read returns the next response without its length; the bytes stay valid until
// the next read.
func (c *conn) read() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > responseMax {
		return nil, fmt.Errorf("a response of %d bytes", n)
	}
	if int(n) > cap(c.buf) {
		c.buf = make([]byte, n)
	}
	b := c.buf[:n]
	_, err := io.ReadFull(c.r, b)
	return b, err
}

// parse reads a response with a flexible header: correlation id, then tags.
func parse(b []byte, correlation int32, into kmsg.Response) error {
	if got := int32(binary.BigEndian.Uint32(b)); got != correlation {
		return fmt.Errorf("answer to request %d where %d was next", got, correlation)
	}
	b = b[4:]
	for tags := uvarint(&b); tags > 0; tags-- {
		uvarint(&b)
		n := uvarint(&b)
		if n > uint64(len(b)) || len(b) == 0 {
			return io.ErrUnexpectedEOF
		}
		b = b[n:]
	}
	return into.ReadFrom(b)
}

// uvarint takes a number off b; nothing is left if there is none.
func uvarint(b *[]byte) uint64 {
	v, n := binary.Uvarint(*b)
	if n <= 0 {
		*b = nil
		return 0
	}
	*b = (*b)[n:]
	return v
}

// frame encodes a request; its correlation id is patched before each sending.
func frame(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, 0)
}

func correlate(frame []byte, id int32) { binary.BigEndian.PutUint32(frame[8:], uint32(id)) }
