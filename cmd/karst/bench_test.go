package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/karst-io/karst/internal/broker"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/tools/bench"
)

// startBroker runs a broker whose bucket is this process's memory.
func startBroker(t *testing.T) (addr string) {
	t.Helper()
	cfg, err := config.Load(config.Source{Flags: map[string]string{"store": "mem://", "listen": "127.0.0.1:0", "memory": "268435456"}})
	if err != nil {
		t.Fatal(err)
	}
	bound := make(chan net.Addr, 1)
	listen := func(string, string) (net.Listener, error) {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err == nil {
			bound <- l.Addr()
		}
		return l, err
	}
	b, err := broker.NewWith(cfg, slog.New(slog.DiscardHandler), "test", broker.Options{Listen: listen})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-bound:
		return a.String()
	case err := <-ended:
		ended <- nil
		t.Fatal(errors.Join(errors.New("the broker ended"), err))
	}
	return ""
}

// TestBenchWorkloads runs each workload for a moment against a broker: what is
// checked is that it counts, not how fast it is.
func TestBenchWorkloads(t *testing.T) {
	addr := startBroker(t)
	common := []string{"--brokers", addr, "--broker-pid", strconv.Itoa(os.Getpid()), "--warmup", "100ms", "--partitions", "3", "--format", "json"}
	for _, c := range []struct {
		args    string
		latency string
		check   func(*testing.T, bench.Report)
	}{
		{"raw --connections 2 --batch-bytes 8KiB --codec lz4", "ack", nil},
		{"raw --idempotent --rate 1MB", "ack", nil},
		{"raw --acks 0 --rate 1MB", "ack", nil},
		{"raw --bytes 1MB --duration 20s --acks 1", "ack", nil},
		{"produce --idempotent --producers 2 --queue 100", "ack", nil},
		{"produce --rate 500r --acks 1 --partitioner roundrobin", "ack", nil},
		{"consume --fill 2MB --raw --passes 2 --duration 20s", "fetch", exactly(t, 2*2_000_000/1024)},
		{"consume --fill 2MB --duration 20s", "", exactly(t, 2_000_000/1024)},
		{"e2e --rate 500r --verify --idempotent", "end to end", func(t *testing.T, r bench.Report) {
			t.Helper()
			if r.Verify == nil || r.Verify.Acknowledged == 0 || r.Verify.Read < r.Verify.Acknowledged {
				t.Errorf("verdict %+v", r.Verify)
			}
		}},
		{"catchup --fill 2MB --raw --rate 500r --rounds 1", "ack reading", func(t *testing.T, r bench.Report) {
			t.Helper()
			if len(r.Phases) != 2 || r.Phases[0].ReadMBPS != 0 || r.Phases[1].ReadMBPS == 0 {
				t.Errorf("phases %+v", r.Phases)
			}
		}},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			words := strings.Fields(c.args)
			run := func(window string) bench.Report {
				t.Helper()
				// Later flags win.
				return runBench(t, slices.Concat(words[:1], common, []string{"--duration", window}, words[1:]))
			}
			r := run("700ms")
			// Nothing may be done within a moment on a machine that is busy with other
			// tests: a longer one tells that from a workload that does not count.
			for _, longer := range []string{"4s", "20s"} {
				if r.Records > 0 && (len(r.Phases) < 2 || r.Phases[1].ReadMBPS > 0) {
					break
				}
				r = run(longer)
			}
			if r.Records == 0 || r.MBPerSecond <= 0 || len(r.Errors) > 0 || len(r.Broker) != 1 {
				t.Errorf("%+v", r)
			}
			if c.latency != "" && r.Latency[c.latency].Count == 0 {
				t.Errorf("no latency %q: %+v", c.latency, r.Latency)
			}
			if c.check != nil {
				c.check(t, r)
			}
		})
	}
}

// exactly checks that a range was read once, whole: filling stops a few batches
// after it has enough.
func exactly(t *testing.T, least int64) func(*testing.T, bench.Report) {
	t.Helper()
	return func(t *testing.T, r bench.Report) {
		t.Helper()
		if r.Records < least || r.Records > least+least/4 {
			t.Errorf("%d records, expected %d and a few more", r.Records, least)
		}
	}
}

func runBench(t *testing.T, args []string) bench.Report {
	t.Helper()
	cmd := bench.Command()
	var out, progress bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&progress)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, progress.String())
	}
	// A report's settings are an interface, which JSON cannot read back.
	var r struct {
		bench.Report
		Settings json.RawMessage `json:"settings"`
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return r.Report
}

// TestBenchCompare runs a broker against the probe of a folder, and against itself.
func TestBenchCompare(t *testing.T) {
	addr := startBroker(t)
	workload := []string{"--", "raw", "--rate", "1MB", "--warmup", "0s", "--duration", "100ms"}
	for _, other := range [][]string{{"--b-disk", t.TempDir()}, {"--b-brokers", addr}} {
		cmd := bench.Command()
		var out bytes.Buffer
		cmd.SetArgs(append(append([]string{"compare", "--rehearsals", "0", "--rounds", "1", "--a-brokers", addr}, other...), workload...))
		cmd.SetOut(&out)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "ack p99 ms") {
			t.Errorf("%s", out.String())
		}
	}
}

func TestBenchRefuses(t *testing.T) {
	for _, args := range []string{"raw --acks 7", "e2e --brokers 127.0.0.1:1", "compare -- raw", "disk", "raw --broker-pid 999999999"} {
		cmd := bench.Command()
		cmd.SetArgs(strings.Fields(args))
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil {
			t.Errorf("bench %s is accepted", args)
		}
	}
}
