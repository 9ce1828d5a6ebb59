package bench

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs; go test -update writes it anew\n%s", name, d)
	}
}

func sampleReport() *Report {
	s := Defaults()
	s.Rate, s.BrokerPIDs = Rate{N: 2e6}, []int{7}
	r := &Report{
		Label: "an example", Workload: "raw", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Settings: s,
		Seconds: 10, Records: 20_000, PayloadBytes: 20_480_000, BatchBytes: 21_000_000, Requests: 1250, Dropped: 3,
		Latency:   map[string]Latency{"ack": {Count: 1250, Mean: 2, P50: 1.5, P95: 4, P99: 8, P999: 16, Max: 32.5}},
		Errors:    map[string]int64{"timeout": 2, "NOT_LEADER_FOR_PARTITION": 1},
		Broker:    []Usage{{PID: 7, CPU: 1, User: 0.5, System: 0.5, Cores: 0.1, CPUPerGB: 48.8, RSS: 1 << 26, PeakRSS: 1 << 27, WriteBytes: 43e6, WriteAmplification: 2.1, Switches: 12, CPUs: "0"}},
		PeakFresh: true,
		Client:    Usage{PID: 8, CPU: 0.25, User: 0.25, Cores: 0.025, CPUPerGB: 12.2, RSS: 1 << 24},
		Verify:    &Verdict{Acknowledged: 5, Read: 4, Lost: 1, Gaps: 1},
		Phases:    []Phase{{Name: "alone", Seconds: 1, Ack: Latency{Count: 3, P50: 1, P99: 2, P999: 3, Max: 4}}},
		Notes:     []string{"a note"},
	}
	r.rates()
	return r
}

func TestReportGolden(t *testing.T) {
	var text, asJSON bytes.Buffer
	r := sampleReport()
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(&asJSON, r); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", text.Bytes())
	golden(t, "report.json", asJSON.Bytes())
}

// TestCompare runs two contenders whose numbers are known; the machine gets
// slower from run to run, which the order of the runs has to cancel out.
func TestCompare(t *testing.T) {
	var order string
	var slow float64
	contender := func(name string, speed float64) Contender {
		return Contender{name, func(context.Context) (*Report, error) {
			order += name
			slow++
			return &Report{MBPerSecond: speed / slow, Latency: map[string]Latency{"ack": {P99: slow}}}, nil
		}}
	}
	c, err := Compare(t.Context(), contender("a", 1000), contender("b", 500), 1, 4, nil)
	if err != nil {
		t.Fatal(err)
	}
	if order != "baabbaabba" {
		t.Errorf("the order is %s", order)
	}
	if len(c.RunsA) != 4 || len(c.RunsB) != 4 || c.RunsB[0].Label != "b" {
		t.Errorf("runs are mixed up: %d, %d", len(c.RunsA), len(c.RunsB))
	}
	m := c.Metrics[0]
	if m.Name != "MB/s" || m.Ratio < 1.8 || m.Ratio > 2.3 {
		t.Errorf("%+v", m)
	}
	for _, m := range c.Metrics {
		if m.Name == "broker CPU-s/GB" {
			t.Error("a metric that no run has is reported")
		}
	}
}

func TestMedian(t *testing.T) {
	if median([]float64{3, 1, 2}) != 2 || median([]float64{4, 1, 3, 2}) != 2.5 || median([]float64{9}) != 9 {
		t.Error("median is wrong")
	}
}
