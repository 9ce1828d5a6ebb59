package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/balance"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/cluster/failover"
	"github.com/karst-io/karst/internal/cluster/peer"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/objlog"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// network connects hosts in memory. A connection of two hosts that are parted
// loses what is sent, from then on; connecting them takes until they are healed.
type network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	parted    map[[2]string]bool
	healed    chan struct{}
	conns     map[*conn]bool
}

func newNetwork() *network {
	return &network{listeners: map[string]*listener{}, parted: map[[2]string]bool{}, healed: make(chan struct{}), conns: map[*conn]bool{}}
}

type addr string

func (addr) Network() string  { return "memory" }
func (a addr) String() string { return string(a) }

type listener struct {
	n      *network
	at     string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Addr() net.Addr { return addr(l.at) }

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.n.mu.Lock()
		defer l.n.mu.Unlock()
		if l.n.listeners[l.at] == l {
			delete(l.n.listeners, l.at)
		}
	})
	return nil
}

// conn is one end of a connection between two hosts.
type conn struct {
	net.Conn
	n    *network
	ends [2]string
	lost bool // n's
}

func (c *conn) Write(b []byte) (int, error) {
	c.n.mu.Lock()
	c.lost = c.lost || c.n.parted[c.ends]
	lost := c.lost
	c.n.mu.Unlock()
	if lost {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (n *network) listen(at string) *listener {
	l := &listener{n: n, at: at, conns: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[at] = l
	return l
}

// dialer dials from a host.
func (n *network) dialer(from string) peer.Dial {
	return func(ctx context.Context, _, at string) (net.Conn, error) {
		for {
			n.mu.Lock()
			l, parted, healed := n.listeners[at], n.parted[[2]string{from, at}], n.healed
			n.mu.Unlock()
			if parted {
				select {
				case <-healed:
					continue
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			if l == nil {
				return nil, fmt.Errorf("dial %s: %w", at, syscall.ECONNREFUSED)
			}
			a, b := net.Pipe()
			select {
			case l.conns <- &conn{Conn: b, n: n, ends: [2]string{at, from}}:
				return &conn{Conn: a, n: n, ends: [2]string{from, at}}, nil
			case <-l.closed:
				return nil, fmt.Errorf("dial %s: %w", at, syscall.ECONNREFUSED)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
}

// part keeps a host from others, until heal.
func (n *network) part(host string, others ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range others {
		n.parted[[2]string{host, o}], n.parted[[2]string{o, host}] = true, true
	}
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.parted)
	close(n.healed)
	n.healed = make(chan struct{})
}

// world is a bucket, a network, and the members that share them.
type world struct {
	t      *testing.T
	net    *network
	bucket store.Store

	mu    sync.Mutex
	nodes []*node
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, net: newNetwork(), bucket: mem.New("world")}
}

// node is one process: a member, and what it works with.
type node struct {
	*Member
	w          *world
	name       string
	store      *faults.Store
	replica    *metadata.Replica
	controller *controller.Controller
	stop       func() // ends it, and waits
	inc        karst.Incarnation

	mu    sync.Mutex
	moves []peer.Move
	load  balance.Load
}

// option changes what a node is.
type option func(c *Config, d *Deps)

func withID(id karst.BrokerID) option { return func(c *Config, _ *Deps) { c.Self.ID = id } }

// start starts a process, whose requests to the store take 10 ms each.
func (w *world) start(name string, options ...option) *node {
	w.t.Helper()
	n := &node{w: w, name: name, store: faults.New(w.bucket, 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(10 * time.Millisecond)})}
	cluster, err := metadata.OpenCluster(w.t.Context(), n.store)
	must(w.t, err)
	n.replica = metadata.NewReplica(n.store, cluster)
	must(w.t, n.replica.Load(w.t.Context()))
	credentials, err := peer.OfSecret([]byte("0123456789abcdef"), cluster)
	must(w.t, err)
	peers := peer.NewPeers(credentials, cluster, w.net.dialer(name))
	cfg := Config{Self: metadata.Registration{ID: controller.AssignID, Process: metadata.NewProcessID(), Host: name, Peer: name}}
	deps := Deps{
		Replica: n.replica, Peers: peers, Log: slog.New(slog.DiscardHandler),
		Failover:  failover.Deps{WAL: func(*metadata.BrokerState) (objlog.Store, error) { return n.store, nil }, Log: slog.New(slog.DiscardHandler)},
		Reachable: func(context.Context, string) error { return nil },
		HandOver: func(_ karst.Incarnation, moves []peer.Move) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.moves = append(n.moves, moves...)
		},
		Load: func() balance.Load {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.load
		},
		Forward: func(_ context.Context, _, _ int16, _ string, body []byte) ([]byte, error) {
			return append([]byte(name+" did "), body...), nil
		},
	}
	for _, o := range options {
		o(&cfg, &deps)
	}
	n.controller = controller.New(controller.Config{
		Claim: metadata.Claim{Broker: cfg.Self.ID, Host: name, Peer: name, Process: cfg.Self.Process},
		Move:  func(moves []metadata.Placement) { n.Move(moves) },
	}, n.replica, n.store)
	deps.Controller = n.controller
	n.Member = New(cfg, deps)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	l := w.net.listen(name)
	wg.Go(func() {
		if err := peer.Serve(ctx, l, credentials, cluster, n.Handler(), slog.New(slog.DiscardHandler)); err != nil {
			w.t.Errorf("%s: %v", name, err)
		}
	})
	wg.Go(func() {
		if err := n.Run(ctx); err != nil {
			w.t.Errorf("%s: %v", name, err)
		}
	})
	n.stop = sync.OnceFunc(func() {
		cancel()
		peers.Close()
		wg.Wait()
		n.store.Wait()
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = append(w.nodes, n)
	return n
}

func (w *world) end() {
	for _, n := range slices.Backward(w.nodes) {
		n.stop()
	}
}

// join starts a process and registers it.
func (w *world) join(name string, options ...option) *node {
	w.t.Helper()
	n := w.start(name, options...)
	must(w.t, n.register(0))
	return n
}

// register asks for an incarnation, as a broker does, until there is an answer.
func (n *node) register(after karst.Incarnation) error {
	for range 20 {
		inc, err := n.Register(n.w.t.Context(), after)
		if err == nil {
			if _, ok := n.replica.Image().Broker(inc); !ok {
				n.w.t.Errorf("%s has incarnation %d, and its image does not", n.name, inc)
			}
			n.inc = inc
			n.Lead(inc)
			return nil
		}
		if !errors.Is(err, karst.TimedOut.Err()) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("no answer at all")
}

// term is the newest term that somebody claimed.
func (w *world) term() karst.Term {
	w.t.Helper()
	cluster, err := metadata.OpenCluster(w.t.Context(), w.bucket)
	must(w.t, err)
	r := metadata.NewReplica(w.bucket, cluster)
	must(w.t, r.Load(w.t.Context()))
	held, err := r.Holder(w.t.Context())
	must(w.t, err)
	return held.Term
}

// active are the members that are controllers.
func (w *world) active() (all []*node) {
	for _, n := range w.nodes {
		if n.Active() {
			all = append(all, n)
		}
	}
	return all
}

// until waits for something that is to be so within a time.
func (w *world) until(within time.Duration, what string, so func() bool) (took time.Duration) {
	w.t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if so() {
			return time.Since(began)
		}
		if time.Since(began) > within {
			w.t.Fatalf("after %s not yet: %s", within, what)
		}
	}
}

func (n *node) topic(name string, partitions int32) *metadata.TopicState {
	n.w.t.Helper()
	s, err := n.CreateTopic(n.w.t.Context(), controller.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: 1})
	must(n.w.t, err)
	return s
}
