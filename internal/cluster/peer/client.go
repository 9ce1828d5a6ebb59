package peer

import (
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"
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

var refused = syscall.ECONNREFUSED

// Dial makes a connection to an address.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Peers calls other brokers.
type Peers struct {
	cluster   karst.ClusterID
	transport *http.Transport

	mu sync.Mutex
	at map[string]peerpbconnect.PeerClient // by address
}

// clientsMax bounds the addresses that are remembered.
const clientsMax = 4096

// NewPeers makes the client side of a broker. dial may be nil.
func NewPeers(c *Credentials, cluster karst.ClusterID, dial Dial) *Peers {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialMax, KeepAlive: pingAfter}).DialContext
	}
	return &Peers{cluster: cluster, at: map[string]peerpbconnect.PeerClient{}, transport: &http.Transport{
		DialContext: dial, TLSClientConfig: c.client(), ForceAttemptHTTP2: true, TLSHandshakeTimeout: dialMax,
		IdleConnTimeout: idleMax, HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingMax},
	}}
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
	c := peerpbconnect.NewPeerClient(&http.Client{Transport: p.transport}, "https://"+addr,
		connect.WithInterceptors(ours(p.cluster)), connect.WithReadMaxBytes(MessageMax), connect.WithSendMaxBytes(MessageMax))
	p.at[addr] = c
	return c
}

// Close ends the connections that are not in use.
func (p *Peers) Close() { p.transport.CloseIdleConnections() }
