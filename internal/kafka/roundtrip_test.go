package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// A real client writes and reads through the server: what it reads is what it
// wrote, at the offsets it was told (B3, O9).
func TestClientRoundTrip(t *testing.T) {
	const n, partitions = 2000, 3
	log := newFakeLog()
	cluster := newTestCluster(t, 1)
	cluster.must(t, &metadata.CreateTopic{ID: topicT, Name: "t", ReplicationFactor: 1, Partitions: []metadata.NewPartition{
		{Leader: 1, Replicas: []karst.BrokerID{0}}, {Leader: 1, Replicas: []karst.BrokerID{0}}, {Leader: 1, Replicas: []karst.BrokerID{0}},
	}})
	deps := cluster.deps()
	deps.Data = log
	server, l := New(Config{}, deps), newMemoryListener()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- server.Run(running, l) }()

	client, err := kgo.NewClient(
		kgo.SeedBrokers("broker:9092"), kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.ProducerLinger(time.Millisecond),
		kgo.Dialer(func(context.Context, string, string) (net.Conn, error) { return l.dial() }),
	)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string, n)
	all := make([]*kgo.Record, n)
	for i := range all {
		all[i] = kgo.StringRecord(fmt.Sprintf("value %d", i))
	}
	results := client.ProduceSync(ctx, all...)
	if err := results.FirstErr(); err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		want[fmt.Sprintf("%d/%d", r.Record.Partition, r.Record.Offset)] = string(r.Record.Value)
	}
	if len(want) != n {
		t.Fatalf("%d distinct offsets for %d records", len(want), n)
	}
	for len(want) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			at := fmt.Sprintf("%d/%d", r.Partition, r.Offset)
			if want[at] != string(r.Value) {
				t.Fatalf("at %s: %q, want %q", at, r.Value, want[at])
			}
			delete(want, at)
		})
	}
	client.Close()
	stop()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := log.held.Load(); n != 0 {
		t.Errorf("%d reads were not released", n)
	}
}
