package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// requestTimeout is how long clients wait for an answer.
const requestTimeout = 20 * time.Second

// lookTimeout is how long they wait for who leads what, which any broker can tell
// at once: one that does not is about to start, or no broker any more.
const lookTimeout = 5 * time.Second

// clientsHost is where all clients run: a broker may be parted from them alone.
const clientsHost = "clients"

// errElsewhere: another broker is to be asked, perhaps.
var errElsewhere = errors.New("look for the broker to ask anew")

// client is what producers, consumers, members and administrators share: what it
// knows of the cluster, and a connection to each broker that it talks to. What it
// knows may be old, or be told by a broker that was replaced: like any client's.
type client struct {
	w    *World
	name string
	rng  *rand.Rand

	links        map[string]*link // by address
	leaders      map[spotID]leadership
	coordinators map[string]string // addresses, by group
	stale        bool              // ask for metadata before the next request to a leader
	wake         chan struct{}     // answers came
}

// leadership is who leads a partition, and in which epoch.
type leadership struct {
	at    string // "": nobody
	epoch int32
}

type spotID struct {
	topic     karst.TopicID
	partition int32
}

func (w *World) newClient(name string, seed uint64) *client {
	c := &client{w: w, name: name, rng: rand.New(rand.NewPCG(w.Seed, seed)), links: map[string]*link{}, wake: make(chan struct{}, 1)}
	c.hangUp()
	return c
}

// hangUp closes all connections and forgets the cluster: what follows is as if
// the client had been started anew.
func (c *client) hangUp() {
	for _, l := range c.links {
		c.drop(l)
	}
	c.leaders, c.coordinators, c.stale = map[spotID]leadership{}, map[string]string{}, true
}

// drop closes a connection. Whatever its broker was known for is in doubt.
func (c *client) drop(l *link) {
	l.close()
	if c.links[l.at] == l {
		delete(c.links, l.at)
	}
	c.doubt(l.at)
}

// doubt has the client ask anew what the broker at an address is known for.
func (c *client) doubt(at string) {
	c.stale = true
	maps.DeleteFunc(c.coordinators, func(_, a string) bool { return a == at })
}

// elsewhere takes in that a broker is not the one to ask. Half of the time the
// client connects to its address anew: another process may listen there by now.
func (c *client) elsewhere(l *link) {
	c.doubt(l.at)
	if l.idle() && c.rng.IntN(2) == 0 {
		c.drop(l)
	}
}

// link is the connection to an address, made if there is none.
func (c *client) link(ctx context.Context, at string) (*link, error) {
	if l := c.links[at]; l != nil {
		select {
		case <-l.ended:
			c.drop(l)
		default:
			return l, nil
		}
	}
	l, err := dial(ctx, c.w.Network, clientsHost, at, c.wake)
	if err != nil {
		c.doubt(at)
		return nil, err
	}
	c.links[at] = l
	return l, nil
}

// any is a link to some broker: one of the bootstrap servers, which are where the
// processes are that run, and sometimes where one was.
func (c *client) any(ctx context.Context) (*link, error) {
	all := c.w.alive()
	if len(all) == 0 || c.rng.IntN(16) == 0 {
		c.w.mu.Lock()
		all = slices.Clone(c.w.processes)
		c.w.mu.Unlock()
	}
	if len(all) == 0 {
		return nil, errRefused
	}
	return c.link(ctx, all[c.rng.IntN(len(all))].at)
}

// leader is a link to the leader of a partition, as far as is known. A client
// that was told that it asked the wrong one, or does not know any, asks for
// metadata first: callers wait a little before they try again.
func (c *client) leader(ctx context.Context, s spotID) (*link, error) {
	if c.stale || c.leaders[s].at == "" {
		if err := c.refresh(ctx); err != nil {
			return nil, err
		}
	}
	if c.leaders[s].at == "" {
		return nil, errElsewhere
	}
	return c.link(ctx, c.leaders[s].at)
}

// refresh asks some broker who leads what.
func (c *client) refresh(ctx context.Context) error {
	l, err := c.any(ctx)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	req.Topics = nil
	resp, err := c.within(ctx, l, req, lookTimeout)
	if err != nil {
		return err
	}
	c.learn(resp.(*kmsg.MetadataResponse))
	c.stale = false
	return nil
}

// learn takes in who leads what, except what is older than what is known, as
// Kafka's clients do. Of what is not mentioned nobody is the leader.
func (c *client) learn(r *kmsg.MetadataResponse) {
	at := map[int32]string{}
	for _, b := range r.Brokers {
		at[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	known := c.leaders
	c.leaders = make(map[spotID]leadership, len(known))
	for s, have := range known {
		c.leaders[s] = leadership{epoch: have.epoch}
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			s := spotID{t.TopicID, p.Partition}
			c.leaders[s] = leadership{at[p.Leader], p.LeaderEpoch}
			if have := known[s]; have.epoch > p.LeaderEpoch {
				c.leaders[s] = have
			}
		}
	}
}

// coordinator is a link to the coordinator of a group, as far as is known. The
// first who asks has the topic of groups made.
func (c *client) coordinator(ctx context.Context, group string) (*link, error) {
	if at, ok := c.coordinators[group]; ok {
		return c.link(ctx, at)
	}
	l, err := c.any(ctx)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorKeys = 4, []string{group}
	resp, err := c.within(ctx, l, req, lookTimeout)
	if err != nil {
		return nil, err
	}
	all := resp.(*kmsg.FindCoordinatorResponse).Coordinators
	if len(all) != 1 {
		c.w.reportf(Unexpected, "FindCoordinator answers %d keys", len(all))
		return nil, errElsewhere
	}
	switch k := all[0]; k.ErrorCode {
	case 0:
		at := net.JoinHostPort(k.Host, strconv.Itoa(int(k.Port)))
		c.coordinators[group] = at
		return c.link(ctx, at)
	case kerr.CoordinatorNotAvailable.Code, kerr.CoordinatorLoadInProgress.Code:
		c.w.event("coordinator not available")
		return nil, fmt.Errorf("no coordinator: %w", errElsewhere)
	default:
		c.w.reportf(Unexpected, "FindCoordinator: %v", kerr.ErrorForCode(k.ErrorCode))
		return nil, errElsewhere
	}
}

// do sends a request and waits for its answer. A connection that fails, or says
// nothing for long, is closed.
func (c *client) do(ctx context.Context, l *link, req kmsg.Request) (kmsg.Response, error) {
	return c.within(ctx, l, req, requestTimeout)
}

func (c *client) within(ctx context.Context, l *link, req kmsg.Request, timeout time.Duration) (kmsg.Response, error) {
	resp, err := l.do(ctx, req, timeout)
	if err != nil {
		c.drop(l)
	}
	return resp, err
}
