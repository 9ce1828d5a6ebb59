package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// link is a client's connection to one broker: requests are pipelined, answers
// come in their order.
type link struct {
	nc     *conn
	at     string
	to     *Process
	wake   chan<- struct{} // told that answers came, unless it was not heard yet
	format *kmsg.RequestFormatter
	ended  chan struct{} // the reader has ended
	wg     sync.WaitGroup

	mu      sync.Mutex
	next    int32
	waiting []*call
	err     error
}

// call is one request on its way.
type call struct {
	id   int32
	resp kmsg.Response
	err  error
	done chan struct{}
}

var errTimeout = errors.New("client: no answer in time")

// dialMax is how long clients wait for a connection.
const dialMax = 10 * time.Second

// dial connects a host to an address. It pokes wake at each answer.
func dial(ctx context.Context, n *Network, from, at string, wake chan<- struct{}) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	nc, err := n.Dial(ctx, from, at)
	if err != nil {
		return nil, err
	}
	l := &link{nc: nc, at: at, to: nc.server, wake: wake, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("sim")), ended: make(chan struct{})}
	l.wg.Go(l.read)
	return l, nil
}

// connect makes a connection for a test that needs no client.
func (w *World) connect(at string) (*link, error) {
	return dial(context.Background(), w.Network, "tester", at, nil)
}

// idle reports whether no answer is due.
func (l *link) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) == 0
}

// finish ends a call that is on its way.
func (l *link) finish(c *call, err error) {
	c.err = err
	close(c.done)
	select {
	case l.wake <- struct{}{}: // never, if it is nil
	default:
	}
}

// close ends the connection; what waits fails.
func (l *link) close() {
	_ = l.nc.Close()
	l.wg.Wait()
}

// send writes a request; its answer arrives at the call.
func (l *link) send(req kmsg.Request) *call {
	c := &call{done: make(chan struct{}), resp: req.ResponseKind()}
	l.mu.Lock()
	if l.err != nil {
		err := l.err
		l.mu.Unlock()
		l.finish(c, err)
		return c
	}
	l.next++
	c.id = l.next
	l.waiting = append(l.waiting, c)
	l.mu.Unlock()
	b := l.format.AppendRequest(nil, req, c.id)
	if _, err := l.nc.Write(b); err != nil {
		_ = l.nc.Close() // the reader fails all
	}
	return c
}

// post writes a request that has no answer.
func (l *link) post(req kmsg.Request) error {
	l.mu.Lock()
	l.next++
	id := l.next
	l.mu.Unlock()
	_, err := l.nc.Write(l.format.AppendRequest(nil, req, id))
	return err
}

// do sends a request and waits for its answer, at most timeout.
func (l *link) do(ctx context.Context, req kmsg.Request, timeout time.Duration) (kmsg.Response, error) {
	c := l.send(req)
	if err := c.wait(ctx, timeout); err != nil {
		return nil, err
	}
	return c.resp, nil
}

func (c *call) wait(ctx context.Context, timeout time.Duration) error {
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-c.done:
		return c.err
	case <-t.C:
		return errTimeout
	case <-ctx.Done():
		return ctx.Err()
	}
}

// responseMax bounds a response; a larger one is a broker's mistake.
const responseMax = 64 << 20

func (l *link) read() {
	var err error
	for err == nil {
		err = l.readOne()
	}
	_ = l.nc.Close()
	l.mu.Lock()
	l.err = err
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, c := range waiting {
		l.finish(c, err)
	}
	close(l.ended)
}

func (l *link) readOne() error {
	var head [4]byte
	if _, err := io.ReadFull(l.nc, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > responseMax {
		return fmt.Errorf("response of %d bytes", size)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(l.nc, b); err != nil {
		return err
	}
	l.mu.Lock()
	if len(l.waiting) == 0 {
		l.mu.Unlock()
		return errors.New("a response nobody asked for")
	}
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	l.mu.Unlock()
	err := c.take(b)
	l.finish(c, err)
	return err
}

// take reads a response.
func (c *call) take(b []byte) error {
	if id := int32(binary.BigEndian.Uint32(b)); id != c.id {
		return fmt.Errorf("response %d, expected %d", id, c.id)
	}
	b = b[4:]
	if c.resp.IsFlexible() {
		if len(b) == 0 || b[0] != 0 {
			return errors.New("response header has tags")
		}
		b = b[1:]
	}
	return c.resp.ReadFrom(b)
}
