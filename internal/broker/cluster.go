package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/balance"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/cluster/failover"
	"github.com/karst-io/karst/internal/cluster/member"
	"github.com/karst-io/karst/internal/cluster/peer"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store/objlog"
)

// controllerStall ends the term of a controller that cannot write for so long:
// another one may reach the store.
const controllerStall = 10 * time.Second

// newMember makes this broker's part in the cluster.
func (b *Broker) newMember() error {
	credentials, err := peer.Of(b.cfg, b.cluster)
	if err != nil {
		return err
	}
	b.credentials = credentials
	b.peers = peer.NewPeers(credentials, b.cluster.ID, b.options.Dial)
	b.controller = controller.New(controller.Config{
		Claim:      metadata.Claim{Broker: b.cfg.BrokerID, Host: b.self.Host, Peer: b.self.Peer, Process: b.self.Process},
		Partitions: b.cfg.Partitions, ReplicationFactor: b.cfg.ReplicationFactor,
		StallTimeout: cmp.Or(b.options.Tuning.ControllerStall, controllerStall), TermCommits: b.options.Tuning.TermCommits, SnapshotCommits: b.options.Tuning.SnapshotCommits,
		ValidateConfigs: b.configs.validate, ListConfig: b.configs.list, Log: b.log,
		Move: func(moves []metadata.Placement) { b.member.Move(moves) },
	}, b.replica, b.bucket)
	b.configs.controller = b.controller
	b.member = member.New(member.Config{
		Self: b.self, Version: b.version, TakeOver: b.cfg.TakeOver, SessionTimeout: b.cfg.SessionTimeout, PlacementDelay: b.cfg.PlacementDelay,
	}, member.Deps{
		Replica: b.replica, Controller: b.controller, Peers: b.peers,
		Failover: failover.Deps{
			WAL: func(s *metadata.BrokerState) (objlog.Store, error) { return b.bucket.wals.storeOf(s.Incarnation) }, Log: b.log,
		},
		// Whoever registers has marked its store: an empty folder here is another one.
		Reachable: func(ctx context.Context, url string) error { return b.bucket.wals.join(ctx, url, b.cluster.ID, false) },
		HandOver:  b.handOver, Load: b.load, Forward: b.forward, Log: b.log,
	})
	b.backend.isolated, b.groups.isolated = b.member.Isolated, b.member.Isolated
	return nil
}

// join joins the cluster: other brokers are answered from now on, and the
// controller is found, or this broker becomes it.
func (b *Broker) join(ctx context.Context, p *parts, l net.Listener) {
	p.start(ctx, "peers", func(ctx context.Context) error {
		defer b.peers.Close()
		return peer.Serve(ctx, l, b.credentials, b.cluster.ID, b.member.Handler(), b.log)
	})
	p.start(ctx, "membership", b.member.Run)
}

// handOver is told what the incarnation is to hand over (member.Deps).
func (b *Broker) handOver(self karst.Incarnation, moves []peer.Move) {
	if l := b.life.Load(); l != nil && l.self == self {
		l.moves.add(moves)
	}
}

// load is what this broker does (member.Deps).
func (b *Broker) load() balance.Load {
	l := b.life.Load()
	if l == nil {
		return balance.Load{}
	}
	return l.load()
}

// forward executes a Kafka request of another broker's client (member.Deps).
func (b *Broker) forward(ctx context.Context, key, version int16, client string, body []byte) ([]byte, error) {
	s := b.kafkas.Load()
	if s == nil {
		return nil, karst.NotController.Errorf("this broker does not serve yet")
	}
	return s.Execute(ctx, key, version, client, body)
}

// settleMax bounds the wait for the cluster to be whole before the first request
// of a client is answered.
const settleMax = 5 * time.Second

// settle calls served once nothing is left to recover, or after a while: what is
// not led by then is answered with an error that clients know.
func (b *Broker) settle(ctx context.Context, served func()) {
	ctx, cancel := context.WithTimeout(ctx, settleMax)
	defer cancel()
	_ = b.replica.Wait(ctx, func(img *metadata.Image) bool {
		for s := range img.Brokers() {
			if s.Phase == metadata.Fenced {
				return false
			}
		}
		return !controller.Leaderless(img)
	})
	served()
}

// bound are the addresses that this broker listens at.
type bound struct {
	names   []string
	clients []net.Listener
	peer    net.Listener
}

func (a *bound) Close() error {
	var all []error
	for _, l := range a.clients {
		all = append(all, l.Close())
	}
	if a.peer != nil {
		all = append(all, a.peer.Close())
	}
	return errors.Join(all...)
}

// bind binds every listener and makes the registration of what others are told.
func (b *Broker) bind() (at *bound, err error) {
	at = &bound{}
	defer func() {
		if err != nil {
			_ = at.Close()
		}
	}()
	b.self = metadata.Registration{
		ID: b.cfg.BrokerID, Process: metadata.NewProcessID(), Rack: b.cfg.Rack, WALURL: b.bucket.walURL(), Supports: metadata.LevelMax,
	}
	listeners, err := b.cfg.Listeners()
	if err != nil {
		return at, err
	}
	for n, l := range listeners {
		c, err := b.options.Listen("listen", l.Listen)
		if err != nil {
			return at, err
		}
		at.names, at.clients = append(at.names, l.Name), append(at.clients, c)
		host, port, err := advertised(l.Listen, l.Advertise, c.Addr())
		if err != nil {
			return at, fmt.Errorf("advertise: %w", err)
		}
		if n == 0 {
			b.self.Host, b.self.Port = host, port
		}
		if l.Name != "" {
			b.self.Listeners = append(b.self.Listeners, metadata.Endpoint{Name: l.Name, Host: host, Port: port})
		}
	}
	listen := b.cfg.PeerListen
	if listen == "" {
		host, _, err := net.SplitHostPort(listeners[0].Listen)
		if err != nil {
			return at, err
		}
		listen = net.JoinHostPort(host, "0")
	}
	if at.peer, err = b.options.Listen("peer.listen", listen); err != nil {
		return at, err
	}
	b.self.Peer, err = b.peerAddress(at.peer.Addr())
	return at, err
}

// peerAddress is what other brokers are told.
func (b *Broker) peerAddress(bound net.Addr) (string, error) {
	if b.cfg.PeerAdvertise != "" {
		return b.cfg.PeerAdvertise, nil
	}
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(b.self.Host, port), nil
}
