package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const mirrorPartitions = 3

// TestMirrorMaker lets MirrorMaker 2 carry records, topic configs and committed
// offsets from Karst to Apache Kafka and from Apache Kafka to Karst, with the
// broker and MirrorMaker being killed.
func TestMirrorMaker(t *testing.T) {
	d := soaking(t)
	n := newNode(t, oneStore(t), "--group.initial.rebalance.delay=0s", "--flush.interval=2s")
	p := n.startReady()
	karst := newCluster(t, "karst", n.addr())
	kafka := newCluster(t, "kafka", kafkaPeer(t))
	maker := newMaker(t, karst, kafka)
	maker.start()
	flows(t, "a record", func() (bool, error) {
		kafka.read(t)
		karst.read(t)
		return kafka.mirrored.least > 0 && karst.mirrored.least > 0, nil
	}, maker)
	_, did := disorder(t, n, p, d, maker)
	for _, way := range [][2]*cluster{{karst, kafka}, {kafka, karst}} {
		from, to := way[0], way[1]
		count := from.written.end()
		within(t, arriveMax, "all records of "+from.name, func() error {
			maker.alive()
			to.read(t)
			return to.mirrored.complete(count)
		})
		from.commit(t)
		within(t, arriveMax, "the group's offsets and the topic's configs of "+from.name, func() error {
			maker.alive()
			time.Sleep(100 * time.Millisecond)
			return errors.Join(to.follows(t, from), to.configured(t, from))
		})
		t.Logf("%s to %s: %d records, all arrived, %d of them again", from.name, to.name, count, to.mirrored.twice)
	}
	maker.stop()
	t.Log(did)
}

// kafkaPeer starts an Apache Kafka.
func kafkaPeer(t *testing.T) (addr string) {
	t.Helper()
	port := freePort(t)
	dir := t.TempDir()
	start := exec.CommandContext(t.Context(), "../../scripts/kafka-peer.sh", "start", dir, fmt.Sprint(port))
	start.Env = append(start.Environ(), "KAFKA_HEAP=384m")
	if out, err := start.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() {
		out, err := exec.CommandContext(context.Background(), "../../scripts/kafka-peer.sh", "stop", dir).CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	return address(port)
}

func newMaker(t *testing.T, karst, kafka *cluster) *jvm {
	t.Helper()
	lines := []string{
		"clusters=karst,kafka", "karst.bootstrap.servers=" + karst.addr, "kafka.bootstrap.servers=" + kafka.addr,
		"topics=mirror-.*", "groups=mirror-.*", "tasks.max=2",
		"refresh.topics.interval.seconds=2", "refresh.groups.interval.seconds=2", "sync.topic.configs.interval.seconds=2",
		"emit.checkpoints.interval.seconds=2", "sync.group.offsets.enabled=true", "sync.group.offsets.interval.seconds=2",
		"emit.heartbeats.interval.seconds=2",
	}
	for name, replicas := range map[string]int{"karst": 3, "kafka": 1} { // Karst takes any number, a single Kafka does not
		lines = append(lines, name+".offset.flush.interval.ms=1000")
		for _, topic := range []string{"config.storage", "offset.storage", "status.storage", "offset-syncs.topic", "checkpoints.topic", "heartbeats.topic"} {
			lines = append(lines, fmt.Sprintf("%s.%s.replication.factor=%d", name, topic, replicas))
		}
	}
	for way, replicas := range map[string]int{"karst->kafka": 1, "kafka->karst": 3} {
		lines = append(lines, way+".enabled=true", fmt.Sprintf("%s.replication.factor=%d", way, replicas))
		for _, topic := range []string{"checkpoints", "heartbeats"} {
			lines = append(lines, fmt.Sprintf("%s.%s.topic.replication.factor=%d", way, topic, replicas))
		}
	}
	// This one lies in the source.
	lines = append(lines, "karst->kafka.offset-syncs.topic.replication.factor=3", "kafka->karst.offset-syncs.topic.replication.factor=1")
	config := properties(t, "mm2.properties", lines...)
	return newJVM(t, "mirrormaker", func() []string {
		return []string{"org.apache.kafka.connect.mirror.MirrorMaker", config}
	})
}

// cluster is one of the two, with a topic of its own that is written, and the
// other's that comes.
type cluster struct {
	name, addr string
	admin      *kadm.Client
	written    *flow
	comes      *kgo.Client
	mirrored   arrival
}

func (c *cluster) topic() string { return "mirror-" + c.name }
func (c *cluster) group() string { return "mirror-readers-of-" + c.name }

const mirrorRetention = "7654321000"

func newCluster(t *testing.T, name, addr string) *cluster {
	t.Helper()
	c := &cluster{name: name, addr: addr, admin: adminOf(t, addr)}
	retention := mirrorRetention
	if _, err := c.admin.CreateTopic(t.Context(), mirrorPartitions, 1, map[string]*string{"retention.ms": &retention}, c.topic()); err != nil {
		t.Fatal(err)
	}
	other := map[string]string{"karst": "kafka", "kafka": "karst"}[name]
	c.comes = client(t, addr, kgo.ConsumeTopics(other+".mirror-"+other), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(500*time.Millisecond), kgo.MetadataMaxAge(2*time.Second))
	c.written = topicFlow(t, addr, c.topic(), mirrorPartitions)
	return c
}

func (c *cluster) read(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	c.comes.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
		var k int64
		if n, _ := fmt.Sscanf(string(r.Value), "%d", &k); n != 1 {
			c.mirrored.strays++
			return
		}
		c.mirrored.add(k)
	})
}

// commit commits the ends of the cluster's own topic for its group.
func (c *cluster) commit(t *testing.T) {
	t.Helper()
	within(t, time.Minute, "commit", func() error {
		ends, err := c.admin.ListEndOffsets(t.Context(), c.topic())
		if err != nil {
			return err
		}
		return c.admin.CommitAllOffsets(t.Context(), c.group(), ends.Offsets())
	})
}

// follows wants the offsets of the group of the other cluster here, translated:
// past half of what there is, and not past its end.
func (c *cluster) follows(t *testing.T, from *cluster) error {
	t.Helper()
	offsets, err := c.admin.FetchOffsets(t.Context(), from.group())
	if err != nil {
		return err
	}
	topic := from.name + "." + from.topic()
	ends, err := c.admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		return err
	}
	for p := range int32(mirrorPartitions) {
		o, ok := offsets.Lookup(topic, p)
		end, _ := ends.Lookup(topic, p)
		if !ok || o.At <= end.Offset/2 || o.At > end.Offset {
			return fmt.Errorf("partition %d of %s: committed %d of %d", p, topic, o.At, end.Offset)
		}
	}
	return nil
}

// configured wants the other cluster's topic to have its config here.
func (c *cluster) configured(t *testing.T, from *cluster) error {
	t.Helper()
	described, err := c.admin.DescribeTopicConfigs(t.Context(), from.name+"."+from.topic())
	if err != nil {
		return err
	}
	for _, config := range described[0].Configs {
		if config.Key == "retention.ms" {
			if config.MaybeValue() != mirrorRetention {
				return fmt.Errorf("retention.ms is %s", config.MaybeValue())
			}
			return nil
		}
	}
	return errors.New("no retention.ms")
}
