package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Network connects hosts by address. Bytes take a fixed time and are never lost on
// a connection that lives; while its hosts are parted they wait.
type Network struct {
	latency time.Duration

	mu        sync.Mutex
	listeners map[string][]*listener // by address, the newest last
	ports     int
	conns     map[*conn]struct{} // that were dialed and not closed
	blocked   map[way]bool
	frozen    map[string]bool // hosts that neither send nor hear
	healed    chan struct{}   // closed and replaced when hosts can reach each other again
}

// way is one direction between two hosts.
type way struct{ from, to string }

// NewNetwork makes a network in which bytes take latency.
func NewNetwork(latency time.Duration) *Network {
	return &Network{
		latency: latency, listeners: map[string][]*listener{}, conns: map[*conn]struct{}{}, blocked: map[way]bool{}, frozen: map[string]bool{},
		healed: make(chan struct{}),
	}
}

var errRefused = fmt.Errorf("connect: %w", syscall.ECONNREFUSED)

// Listen has a process listen at an address. Whoever listened there before gets
// no more connections, but keeps those it has.
func (n *Network) Listen(p *Process, at string) *listener {
	l := &listener{process: p, at: addr(at), queue: make(chan net.Conn, 128), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[at] = append(n.listeners[at], l)
	return l
}

// Dial connects a host to whoever listens at an address. To one that it is parted
// from it waits until they are healed or ctx ends.
func (n *Network) Dial(ctx context.Context, from, at string) (*conn, error) {
	for {
		c, wait, err := n.dial(from, at)
		if wait == nil {
			return c, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// dial is one attempt to connect: it does, fails, or says what to wait for.
func (n *Network) dial(from, at string) (*conn, <-chan struct{}, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listener(at)
	if l == nil {
		return nil, nil, errRefused
	}
	host := l.process.Host
	if n.parted(way{from, host}) || n.parted(way{host, from}) { // a handshake goes both ways
		return nil, n.healed, nil
	}
	n.ports++
	local := addr("10.0.0.1:" + itoa(n.ports))
	there, back := newPipe(n.latency), newPipe(n.latency)
	client := &conn{in: back, out: there, local: local, remote: l.at, there: way{from, host}, server: l.process}
	server := &conn{in: there, out: back, local: l.at, remote: local}
	if !l.offer(server) {
		return nil, nil, errRefused
	}
	n.conns[client] = struct{}{}
	client.gone = func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.conns, client)
	}
	return client, nil, nil
}

// listener is who listens at an address: the newest that has not closed. Should the
// newest have ended, connections go to the one before, as when an address moves
// back. The caller holds mu.
func (n *Network) listener(at string) *listener {
	all := n.listeners[at]
	for len(all) > 1 && all[len(all)-1].over() {
		all = all[:len(all)-1]
	}
	n.listeners[at] = all
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// over reports whether the listener was closed.
func (l *listener) over() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// Partition parts two hosts: what either sends does not arrive, and nothing tells
// them so.
func (n *Network) Partition(a, b string) {
	n.Block(a, b)
	n.Block(b, a)
}

// Block keeps what one host sends from the other, and not what it is sent.
func (n *Network) Block(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocked[way{from, to}] = true
	n.holdAll()
}

// Unblock ends one Block. What was sent meanwhile arrives.
func (n *Network) Unblock(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.blocked, way{from, to})
	n.reach()
}

// Freeze keeps everything from a host and everything that it sends, as if its
// process stood still; or lets it go on.
func (n *Network) Freeze(host string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if on {
		n.frozen[host] = true
		n.holdAll()
		return
	}
	delete(n.frozen, host)
	n.reach()
}

// Heal ends all partitions. What was sent meanwhile arrives.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.blocked)
	clear(n.frozen)
	n.reach()
}

// reach lets go on what is not held any more. The caller holds mu.
func (n *Network) reach() {
	n.holdAll()
	close(n.healed)
	n.healed = make(chan struct{})
}

// parted reports whether nothing arrives on a way. The caller holds mu.
func (n *Network) parted(w way) bool {
	return n.blocked[w] || n.frozen[w.from] || n.frozen[w.to]
}

// holdAll holds what is blocked, and nothing else. The caller holds mu.
func (n *Network) holdAll() {
	for c := range n.conns {
		c.out.hold(n.parted(c.there))
		c.in.hold(n.parted(way{c.there.to, c.there.from}))
	}
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

// ends are the ends that a process has of connections.
type ends struct {
	mu    sync.Mutex
	conns map[*conn]struct{}
	cut   bool
}

// add adds one, unless the process is cut off.
func (e *ends) add(c *conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cut {
		return false
	}
	if e.conns == nil {
		e.conns = map[*conn]struct{}{}
	}
	e.conns[c] = struct{}{}
	return true
}

// all takes the connections there are.
func (e *ends) all() []*conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := slices.Collect(maps.Keys(e.conns))
	clear(e.conns)
	return all
}

// Reset ends every connection with an error at both ends.
func (e *ends) Reset() {
	for _, c := range e.all() {
		c.in.fail(errReset)
		c.out.abort(errReset)
	}
}

// Cut takes the process from the network: those it is connected to see errors,
// the process hears nothing any more and does not know.
func (e *ends) Cut() {
	e.mu.Lock()
	e.cut = true
	e.mu.Unlock()
	for _, c := range e.all() {
		c.out.abort(errReset) // what it says goes nowhere
		c.out.sink()
		c.in.sever()
	}
}

var errReset = errors.New("connection reset by peer")

// listener is where a process takes connections.
type listener struct {
	ends
	process *Process
	at      addr
	queue   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (l *listener) offer(c *conn) bool {
	if len(l.queue) == cap(l.queue) || !l.add(c) {
		return false
	}
	select {
	case <-l.closed: // looked at after add, so that Reset after Close misses none
		return false
	default:
		l.queue <- c // there is room: who dials holds the network's mu
		return true
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

// conn is one end of a connection.
type conn struct {
	in, out       *pipe
	local, remote addr

	// Of the end that dialed:
	there  way      // from its host to the other
	server *Process // that took it
	gone   func()   // tells the network that it is closed
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

// Close ends both directions; what was written before still arrives.
func (c *conn) Close() error {
	c.out.end()
	c.in.fail(net.ErrClosed)
	if c.gone != nil {
		c.gone()
	}
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
	held    bool  // nothing arrives for now
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

// abort is fail as the writer's host does it: the reader does not hear of it while
// the pipe is held, and afterwards finds that nothing more comes.
func (p *pipe) abort(err error) {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if held {
		p.end()
	} else {
		p.fail(err)
	}
}

// hold keeps what is written from arriving, or lets it go on.
func (p *pipe) hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == on {
		return
	}
	p.held = on
	at := time.Now().Add(p.latency)
	for i := range p.pieces {
		if !on && p.pieces[i].at.Before(at) {
			p.pieces[i].at = at
		}
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
	case p.held:
		return 0, nil, p.changed, p.readBy
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
	case p.err != nil && !p.held: // the reader's end is closed, and the writer hears of it
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
