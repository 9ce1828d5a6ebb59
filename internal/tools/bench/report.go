package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what one run measured.
type Report struct {
	Label    string       `json:"label,omitempty"`
	Workload string       `json:"workload"`
	Started  time.Time    `json:"started"`
	Settings fmt.Stringer `json:"settings"`

	// Seconds is the length of the window; all below happened inside it.
	Seconds float64 `json:"seconds"`
	Records int64   `json:"records"`
	// PayloadBytes are those of values, BatchBytes those of record batches as
	// sent or received, compressed; 0 where the workload does not see them.
	PayloadBytes int64 `json:"payload_bytes"`
	BatchBytes   int64 `json:"batch_bytes"`
	// Requests is counted where the workload speaks the protocol itself.
	Requests         int64   `json:"requests,omitempty"`
	MBPerSecond      float64 `json:"mb_per_second"`
	RecordsPerSecond float64 `json:"records_per_second"`
	// Dropped records (requests for raw) were due and never sent: the queue was full.
	Dropped int64 `json:"dropped"`

	Latency map[string]Latency `json:"latency_ms"`
	Errors  map[string]int64   `json:"errors,omitempty"`

	Broker    []Usage `json:"broker,omitempty"`
	PeakFresh bool    `json:"peak_rss_of_this_run"`
	Client    Usage   `json:"client"`

	Verify *Verdict `json:"verify,omitempty"`
	Phases []Phase  `json:"phases,omitempty"`
	Notes  []string `json:"notes,omitempty"`
}

// Latency sums up a histogram, in milliseconds.
type Latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99.9"`
	Max   float64 `json:"max"`
}

// Usage is what a process spent.
type Usage struct {
	PID    int     `json:"pid"`
	CPUs   string  `json:"cpus_allowed,omitempty"`
	CPU    float64 `json:"cpu_seconds"`
	User   float64 `json:"user_seconds"`
	System float64 `json:"system_seconds"`
	Cores  float64 `json:"cores_busy"`
	// CPUPerGB and WriteAmplification relate to the bytes MBPerSecond counts; GB = 10⁹.
	CPUPerGB           float64 `json:"cpu_seconds_per_gb"`
	RSS                int64   `json:"rss_bytes"`
	PeakRSS            int64   `json:"peak_rss_bytes"`
	ReadBytes          int64   `json:"read_bytes"`
	WriteBytes         int64   `json:"write_bytes"`
	WriteAmplification float64 `json:"write_amplification"`
	WithoutIO          bool    `json:"without_io,omitempty"`
	Switches           int64   `json:"context_switches"`
}

// Verdict is what verification found; Gaps are sequence numbers never read,
// acknowledged or not.
type Verdict struct {
	Acknowledged int64 `json:"acknowledged"`
	Read         int64 `json:"read"`
	Lost         int64 `json:"lost"`
	Duplicated   int64 `json:"duplicated"`
	Reordered    int64 `json:"reordered"`
	Corrupt      int64 `json:"corrupt"`
	Gaps         int64 `json:"gaps"`
	Foreign      int64 `json:"foreign"`
}

// Failed says whether a promise was broken. Gaps and foreign records are none.
func (v *Verdict) Failed() bool {
	return v != nil && v.Lost+v.Duplicated+v.Reordered+v.Corrupt > 0
}

// Phase is one part of a run that alternates between two loads.
type Phase struct {
	Name     string  `json:"name"`
	Seconds  float64 `json:"seconds"`
	Ack      Latency `json:"ack_ms"`
	ReadMBPS float64 `json:"read_mb_per_second"`
	Broker   []Usage `json:"broker,omitempty"`
}

// bytes are those that throughput and cost relate to: the payload where it is
// known, else the batches.
func (r *Report) bytes() int64 {
	if r.PayloadBytes > 0 {
		return r.PayloadBytes
	}
	return r.BatchBytes
}

func (r *Report) rates() {
	if r.Seconds > 0 {
		r.MBPerSecond = float64(r.bytes()) / 1e6 / r.Seconds
		r.RecordsPerSecond = float64(r.Records) / r.Seconds
	}
}

