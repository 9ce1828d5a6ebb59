package differ

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	answerMax   = 64 << 20         // bytes
	answerWait  = 30 * time.Second // for an answer that must come
	silenceWait = time.Second      // after raw bytes
)

// errClosed means that the broker closed the connection.
var errClosed = errors.New("closed")

// conn is a connection of a script. Answers come in the order of the requests.
type conn struct {
	net.Conn
	in      *bufio.Reader
	pending []*call
	next    int32
}

// call is a request on its way.
type call struct {
	correlation int32
	response    kmsg.Response
	step        *step
	round       int16
	done        bool
	answer      any // tree, "closed", or "silence"
}

func dial(ctx context.Context, addr string) (*conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, in: bufio.NewReader(c)}, nil
}

// request writes a frame and expects an answer, if there is one to come.
func (c *conn) request(f *frame, k *call) error {
	k.correlation = f.correlation
	if k.response != nil {
		c.pending = append(c.pending, k)
	}
	_, err := c.Write(f.bytes())
	if err != nil && k.response != nil {
		return nil // closed before it was written: the answer says so
	}
	return err
}

// wait reads answers until k has its own.
func (c *conn) wait(k *call) error {
	for !k.done {
		if len(c.pending) == 0 {
			panic("BUG: waiting for a request that was not sent")
		}
		next := c.pending[0]
		c.pending = c.pending[1:]
		next.done = true
		wait := answerWait
		if next.step.within > 0 {
			wait = next.step.within
		}
		payload, err := c.frame(wait)
		if next.step.within > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			next.answer = "silence"
			continue
		}
		if errors.Is(err, errClosed) {
			next.answer = "closed"
			continue
		}
		if err != nil {
			return err
		}
		if next.answer, err = decode(next, payload); err != nil {
			next.answer = "undecodable: " + err.Error()
		}
	}
	return nil
}

// frame reads one answer.
func (c *conn) frame(wait time.Duration) ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(c.in, size[:]); err != nil {
		return nil, ended(err)
	}
	n := int32(binary.BigEndian.Uint32(size[:]))
	if n < 4 || n > answerMax {
		return nil, fmt.Errorf("an answer of %d bytes", n)
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		return nil, ended(err)
	}
	return payload, nil
}

// ended tells a silent peer from one that closed the connection, cleanly or not.
func ended(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer: %w", err)
	}
	return errClosed
}

// silent reports whether the connection stays open and quiet for a moment.
func (c *conn) silent() (string, error) {
	_, err := c.frame(silenceWait)
	switch {
	case err == nil:
		return "answered", nil
	case errors.Is(err, errClosed):
		return "closed", nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "open", nil
	}
	return "", err
}

const apiVersionsKey = 18

// decode is an answer as a tree.
func decode(k *call, payload []byte) (any, error) {
	if got := int32(binary.BigEndian.Uint32(payload)); got != k.correlation {
		return nil, fmt.Errorf("correlation id %d for %d", got, k.correlation)
	}
	body := payload[4:]
	r := k.response
	if r.Key() == apiVersionsKey && len(body) > 2 && int16(binary.BigEndian.Uint16(body)) == kerr.UnsupportedVersion.Code {
		r.SetVersion(0) // KIP-511: of whatever version the request was
	} else if r.IsFlexible() && r.Key() != apiVersionsKey {
		var err error
		if body, err = skipTags(body); err != nil {
			return nil, err
		}
	}
	if err := r.ReadFrom(body); err != nil {
		return nil, err
	}
	tree := structTree(reflect.ValueOf(r).Elem())
	if n := len(body) - len(r.AppendTo(nil)); n != 0 {
		tree = append(tree, member{name: "BytesTooMany", value: int64(n)})
	}
	return tree, nil
}

func skipTags(b []byte) ([]byte, error) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return nil, errors.New("no tagged fields in the header")
	}
	if n != 0 {
		return nil, errors.New("tagged fields in the header")
	}
	return b[size:], nil
}
