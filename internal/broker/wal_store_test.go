package broker_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/karst-io/karst/internal/broker"
	"github.com/karst-io/karst/internal/config"
)

// once runs a broker on real folders until use returns, or until it ends by
// itself: that error.
func once(t *testing.T, dir, data, wal string, use func(addr string)) error {
	t.Helper()
	flags := map[string]string{"store": "file://" + filepath.Join(dir, data), "listen": "127.0.0.1:0"}
	if wal != "" {
		flags["wal"] = "file://" + filepath.Join(dir, wal)
	}
	cfg, err := config.Load(config.Source{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	log := &served{at: make(chan string, 1)}
	b, err := broker.NewWith(cfg, slog.New(slog.NewTextHandler(log, nil)), "test", broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	select {
	case addr := <-log.at:
		use(addr)
		cancel()
		return <-ended
	case err := <-ended:
		return err
	}
}

// served finds the address in the line that says a broker serves.
type served struct{ at chan string }

func (s *served) Write(b []byte) (int, error) {
	if line := string(b); strings.Contains(line, "msg=serving") {
		_, rest, _ := strings.Cut(line, "kafka=")
		addr, _, _ := strings.Cut(rest, " ")
		s.at <- addr
	}
	return len(b), nil
}

// TestWALStoreThatIsNotTheOne: a WAL's folder that is not mounted is an empty
// folder. Sealing it would end the WAL before what was acknowledged.
func TestWALStoreThatIsNotTheOne(t *testing.T) {
	dir := t.TempDir()
	nothing := func(string) {}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(err error, why string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Fatalf("got %v, want an error with %q", err, why)
		}
	}
	must(once(t, dir, "data", "mnt/wal", func(addr string) {
		must(client(t, addr).ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("kept")}).FirstErr())
	}))
	must(os.Rename(filepath.Join(dir, "mnt"), filepath.Join(dir, "away")))
	refused(once(t, dir, "data", "mnt/wal", nothing), "is it mounted?")
	refused(once(t, dir, "data", "", nothing), "is it mounted?") // it is needed wherever the next WAL lies
	must(os.RemoveAll(filepath.Join(dir, "mnt")))
	must(os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, "mnt")))
	must(once(t, dir, "data", "mnt/wal", func(addr string) {
		if got := consume(t, addr, "t", 1); got[0] != "kept" {
			t.Errorf("read %q", got)
		}
	}))
	refused(once(t, dir, "other", "mnt/wal", nothing), "of cluster")

	// Once another WAL has taken over, and nothing was left in it, it may go.
	must(once(t, dir, "data", "next", nothing))
	must(once(t, dir, "data", "next", nothing))
	must(os.RemoveAll(filepath.Join(dir, "mnt")))
	must(once(t, dir, "data", "next", func(addr string) { consume(t, addr, "t", 1) }))
}