// WriteJSON writes v, a report or a comparison, as indented JSON.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.Workload)
	if r.Label != "" {
		fmt.Fprintf(&b, " (%s)", r.Label)
	}
	fmt.Fprintf(&b, "\n  settings    %s\n", r.Settings)
	fmt.Fprintf(&b, "  throughput  %.2f MB/s, %.0f records/s over %.1f s", r.MBPerSecond, r.RecordsPerSecond, r.Seconds)
	if r.Dropped > 0 {
		fmt.Fprintf(&b, ", %d DROPPED", r.Dropped)
	}
	b.WriteString("\n")
	if r.BatchBytes > 0 && r.PayloadBytes > 0 {
		fmt.Fprintf(&b, "  batches     %.1f MB for %.1f MB of payload\n", float64(r.BatchBytes)/1e6, float64(r.PayloadBytes)/1e6)
	}
	r.writeLatencies(&b)
	for _, u := range r.Broker {
		writeUsage(&b, "broker", u, r.PeakFresh)
	}
	writeUsage(&b, "client", r.Client, false)
	r.writePhases(&b)
	if v := r.Verify; v != nil {
		fmt.Fprintf(&b, "  verify      acknowledged %d, read %d, lost %d, duplicated %d, reordered %d, corrupt %d; gaps %d, foreign %d\n",
			v.Acknowledged, v.Read, v.Lost, v.Duplicated, v.Reordered, v.Corrupt, v.Gaps, v.Foreign)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(&b, "  error       %d × %s\n", r.Errors[kind], kind)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "  note        %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeLatencies(b *strings.Builder) {
	if len(r.Latency) == 0 {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "  latency ms\tp50\tp95\tp99\tp99.9\tmax\tcount\t\n")
	for _, name := range slices.Sorted(maps.Keys(r.Latency)) {
		l := r.Latency[name]
		fmt.Fprintf(t, "  %s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t\n", name, l.P50, l.P95, l.P99, l.P999, l.Max, l.Count)
	}
	_ = t.Flush() // a strings.Builder does not fail
}

func (r *Report) writePhases(b *strings.Builder) {
	if len(r.Phases) == 0 {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "  phase\tseconds\tack p50\tp99\tp99.9\tmax\tcount\tread MB/s\tbroker cores\t\n")
	for _, p := range r.Phases {
		var cores float64
		for _, u := range p.Broker {
			cores += u.Cores
		}
		fmt.Fprintf(t, "  %s\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t%.1f\t%.2f\t\n",
			p.Name, p.Seconds, p.Ack.P50, p.Ack.P99, p.Ack.P999, p.Ack.Max, p.Ack.Count, p.ReadMBPS, cores)
	}
	_ = t.Flush() // a strings.Builder does not fail
}

func writeUsage(b *strings.Builder, who string, u Usage, peakFresh bool) {
	if u.PID == 0 {
		return
	}
	fmt.Fprintf(b, "  %-10s  pid %d: %.2f CPU-s (%.2f user, %.2f system), %.2f cores, %.3f CPU-s/GB, rss %.1f MiB",
		who, u.PID, u.CPU, u.User, u.System, u.Cores, u.CPUPerGB, float64(u.RSS)/(1<<20))
	if who == "broker" {
		peak := "peak since start"
		if peakFresh {
			peak = "peak"
		}
		fmt.Fprintf(b, ", %s %.1f MiB", peak, float64(u.PeakRSS)/(1<<20))
		if !u.WithoutIO {
			fmt.Fprintf(b, ", wrote %.1f MB (× %.2f), read %.1f MB", float64(u.WriteBytes)/1e6, u.WriteAmplification, float64(u.ReadBytes)/1e6)
		}
		fmt.Fprintf(b, ", %d switches", u.Switches)
	}
	if u.CPUs != "" {
		fmt.Fprintf(b, ", CPUs %s", u.CPUs)
	}
	b.WriteString("\n")
}
