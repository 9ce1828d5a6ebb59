package peer

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/peer/peerpb/peerpbconnect"
)

// A connection over which nothing comes for pingAfter is asked, and given up
// pingMax later.
const (
	pingAfter = 2 * time.Second
	pingMax   = 2 * time.Second
	// dialMax bounds a connection's making.
	dialMax = 2 * time.Second
	idleMax = 2 * time.Minute
)

// Dial makes a connection to an address.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Peers calls other brokers.
type Peers struct {
	cluster   karst.ClusterID
	transport *http.Transport
	once      *http.Transport // a connection for each call

	closed chan struct{} // dials outlive the requests they were made for, not this

	mu    sync.Mutex
	at    map[string]peerpbconnect.PeerClient // by address
	conns map[*tracked]struct{}               // nil: closed
}

// tracked is a connection that Close closes.
type tracked struct {
	net.Conn
	of *Peers
}

func (c *tracked) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// clientsMax bounds the addresses that are remembered.
const clientsMax = 4096

// NewPeers makes the client side of a broker. dial may be nil.
func NewPeers(c *Credentials, cluster karst.ClusterID, dial Dial) *Peers {
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: pingAfter}).DialContext
	}
	p := &Peers{cluster: cluster, at: map[string]peerpbconnect.PeerClient{}, conns: map[*tracked]struct{}{}, closed: make(chan struct{})}
	p.transport = &http.Transport{
		DialContext: p.dial(dial), TLSClientConfig: c.client(), Protocols: http2(), TLSHandshakeTimeout: dialMax,
		IdleConnTimeout: idleMax, HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingMax},
	}
	p.once = p.transport.Clone()
	p.once.DisableKeepAlives = true
	return p
}

// dial makes connections that end with p.
func (p *Peers) dial(dial Dial) Dial {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialMax)
		defer cancel()
		go func() {
			select {
			case <-p.closed:
				cancel()
			case <-ctx.Done():
			}
		}()
		nc, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &tracked{Conn: nc, of: p}
		p.mu.Lock()
		open := p.conns != nil
		if open {
			p.conns[c] = struct{}{}
		}
		p.mu.Unlock()
		if !open {
			_ = nc.Close()
			return nil, net.ErrClosed
		}
		return c, nil
	}
}

// At is the broker at an address, HOST:PORT. Nothing is sent yet.
func (p *Peers) At(addr string) peerpbconnect.PeerClient {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.at[addr]; c != nil {
		return c
	}
	if len(p.at) >= clientsMax {
		clear(p.at)
	}
	c := p.client(p.transport, addr)
	p.at[addr] = c
	return c
}

// Fresh is the broker at an address, over a connection made for the call: what it
// finds is who listens there now.
func (p *Peers) Fresh(addr string) peerpbconnect.PeerClient { return p.client(p.once, addr) }

func (p *Peers) client(t *http.Transport, addr string) peerpbconnect.PeerClient {
	return peerpbconnect.NewPeerClient(&http.Client{Transport: t}, "https://"+addr,
		connect.WithInterceptors(ours(p.cluster)), connect.WithReadMaxBytes(MessageMax), connect.WithSendMaxBytes(MessageMax))
}

// Close ends all connections, and with them the calls under way. It may be called
// again.
func (p *Peers) Close() {
	p.mu.Lock()
	all := p.conns
	p.conns = nil
	p.mu.Unlock()
	if all == nil {
		return
	}
	close(p.closed)
	for c := range all {
		_ = c.Conn.Close()
	}
	p.transport.CloseIdleConnections()
	p.once.CloseIdleConnections()
}
