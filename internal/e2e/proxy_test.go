package e2e

import (
	"net"
	"sync"
	"testing"
)

// proxy is an address that stays while what is behind it changes: it can be
// pointed elsewhere, refuse connections, or swallow what it is sent.
type proxy struct {
	t    *testing.T
	port int

	mu       sync.Mutex
	target   string // where new connections go
	listener net.Listener
	pairs    map[net.Conn]net.Conn // client: server
	resume   chan struct{}         // closed while bytes pass
	work     sync.WaitGroup
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	p := &proxy{t: t, port: freePort(t), target: target, pairs: map[net.Conn]net.Conn{}, resume: make(chan struct{})}
	close(p.resume)
	p.accept()
	t.Cleanup(func() {
		p.pass()
		p.refuse()
		p.work.Wait()
	})
	return p
}

func (p *proxy) addr() string { return address(p.port) }

// point sends new connections elsewhere; those that are open stay.
func (p *proxy) point(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// accept takes connections again after refuse.
func (p *proxy) accept() {
	p.t.Helper()
	l, err := net.Listen("tcp", p.addr())
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.listener = l
	p.mu.Unlock()
	p.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() { p.serve(c) })
		}
	})
}

// refuse breaks all connections and refuses new ones, as a server that died.
func (p *proxy) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.listener.Close()
	for c, s := range p.pairs {
		_ = c.Close()
		_ = s.Close()
	}
}

// swallow stops all bytes in both directions, as a network that lost its way.
func (p *proxy) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resume = make(chan struct{})
}

// pass lets bytes through again after swallow, the ones held included.
func (p *proxy) pass() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.resume:
	default:
		close(p.resume)
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.pairs[client] = server
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.pairs, client)
		p.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client) })
	both.Go(func() { p.copy(client, server) })
	both.Wait()
}

func (p *proxy) copy(to, from net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		resume := p.resume
		p.mu.Unlock()
		<-resume
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	// The other direction ends too: neither side of these protocols half-closes.
	_ = to.Close()
	_ = from.Close()
}
