package sim

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Network connects clients with listeners by address. Bytes take a fixed time
// and are never lost on a connection that lives.
type Network struct {
	latency time.Duration

	mu        sync.Mutex
	listeners map[string]*listener
	ports     int
}

// NewNetwork makes a network in which bytes take latency.
func NewNetwork(latency time.Duration) *Network {
	return &Network{latency: latency, listeners: map[string]*listener{}}
}

var errRefused = errors.New("connection refused")

// Listen listens at an address. Whoever listened there before gets no more
// connections, but keeps those it has.
func (n *Network) Listen(at string) *listener {
	l := &listener{network: n, at: addr(at), queue: make(chan net.Conn, 128), closed: make(chan struct{}), conns: map[*conn]struct{}{}}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[at] = l
	return l
}

// Dial connects to whoever listens at an address.
func (n *Network) Dial(at string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[at]
	n.ports++
	from := addr("10.0.0.1:" + itoa(n.ports))
	n.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	there, back := newPipe(n.latency), newPipe(n.latency)
	client := &conn{in: back, out: there, local: from, remote: l.at}
	server := &conn{in: there, out: back, local: l.at, remote: from}
	client.peer, server.peer = server, client
	if !l.offer(server) {
		return nil, errRefused
	}
	return client, nil
}

func itoa(n int) string {
	if n == 0 {
		return "0"
	}
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

type addr string

func (a addr) Network() string { return "sim" }
func (a addr) String() string  { return string(a) }

// listener is the end at which a process takes connections.
type listener struct {
	network *Network
	at      addr
	queue   chan net.Conn
	closed  chan struct{}
	once    sync.Once

	mu    sync.Mutex
	conns map[*conn]struct{} // ends of the process
	cut   bool
}

func (l *listener) offer(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return false
	}
	select {
	case <-l.closed:
		return false
	default:
	}
	select {
	case l.queue <- c:
		l.conns[c] = struct{}{}
		return true
	default:
		return false
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.at }

// all takes the connections there are.
func (l *listener) all() []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*conn
	for c := range l.conns {
		all = append(all, c)
	}
	clear(l.conns)
	return all
}

// Reset ends every connection with an error at both ends.
func (l *listener) Reset() {
	for _, c := range l.all() {
		c.in.fail(errReset)
		c.out.fail(errReset)
	}
}

// Cut takes the process from the network: clients see errors, the process hears
// nothing any more and does not know.
func (l *listener) Cut() {
	l.mu.Lock()
	l.cut = true
	l.mu.Unlock()
	for _, c := range l.all() {
		c.out.fail(errReset) // what it says goes nowhere
		c.out.sink()
		c.in.sever()
	}
}

var errReset = errors.New("connection reset by peer")

// conn is one end of a connection.
type conn struct {
	in, out       *pipe
	local, remote addr
	peer          *conn
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

// Close ends both directions; what was written before still arrives.
func (c *conn) Close() error {
	c.out.end()
	c.in.fail(net.ErrClosed)
	return nil
}

func (c *conn) SetDeadline(t time.Time) error {
	c.in.setDeadline(true, t)
	c.out.setDeadline(false, t)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(true, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(false, t)
	return nil
}

// pipeBytes is what fits into one direction: a writer waits beyond it.
const pipeBytes = 1 << 20

// piece is bytes on their way.
type piece struct {
	b  []byte
	at time.Time // of their arrival
}

// pipe is one direction of a connection.
type pipe struct {
	latency time.Duration

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when anything below changes
	pieces  []piece
	bytes   int
	ended   bool  // no more is written
	err     error // for both ends
	sunk    bool  // writes vanish
	severed bool  // nothing arrives any more
	readBy  time.Time
	writeBy time.Time
}

func newPipe(latency time.Duration) *pipe {
	return &pipe{latency: latency, changed: make(chan struct{})}
}

// change tells the waiting ends. The caller holds mu.
func (p *pipe) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pipe) setDeadline(reading bool, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reading {
		p.readBy = t
	} else {
		p.writeBy = t
	}
	p.change()
}

func (p *pipe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.change()
}

func (p *pipe) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.change()
}

func (p *pipe) sink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sunk = true
	p.change()
}

func (p *pipe) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.severed, p.sunk = true, false
	p.pieces, p.bytes = nil, 0
	p.change()
}

// look is one attempt to read: it reads, fails, or says what to wait for.
func (p *pipe) look(b []byte) (n int, err error, wait <-chan struct{}, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case !p.readBy.IsZero() && !now.Before(p.readBy):
		return 0, os.ErrDeadlineExceeded, nil, until
	case p.err != nil:
		return 0, p.err, nil, until
	case len(p.pieces) > 0 && !p.pieces[0].at.After(now):
		n = copy(b, p.pieces[0].b)
		p.pieces[0].b = p.pieces[0].b[n:]
		p.bytes -= n
		if len(p.pieces[0].b) == 0 {
			p.pieces = p.pieces[1:]
		}
		p.change()
		return n, nil, nil, until
	case len(p.pieces) == 0 && p.ended && !p.severed:
		return 0, io.EOF, nil, until
	}
	until = p.readBy
	if len(p.pieces) > 0 && (until.IsZero() || p.pieces[0].at.Before(until)) {
		until = p.pieces[0].at
	}
	return 0, nil, p.changed, until
}

func (p *pipe) read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, err, wait, until := p.look(b)
		if wait == nil {
			return n, err
		}
		await(wait, until)
	}
}

// await waits for a change or a time (zero: none).
func await(changed <-chan struct{}, until time.Time) {
	if until.IsZero() {
		<-changed
		return
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	}
}

// push is one attempt to write.
func (p *pipe) push(b []byte) (n int, err error, wait <-chan struct{}, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case p.sunk || p.severed:
		return len(b), nil, nil, until
	case p.err != nil:
		return 0, p.err, nil, until
	case p.ended:
		return 0, net.ErrClosed, nil, until
	case !p.writeBy.IsZero() && !now.Before(p.writeBy):
		return 0, os.ErrDeadlineExceeded, nil, until
	case p.bytes >= pipeBytes:
		return 0, nil, p.changed, p.writeBy
	}
	n = min(len(b), pipeBytes-p.bytes)
	p.pieces = append(p.pieces, piece{b: append([]byte(nil), b[:n]...), at: now.Add(p.latency)})
	p.bytes += n
	p.change()
	return n, nil, nil, until
}

func (p *pipe) write(b []byte) (int, error) {
	total := 0
	for len(b) > 0 {
		n, err, wait, until := p.push(b)
		total += n
		if err != nil {
			return total, err
		}
		b = b[n:]
		if wait != nil {
			await(wait, until)
		}
	}
	return total, nil
}
