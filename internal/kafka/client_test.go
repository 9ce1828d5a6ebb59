package kafka

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A real client finds its way over TCP: negotiation, metadata, administration.
func TestFranzGo(t *testing.T) {
	cluster := newTestCluster(t, 1)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	s := New(Config{DeleteTopics: true, DrainTimeout: time.Millisecond}, cluster.deps())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(l.Addr().String()),
		// Whatever address metadata names, this is the broker.
		kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()

	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 10_000
	create.Topics = append(create.Topics, wanted("orders", 4, 1))
	created, err := create.RequestWith(ctx, cl)
	if err != nil || created.Topics[0].ErrorCode != 0 {
		t.Fatalf("%+v, %v", created, err)
	}
	md, err := ask("orders").RequestWith(ctx, cl)
	if err != nil || len(md.Topics[0].Partitions) != 4 || md.Topics[0].TopicID != created.Topics[0].TopicID {
		t.Fatalf("%+v, %v", md, err)
	}
	pid, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(ctx, cl)
	if err != nil || pid.ErrorCode != 0 {
		t.Fatalf("%+v, %v", pid, err)
	}
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TimeoutMillis = 10_000
	dt := kmsg.NewDeleteTopicsRequestTopic()
	dt.Topic = new("orders")
	del.Topics, del.TopicNames = append(del.Topics, dt), []string{"orders"}
	deleted, err := del.RequestWith(ctx, cl)
	if err != nil || deleted.Topics[0].ErrorCode != 0 {
		t.Fatalf("%+v, %v", deleted, err)
	}
}
