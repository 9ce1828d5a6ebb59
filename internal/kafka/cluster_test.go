package kafka

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"sync"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/config/effective"
	"github.com/karst-io/karst/internal/metadata"
)

// testCluster is a controller without a log: it changes an image in memory.
type testCluster struct {
	mu      sync.Mutex
	img     *metadata.Image
	number  karst.Number
	topics  byte
	next    karst.ProducerID
	creates int
	hold    chan struct{} // not nil: CreateTopic waits for it
	err     error         // not nil: what the next changes answer
	layers  effective.Layers
	level   string

	requests uint64               // of hand-overs
	moves    []metadata.Placement // that elections asked for
}

func (c *testCluster) Layers(img *metadata.Image) effective.Layers {
	l := c.layers
	l.Broker, l.Cluster = img.BrokerConfigs("0"), img.BrokerConfigs("")
	return l
}

func (c *testCluster) LogLevel() string     { return c.level }
func (c *testCluster) SetLogLevel(l string) { c.level = l }

// SetConfigs sets and removes; what the real one refuses is its own affair.
func (c *testCluster) SetConfigs(_ context.Context, r metadata.Resource, changes []controller.ConfigChange, replace, validateOnly bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, ok := c.img.ConfigsOf(r)
	if !ok {
		return karst.UnknownTopicID.Errorf("no topic")
	}
	next := map[string]string{}
	if !replace {
		maps.Copy(next, now)
	}
	for _, ch := range changes {
		switch {
		case ch.Value == nil:
			delete(next, ch.Name)
		case ch.Op == controller.ConfigAppend:
			next[ch.Name] += "," + *ch.Value
		case ch.Op == controller.ConfigSubtract:
			return karst.InvalidConfig.Errorf("no list")
		default:
			next[ch.Name] = *ch.Value
		}
	}
	if c.err != nil || validateOnly {
		return c.err
	}
	return c.commit(&metadata.SetConfigs{Resource: r, Configs: next})
}

func newTestCluster(t testing.TB, brokers int) *testCluster {
	t.Helper()
	c := &testCluster{img: metadata.NewImage(karst.ClusterID{1, 2, 3})}
	for i := range brokers {
		c.must(t, &metadata.RegisterBroker{
			Incarnation:  karst.Incarnation(i + 1),
			Registration: metadata.Registration{ID: karst.BrokerID(i), Host: "broker", Port: int32(9092 + i), Rack: "zone"},
		})
	}
	return c
}

func (c *testCluster) Image() *metadata.Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.img
}

func (c *testCluster) commit(records ...metadata.Record) error {
	b := metadata.NewBatch(c.img)
	if err := b.Try(records...); err != nil {
		return err
	}
	c.number++
	c.img, _ = b.Finish(metadata.Position{Term: 1, Number: c.number}, 0)
	return nil
}

func (c *testCluster) must(t testing.TB, records ...metadata.Record) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.commit(records...); err != nil {
		t.Fatal(err)
	}
}

func (c *testCluster) CreateTopic(ctx context.Context, s controller.TopicSpec) (*metadata.TopicState, error) {
	if c.hold != nil {
		select {
		case <-c.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.creates++
	if c.err != nil {
		return nil, c.err
	}
	layers := c.layers
	if err := layers.ValidateTopic(s.Configs); err != nil {
		return nil, err
	}
	c.topics++
	n := max(s.Partitions, int32(len(s.Assignment)), 1)
	r := &metadata.CreateTopic{
		ID: karst.TopicID{0xaa, c.topics}, Name: s.Name, Internal: s.Internal, ReplicationFactor: max(s.ReplicationFactor, 1),
		Configs: maps.Clone(s.Configs), Partitions: c.newPartitions(int(n), s.Assignment),
	}
	before := c.img
	if err := c.commit(r); err != nil {
		return nil, err
	}
	ts, _ := c.img.Topic(s.Name)
	if s.ValidateOnly {
		c.img = before
	}
	return ts, nil
}

func (c *testCluster) newPartitions(n int, assignment [][]karst.BrokerID) []metadata.NewPartition {
	var live []*metadata.BrokerState
	for b := range c.img.LiveBrokers() {
		live = append(live, b)
	}
	parts := make([]metadata.NewPartition, n)
	for i := range parts {
		b := live[i%len(live)]
		parts[i] = metadata.NewPartition{Leader: b.Incarnation, Replicas: []karst.BrokerID{b.ID}}
		if assignment != nil {
			parts[i].Replicas = assignment[i]
		}
	}
	return parts
}

func (c *testCluster) DeleteTopic(_ context.Context, id karst.TopicID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.commit(&metadata.DeleteTopic{ID: id})
}

func (c *testCluster) CreatePartitions(_ context.Context, id karst.TopicID, total int32, assignment [][]karst.BrokerID, validateOnly bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ts, _ := c.img.TopicByID(id)
	before := c.img
	err := c.commit(&metadata.CreatePartitions{ID: id, Partitions: c.newPartitions(int(total-ts.Partitions), assignment)})
	if validateOnly {
		c.img = before
	}
	return err
}

func (c *testCluster) Next(context.Context) (karst.ProducerID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	return c.next, c.err
}

func (c *testCluster) deps() Deps {
	return Deps{
		Logger: slog.New(slog.DiscardHandler), Images: c, Topics: c, Configs: c, Producers: c, Data: newFakeLog(), Groups: newFakeGroups(), Memory: chunk.NewPool(1 << 20),
	}
}

// move hands a partition over to an incarnation, as its leader does when asked to.
func (c *testCluster) move(t testing.TB, tp karst.TopicPartition, to karst.Incarnation) {
	t.Helper()
	p, _ := c.Image().Partition(tp)
	c.requests++
	c.must(t, &metadata.CommitRequest{Incarnation: p.Leader, Request: c.requests, Ranges: []metadata.Range{
		{Partition: tp, Epoch: p.Epoch, Start: p.End, End: p.End, NewLeader: to},
	}})
}

func (c *testCluster) Reassign(_ context.Context, all []controller.Reassignment, allowFactorChange bool) ([]error, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	r, errs := controller.Assignments(c.img, all, allowFactorChange)
	return errs, c.commit(r)
}

func (c *testCluster) Elect(_ context.Context, all []controller.PartitionName, preferred bool) ([]controller.Elected, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	elected, moves := controller.Elections(c.img, all, preferred)
	c.moves = append(c.moves, moves...)
	return elected, nil
}

func (c *testCluster) Unregister(_ context.Context, id karst.BrokerID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	records, rest, err := controller.Unregistration(c.img, id)
	return cmp.Or(err, c.commit(records...), rest)
}
