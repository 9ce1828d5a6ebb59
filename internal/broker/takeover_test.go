package broker_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/karst-io/karst/internal/broker"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
)

// TestSecondBrokerIsRefused: whatever its id, a second broker on a bucket would
// fence the first, and the first the second, for ever.
func TestSecondBrokerIsRefused(t *testing.T) {
	bucket := mem.New("")
	first := start(t, bucket, map[string]string{"broker.id": "1"})
	for id, want := range map[string]string{
		"1": "broker 1 is already running at " + first.kafka,
		"2": "broker 1 is running at " + first.kafka,
	} {
		cfg, err := config.Load(config.Source{Flags: map[string]string{
			"store": "mem://", "listen": "127.0.0.1:0", "http": "", "broker.id": id,
		}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := broker.NewWith(cfg, slog.New(slog.DiscardHandler), "test", broker.Options{
			Open:   func(context.Context, string) (store.Store, error) { return bucket, nil },
			Listen: func(_, addr string) (net.Listener, error) { return net.Listen("tcp", addr) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("broker %s: %v", id, err)
		}
	}
}
