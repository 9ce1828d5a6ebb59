package broker_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/karst-io/karst/internal/broker"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
)

// running is a broker on loopback over a given store.
type running struct {
	kafka, http string
	stop        func() error
	may         string // be in the error that it ends with; "": there is to be none
}

// start runs a broker until its stop, or the end of the test. adjust sets what
// the rules for settings do not allow.
func start(t *testing.T, bucket store.Store, settings map[string]string, adjust ...func(*config.Config)) *running {
	t.Helper()
	flags := map[string]string{"store": "mem://", "listen": "127.0.0.1:0", "http": "127.0.0.1:0"}
	maps.Copy(flags, settings)
	cfg, err := config.Load(config.Source{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range adjust {
		f(&cfg)
	}
	r := &running{}
	var mu sync.Mutex
	b, err := broker.NewWith(cfg, slog.New(slog.DiscardHandler), "test", broker.Options{
		Open: func(context.Context, string) (store.Store, error) { return bucket, nil },
		Listen: func(what, addr string) (net.Listener, error) {
			l, err := net.Listen("tcp", addr)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				switch what {
				case "http":
					r.http = l.Addr().String()
				case "listen":
					r.kafka = l.Addr().String()
				}
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
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil && (r.may == "" || !strings.Contains(err.Error(), r.may)) {
			t.Errorf("stop: %v", err)
		}
	})
	for range 6000 {
		mu.Lock()
		addr := r.http
		mu.Unlock()
		if addr != "" && get(addr, "/readyz") == nil {
			return r
		}
		select {
		case err := <-ended:
			t.Fatalf("broker ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatal("broker does not become ready")
	return nil
}

func get(addr, path string) error {
	body, err := read(addr, path)
	if err == nil && path == "/metrics" && !strings.Contains(body, "karst_incarnation") {
		err = fmt.Errorf("no karst_incarnation in %d bytes", len(body))
	}
	return err
}

// read reads a page.
func read(addr, path string) (string, error) {
	resp, err := http.Get("http://" + addr + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

func client(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// consume reads n records of a topic.
func consume(t *testing.T, addr, topic string, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := client(t, addr, kgo.ConsumeTopics(topic))
	var all []string
	for len(all) < n {
		f := c.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			t.Fatalf("after %d records: %v", len(all), err)
		}
		f.EachRecord(func(r *kgo.Record) { all = append(all, string(r.Value)) })
	}
	return all
}

// TestLife produces, stops, starts again on the same bucket and consumes.
func TestLife(t *testing.T) {
	bucket := mem.New("")
	var want []string
	for life := range 3 {
		r := start(t, bucket, nil)
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			if err := get(r.http, path); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		p := client(t, r.kafka, kgo.DefaultProduceTopic("t"))
		for i := range 100 {
			v := fmt.Sprintf("life %d record %d", life, i)
			if err := p.ProduceSync(t.Context(), kgo.StringRecord(v)).FirstErr(); err != nil {
				t.Fatal(err)
			}
			want = append(want, v)
		}
		got := consume(t, r.kafka, "t", len(want))
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("life %d: read %d records that differ from the %d produced", life, len(got), len(want))
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAdministration(t *testing.T) {
	r := start(t, mem.New(""), map[string]string{"num.partitions": "3"})
	admin := kadm.NewClient(client(t, r.kafka))
	ctx := t.Context()
	if _, err := admin.CreateTopic(ctx, -1, -1, nil, "a"); err != nil {
		t.Fatal(err)
	}
	topics, err := admin.ListTopics(ctx, "a")
	if err != nil || len(topics["a"].Partitions) != 3 {
		t.Fatalf("num.partitions is not honoured: %+v, %v", topics, err)
	}
	if _, err := admin.CreatePartitions(ctx, 2, "a"); err != nil {
		t.Fatal(err)
	}
	if topics, err = admin.ListTopics(ctx, "a"); err != nil || len(topics["a"].Partitions) != 5 {
		t.Fatalf("after adding two: %+v, %v", topics, err)
	}
	if _, err := admin.CreateTopic(ctx, 1, 1, map[string]*string{"retention.ms": new("soon")}, "b"); err == nil {
		t.Error("a bad config was accepted")
	}
	if _, err := admin.DeleteTopic(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	// A fresh client: the other one remembers metadata for a while.
	admin = kadm.NewClient(client(t, r.kafka))
	if topics, err = admin.ListTopics(ctx, "a"); err != nil || topics["a"].Err == nil {
		t.Errorf("deleted topic: %+v, %v", topics, err)
	}
}

// TestSecondOfTheSameID is refused while the first answers.
func TestSecondOfTheSameID(t *testing.T) {
	bucket := mem.New("")
	start(t, bucket, map[string]string{"broker.id": "1"})
	cfg, err := config.Load(config.Source{Flags: map[string]string{"store": "mem://", "listen": "127.0.0.1:0", "broker.id": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	second, err := broker.NewWith(cfg, slog.New(slog.DiscardHandler), "test", broker.Options{
		Open: func(context.Context, string) (store.Store, error) { return bucket, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "broker 1 is already running") {
		t.Fatalf("second broker: %v", err)
	}
}
