// Package cluster asks a cluster's controller, which it finds in the bucket, for
// what operators want of it.
package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/peer"
	pb "github.com/karst-io/karst/internal/cluster/peer/peerpb"
	"github.com/karst-io/karst/internal/cluster/peer/peerpb/peerpbconnect"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/open"
)

// Cluster is a cluster as its bucket shows it.
type Cluster struct {
	replica *metadata.Replica
	peers   *peer.Peers
	close   func() error
}

// Open reads a cluster's metadata. Only the settings of store and peer count.
func Open(ctx context.Context, cfg config.Config) (*Cluster, error) {
	st, err := open.Open(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	c := &Cluster{close: st.Close}
	bucket, err := metadata.ReadBucket(ctx, st)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errors.Join(fmt.Errorf("there is no cluster in %s: check --store", cfg.Store), st.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", cfg.Store, err), st.Close())
	}
	credentials, err := peer.Of(cfg, bucket)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	c.peers = peer.NewPeers(credentials, bucket.ID, nil)
	c.replica = metadata.NewReplica(st, bucket.ID)
	if err := c.replica.Load(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close closes it.
func (c *Cluster) Close() error {
	c.peers.Close()
	return c.close()
}

// Image is the newest metadata.
func (c *Cluster) Image() *metadata.Image { return c.replica.Image() }

// controller is the controller that the newest claim names.
func (c *Cluster) controller(ctx context.Context) (peerpbconnect.PeerClient, error) {
	if err := c.replica.CatchUp(ctx); err != nil {
		return nil, err
	}
	held, err := c.replica.Holder(ctx)
	switch {
	case err != nil:
		return nil, err
	case held.Peer == "":
		return nil, errors.New("the cluster has no controller: does a broker run?")
	}
	return c.peers.At(held.Peer), nil
}

// ask asks the controller until it, or its successor, answers.
func (c *Cluster) ask(ctx context.Context, call func(peerpbconnect.PeerClient) (*pb.Error, error)) error {
	for {
		at, err := c.controller(ctx)
		if err != nil {
			return err
		}
		refusal, err := call(at)
		if err = peer.Outcome(ctx, err, refusal); !errors.Is(err, karst.NotController.Err()) {
			return err
		}
		select {
		case <-time.After(retryDelay):
		case <-ctx.Done():
			return fmt.Errorf("%w: does a broker run?", err)
		}
	}
}

const retryDelay = 100 * time.Millisecond

// Drain says whether a broker is to lead nothing, and waits until it is so.
func (c *Cluster) Drain(ctx context.Context, id karst.BrokerID, drained bool) error {
	err := c.ask(ctx, func(at peerpbconnect.PeerClient) (*pb.Error, error) {
		resp, err := at.Drain(ctx, &pb.DrainRequest{Broker: int32(id), Drained: drained})
		return resp.GetError(), err
	})
	if err != nil || !drained {
		return err
	}
	for {
		if err := c.replica.CatchUp(ctx); err != nil {
			return err
		}
		b, live := c.Image().LiveBroker(id)
		if !live || c.Image().LeadCount(b.Incarnation) == 0 {
			return nil
		}
		select {
		case <-time.After(retryDelay):
		case <-ctx.Done():
			return fmt.Errorf("broker %d still leads %d partitions: %w", id, c.Image().LeadCount(b.Incarnation), ctx.Err())
		}
	}
}

// Explain says what the balancer would do if some brokers were drained, too.
func (c *Cluster) Explain(ctx context.Context, drained ...karst.BrokerID) (lines []string, err error) {
	req := &pb.ExplainRequest{}
	for _, id := range drained {
		req.Drained = append(req.Drained, int32(id))
	}
	err = c.ask(ctx, func(at peerpbconnect.PeerClient) (*pb.Error, error) {
		resp, err := at.Explain(ctx, req)
		lines = resp.GetLines()
		return resp.GetError(), err
	})
	return lines, err
}

// Upgrade raises the level of what may be written; 0: as high as all live brokers
// read. It says what it was and is.
func (c *Cluster) Upgrade(ctx context.Context, level int32) (before, after int32, err error) {
	err = c.ask(ctx, func(at peerpbconnect.PeerClient) (*pb.Error, error) {
		resp, err := at.Upgrade(ctx, &pb.UpgradeRequest{Level: level})
		before, after = resp.GetBefore(), resp.GetAfter()
		return resp.GetError(), err
	})
	return before, after, err
}

// versionMax bounds the wait for brokers to say which program they are.
const versionMax = time.Second

// versions are the programs of the live brokers that answer.
func (c *Cluster) versions(ctx context.Context) map[karst.BrokerID]string {
	ctx, cancel := context.WithTimeout(ctx, versionMax)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	all := map[karst.BrokerID]string{}
	for b := range c.Image().LiveBrokers() {
		if b.Peer == "" {
			continue
		}
		wg.Go(func() {
			r, err := c.peers.At(b.Peer).Ping(ctx, &pb.PingRequest{})
			if err != nil || string(r.Process) != string(b.Process[:]) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all[b.ID] = r.Version
		})
	}
	wg.Wait()
	return all
}

// Level says in a line at which level the cluster is.
func (c *Cluster) Level() string {
	img := c.Image()
	most, live := int32(math.MaxInt32), false
	for b := range img.LiveBrokers() {
		most, live = min(most, b.Level()), true
	}
	if live && most > img.Level() {
		return fmt.Sprintf("level %d; all live brokers read level %d, to which karst broker upgrade raises it", img.Level(), most)
	}
	return fmt.Sprintf("level %d", img.Level())
}

// Brokers says in lines which brokers there are.
func (c *Cluster) Brokers(ctx context.Context) []string {
	img := c.Image()
	held, _ := c.replica.Holder(ctx)
	newest := map[karst.BrokerID]*metadata.BrokerState{}
	var ids []karst.BrokerID
	for b := range img.Brokers() {
		if newest[b.ID] == nil {
			ids = append(ids, b.ID)
		}
		newest[b.ID] = b
	}
	slices.Sort(ids)
	versions := c.versions(ctx)
	lines := make([]string, 0, len(ids))
	for _, id := range ids {
		b := newest[id]
		state := map[metadata.Phase]string{metadata.Live: "live", metadata.Fenced: "fenced", metadata.Adopted: "gone"}[b.Phase]
		if img.Drained(id) {
			state += ", drained"
			if since := img.DrainedSince(id); since != 0 {
				state += " since " + time.UnixMilli(int64(since)).UTC().Format(time.RFC3339)
			}
		}
		if b.Phase == metadata.Live && b.Process == held.Process {
			state += ", controller"
		}
		lines = append(lines, fmt.Sprintf("broker %d  %s:%d  peer %s  rack %q  incarnation %d  %d partitions  version %s, reads level %d  %s",
			id, b.Host, b.Port, b.Peer, b.Rack, b.Incarnation, img.LeadCount(b.Incarnation), cmp.Or(versions[id], "unknown"), b.Level(), state))
	}
	return lines
}
