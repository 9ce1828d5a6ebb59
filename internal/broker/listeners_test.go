package broker_test

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/karst-io/karst/internal/broker"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
)

// Clients are told the addresses of the listener that they came through.
func TestTwoListeners(t *testing.T) {
	cfg, err := config.Load(config.Source{Flags: map[string]string{
		"store": "mem://", "listen": "IN://127.0.0.1:0,OUT://127.0.0.1:0", "advertise": "OUT://out.example:7",
	}})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var at []string
	b, err := broker.NewWith(cfg, slog.New(slog.DiscardHandler), "test", broker.Options{
		Open: func(context.Context, string) (store.Store, error) { return mem.New(""), nil },
		Listen: func(what, addr string) (net.Listener, error) {
			l, err := net.Listen("tcp", addr)
			if err == nil && what == "listen" {
				mu.Lock()
				defer mu.Unlock()
				at = append(at, l.Addr().String())
			}
			return l, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stop: %v", err)
		}
	}()
	for b.Image() == nil {
		select {
		case err := <-ended:
			t.Fatalf("broker ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	mu.Lock()
	addrs := slices.Clone(at)
	mu.Unlock()
	if len(addrs) != 2 {
		t.Fatalf("listening at %v", addrs)
	}
	_, inPort, _ := net.SplitHostPort(addrs[0])
	for n, want := range []string{"127.0.0.1:" + inPort, "out.example:7"} {
		admin := kadm.NewClient(client(t, addrs[n]))
		m, err := admin.BrokerMetadata(t.Context())
		if err != nil || len(m.Brokers) != 1 {
			t.Fatalf("listener %d: %+v, %v", n, m.Brokers, err)
		}
		if got := net.JoinHostPort(m.Brokers[0].Host, strconv.Itoa(int(m.Brokers[0].Port))); got != want {
			t.Errorf("listener %d tells of %s, want %s", n, got, want)
		}
	}
}
