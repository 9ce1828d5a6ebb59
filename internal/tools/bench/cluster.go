package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const clientID = "karst-bench"

// cluster is what a run knows of the brokers: where partitions are led.
type cluster struct {
	settings Settings
	client   *kgo.Client
	admin    *kadm.Client
	topic    string
	owned    bool // the topic's name was made up here
}

// connect reaches the brokers and makes the topic.
func connect(ctx context.Context, s Settings) (*cluster, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Brokers...), kgo.ClientID(clientID), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return nil, err
	}
	c := &cluster{settings: s, client: client, admin: kadm.NewClient(client), topic: s.Topic}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("no broker at %s answers: %w", strings.Join(s.Brokers, ", "), err)
	}
	if c.topic == "" {
		c.topic, c.owned = fmt.Sprintf("karst-bench-%08x", rand.Uint32()), true //nolint:gosec // a name, not a secret
	}
	if err := c.ensureTopic(ctx, c.topic); err != nil {
		client.Close()
		return nil, err
	}
	return c, nil
}

// ensureTopic makes a topic if it is absent and waits until all partitions have leaders.
func (c *cluster) ensureTopic(ctx context.Context, topic string) error {
	configs := map[string]*string{}
	for _, kv := range c.settings.TopicConfig {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			return fmt.Errorf("--topic-config %q: it is KEY=VALUE", kv)
		}
		configs[k] = &v
	}
	_, err := c.admin.CreateTopic(ctx, c.settings.Partitions, -1, configs, topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	for {
		_, err := c.leaders(ctx, topic)
		if err == nil {
			// A leader may be known before it knows itself.
			_, _, err = c.offsets(ctx, topic)
		}
		if err == nil {
			return nil
		}
		if !sleepUntil(ctx, time.Now().Add(50*time.Millisecond)) {
			return fmt.Errorf("topic %s does not get leaders: %w", topic, err)
		}
	}
}

// leader is a broker and the partitions it leads.
type leader struct {
	addr       string
	partitions []int32
}

// leaders asks for the leader of each partition, in the order of broker ids.
func (c *cluster) leaders(ctx context.Context, topic string) ([]leader, error) {
	md, err := c.admin.Metadata(ctx, topic)
	if err != nil {
		return nil, err
	}
	t := md.Topics[topic]
	if t.Err != nil {
		return nil, t.Err
	}
	byBroker := map[int32][]int32{}
	for _, p := range t.Partitions.Sorted() {
		if p.Err != nil && !errors.Is(p.Err, kerr.ReplicaNotAvailable) {
			return nil, p.Err
		}
		byBroker[p.Leader] = append(byBroker[p.Leader], p.Partition)
	}
	var all []leader
	for _, b := range md.Brokers {
		if ps := byBroker[b.NodeID]; len(ps) > 0 {
			all = append(all, leader{net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))), ps})
		}
	}
	if len(all) == 0 || len(all) < len(byBroker) {
		return nil, kerr.LeaderNotAvailable
	}
	return all, nil
}

// share is the part of connection n of so many: its broker and partitions.
// Connections go round the brokers, then round each broker's partitions;
// connections beyond the number of partitions share one.
func share(all []leader, n, connections int) leader {
	l := all[n%len(all)]
	here := (connections - n%len(all) + len(all) - 1) / len(all) // connections to this broker
	k := n / len(all)
	mine := leader{addr: l.addr}
	for i, p := range l.partitions {
		if i%here == k {
			mine.partitions = append(mine.partitions, p)
		}
	}
	if len(mine.partitions) == 0 {
		mine.partitions = []int32{l.partitions[k%len(l.partitions)]}
	}
	return mine
}

// offsets lists the first and the next offset of each partition.
func (c *cluster) offsets(ctx context.Context, topic string) (start, end map[int32]int64, err error) {
	list := func(f func(context.Context, ...string) (kadm.ListedOffsets, error)) (map[int32]int64, error) {
		all, err := f(ctx, topic)
		if err == nil {
			err = all.Error()
		}
		m := map[int32]int64{}
		all.Each(func(o kadm.ListedOffset) { m[o.Partition] = o.Offset })
		return m, err
	}
	if start, err = list(c.admin.ListStartOffsets); err != nil {
		return nil, nil, fmt.Errorf("list offsets: %w", err)
	}
	if end, err = list(c.admin.ListEndOffsets); err != nil {
		return nil, nil, fmt.Errorf("list offsets: %w", err)
	}
	return start, end, nil
}

// producerID asks for a new idempotent producer.
func (c *cluster) producerID(ctx context.Context) (int64, int16, error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return 0, 0, err
	}
	return resp.ProducerID, resp.ProducerEpoch, kerr.ErrorForCode(resp.ErrorCode)
}

// close deletes topics that the run made for itself, and those it was told to.
func (c *cluster) close(ctx context.Context, extra ...string) error {
	defer c.client.Close()
	topics := slices.Clone(extra)
	if c.owned && !c.settings.Keep || c.settings.Delete {
		topics = append(topics, c.topic)
	}
	if len(topics) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.settings.Timeout)
	defer cancel()
	resp, err := c.admin.DeleteTopics(ctx, topics...)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", strings.Join(topics, ", "), err)
	}
	return nil
}
