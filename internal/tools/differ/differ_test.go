package differ

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/broker"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/kafka"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
)

// Flags that scripts/differ.sh sets.
var (
	kafkaAddr = flag.String("kafka", "", "compare with the Apache Kafka at this address instead of golden data")
	record    = flag.Bool("record", false, "write what it answers as golden data")
)

// settings of Karst are those of scripts/differ.sh for Kafka.
var settings = map[string]string{
	"store": "mem://", "listen": "127.0.0.1:0",
	"offsets.topic.num.partitions": "1", "group.initial.rebalance.delay": "0", "log.retention.check.interval": "24h",
	"wal.min.interval": "0", "offsets.commit.interval": "0",
}

// startKarst runs a broker on loopback over a bucket in memory until the test ends.
func startKarst(t *testing.T) string {
	t.Helper()
	cfg, err := config.Load(config.Source{Flags: settings})
	if err != nil {
		t.Fatal(err)
	}
	bound := make(chan string, 1)
	b, err := broker.NewWith(cfg, slog.New(slog.DiscardHandler), "test", broker.Options{
		Open: func(context.Context, string) (store.Store, error) { return mem.New(""), nil },
		Listen: func(_, addr string) (net.Listener, error) {
			l, err := net.Listen("tcp", addr)
			if err == nil {
				bound <- l.Addr().String()
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
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the broker ended: %v", err)
		}
	})
	select {
	case addr := <-bound:
		return addr // connections wait until they are served
	case err := <-ended:
		t.Fatalf("the broker does not start: %v", err)
		return ""
	}
}

func scripts(t *testing.T) []*Script {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var all []*Script
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(strings.TrimSuffix(filepath.Base(f), ".txt"), string(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func goldenFile(s *Script) string { return filepath.Join("testdata/golden", s.Name+".jsonl") }

// goldenAnswers are those of Kafka that are recorded.
func goldenAnswers(t *testing.T, s *Script) []Answer {
	t.Helper()
	b, err := os.ReadFile(goldenFile(s))
	if err != nil {
		t.Fatal(err)
	}
	answers, err := ReadGolden(b)
	if err != nil {
		t.Fatalf("%s: %v", goldenFile(s), err)
	}
	return answers
}

// kafkaAnswers are those of Kafka, live or recorded.
func kafkaAnswers(t *testing.T, s *Script) []Answer {
	t.Helper()
	if *kafkaAddr == "" {
		return goldenAnswers(t, s)
	}
	answers, err := s.Run(t.Context(), *kafkaAddr)
	if err != nil {
		t.Fatalf("Kafka: %v%s", err, last(answers))
	}
	if *record {
		if err := os.WriteFile(goldenFile(s), WriteGolden(answers), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return answers
}

// last shows the last answers before a script failed.
func last(answers []Answer) string {
	var b strings.Builder
	for _, a := range answers[max(len(answers)-5, 0):] {
		fmt.Fprintf(&b, "\n%s %s v%d: %s", a.At, a.API, a.Round, a.JSON)
	}
	return b.String()
}

// TestDifferences runs every script and wants no difference from Kafka but those
// of differences.txt, and each of those.
func TestDifferences(t *testing.T) {
	known, err := Differences()
	if err != nil {
		t.Fatal(err)
	}
	occurred := make([]bool, len(known))
	whole := true
	for _, s := range scripts(t) {
		ran := t.Run(s.Name, func(t *testing.T) {
			reference := kafkaAnswers(t, s)
			if *record {
				return
			}
			began := time.Now()
			answers, err := s.Run(t.Context(), startKarst(t))
			if err != nil {
				t.Fatalf("Karst: %v%s", err, last(answers))
			}
			found, err := Compare(s.Name, reference, answers)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d answers compared in %v, %d differences", len(answers), time.Since(began).Round(time.Millisecond), len(found))
			unexplained := 0
			for _, f := range found {
				explained := false
				for i, d := range known {
					if d.Explains(f) {
						explained, occurred[i] = true, true
					}
				}
				if !explained {
					found[unexplained] = f
					unexplained++
				}
			}
			for _, line := range Report(found[:unexplained]) {
				t.Error(line)
			}
		})
		whole = whole && ran
	}
	if !whole || *record || strings.Contains(flag.Lookup("test.run").Value.String(), "/") {
		return // not everything ran
	}
	for i, d := range known {
		if !occurred[i] {
			t.Errorf("differences.txt:%d: %s %s does not occur any more", d.line, d.Where, d.Path)
		}
	}
}

// TestCoverage wants every version of every API that Karst declares to be asked for
// in a script, such that Kafka answers, and every API to be asked for with a frame
// that is spoilt, and with a version that there is not.
func TestCoverage(t *testing.T) {
	type version struct{ key, version int16 }
	served, spoilt, requests := map[version]bool{}, map[int16]bool{}, 0
	for _, s := range scripts(t) {
		answers := map[string]string{}
		for _, a := range goldenAnswers(t, s) {
			answers[fmt.Sprint(a.At, a.Round)] = a.JSON
		}
		for _, r := range s.Requests() {
			requests++
			answer, ok := answers[fmt.Sprint(r.At, r.Round)]
			switch {
			case !ok:
				t.Errorf("%s: no answer of Kafka to %s, version %d: record again", s.Name, r.At, r.Version)
			case r.Spoilt:
				spoilt[r.Key] = true
			case answer != `"closed"` && answer != `"silence"`:
				served[version{r.Key, r.Version}] = true
			}
		}
	}
	apis := kafka.APIs()
	for _, a := range apis {
		for v := a.Min; v <= a.Max; v++ {
			if !served[version{a.Key, v}] {
				t.Errorf("no script asks for %s version %d", kmsg.NameForKey(a.Key), v)
			}
		}
		if !spoilt[a.Key] {
			t.Errorf("no script spoils a request of %s", kmsg.NameForKey(a.Key))
		}
	}
	t.Logf("%d requests cover %d APIs, %d versions of APIs", requests, len(apis), len(served))
}

// TestGoldenIsStable reads golden data and writes it again.
func TestGoldenIsStable(t *testing.T) {
	files, _ := filepath.Glob("testdata/golden/*.jsonl")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		answers, err := ReadGolden(b)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if !bytes.Equal(WriteGolden(answers), b) {
			t.Errorf("%s is not as it would be written", f)
		}
	}
}
