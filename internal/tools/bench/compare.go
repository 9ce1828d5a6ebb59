package bench

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Contender is one side of a comparison: a way to run the same workload.
type Contender struct {
	Name string
	Run  func(context.Context) (*Report, error)
}

// Comparison is what alternating runs of two contenders say.
type Comparison struct {
	A       string    `json:"a"`
	B       string    `json:"b"`
	Rounds  int       `json:"rounds"`
	Metrics []Metric  `json:"metrics"`
	RunsA   []*Report `json:"runs_a"`
	RunsB   []*Report `json:"runs_b"`
}

// Metric holds the medians over the rounds. Ratio is the median of the rounds'
// own ratios A ÷ B: what both suffered in one round cancels out.
type Metric struct {
	Name  string    `json:"name"`
	A     float64   `json:"a"`
	B     float64   `json:"b"`
	Ratio float64   `json:"ratio"`
	All   []float64 `json:"ratios"`
}

// Compare runs A B, B A, A B, … so that a drift of the machine favours neither.
// Rehearsals are rounds before that do not count: a broker on a JVM needs some
// ten seconds of load before its code is compiled, and is up to three times
// slower until then.
func Compare(ctx context.Context, a, b Contender, rehearsals, rounds int, progress io.Writer) (*Comparison, error) {
	if rounds < 1 || rehearsals < 0 {
		return nil, fmt.Errorf("--rounds %d, --rehearsals %d: a number of rounds is positive, of rehearsals not negative", rounds, rehearsals)
	}
	c := &Comparison{A: a.Name, B: b.Name, Rounds: rounds}
	for n := -rehearsals; n < rounds; n++ {
		order := []Contender{a, b}
		if n%2 != 0 {
			order = []Contender{b, a}
		}
		for i, who := range order {
			rep, err := who.Run(ctx)
			if err != nil {
				return nil, fmt.Errorf("round %d, %s: %w", n+1, who.Name, err)
			}
			if rep.Label == "" {
				rep.Label = who.Name
			}
			round := fmt.Sprintf("round %d", n+1)
			if n < 0 {
				round = "rehearsal"
			}
			if progress != nil {
				_, _ = fmt.Fprintf(progress, "%-9s  %-10s %s\n", round, who.Name, rep.oneLine()) // progress is for people
			}
			switch {
			case n < 0:
			case (i == 0) == (n%2 == 0):
				c.RunsA = append(c.RunsA, rep)
			default:
				c.RunsB = append(c.RunsB, rep)
			}
		}
	}
	c.measure()
	return c, nil
}

func (r *Report) oneLine() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%.1f MB/s", r.MBPerSecond)
	for _, name := range []string{"ack", "end to end", "fetch"} {
		if l, ok := r.Latency[name]; ok {
			fmt.Fprintf(&b, ", %s p50 %.2f p99 %.2f ms", name, l.P50, l.P99)
		}
	}
	if u, ok := r.broker(); ok {
		fmt.Fprintf(&b, ", broker %.3f CPU-s/GB", u.CPUPerGB)
	}
	var failed int64
	for _, n := range r.Errors {
		failed += n
	}
	if failed+r.Dropped > 0 {
		fmt.Fprintf(&b, ", %d errors, %d dropped", failed, r.Dropped)
	}
	return b.String()
}

// broker is the sum over the broker's processes.
func (r *Report) broker() (Usage, bool) {
	var all Usage
	for _, u := range r.Broker {
		all.CPU += u.CPU
		all.Cores += u.Cores
		all.CPUPerGB += u.CPUPerGB
		all.PeakRSS += u.PeakRSS
		all.WriteBytes += u.WriteBytes
		all.WriteAmplification += u.WriteAmplification
	}
	return all, len(r.Broker) > 0
}

// measured is one number of a report; ok is false where it has none.
type measured struct {
	name string
	of   func(*Report) (v float64, ok bool)
}

func metrics() []measured {
	all := []measured{{"MB/s", func(r *Report) (float64, bool) { return r.MBPerSecond, true }}}
	for _, name := range []string{"ack", "ack alone", "ack reading", "end to end", "fetch"} {
		quantiles := []struct {
			name string
			of   func(Latency) float64
		}{
			{"p50", func(l Latency) float64 { return l.P50 }},
			{"p95", func(l Latency) float64 { return l.P95 }},
			{"p99", func(l Latency) float64 { return l.P99 }},
			{"p99.9", func(l Latency) float64 { return l.P999 }},
			{"max", func(l Latency) float64 { return l.Max }},
		}
		for _, q := range quantiles {
			all = append(all, measured{name + " " + q.name + " ms", func(r *Report) (float64, bool) {
				l, ok := r.Latency[name]
				return q.of(l), ok
			}})
		}
	}
	usage := func(name string, of func(Usage) float64) {
		all = append(all, measured{name, func(r *Report) (float64, bool) {
			u, ok := r.broker()
			return of(u), ok
		}})
	}
	usage("broker CPU-s/GB", func(u Usage) float64 { return u.CPUPerGB })
	usage("broker cores", func(u Usage) float64 { return u.Cores })
	usage("broker peak MiB", func(u Usage) float64 { return float64(u.PeakRSS) / (1 << 20) })
	usage("write amplification", func(u Usage) float64 { return u.WriteAmplification })
	return append(all, measured{"client CPU-s/GB", func(r *Report) (float64, bool) { return r.Client.CPUPerGB, r.Client.CPUPerGB > 0 }})
}

// measure computes the metrics that all runs of either side have.
func (c *Comparison) measure() {
	for _, m := range metrics() {
		a, aok := values(c.RunsA, m.of)
		b, bok := values(c.RunsB, m.of)
		switch {
		case aok && bok:
			metric := Metric{Name: m.name, A: median(a), B: median(b)}
			for i := range a {
				if b[i] != 0 {
					metric.All = append(metric.All, a[i]/b[i])
				}
			}
			if len(metric.All) > 0 {
				metric.Ratio = median(metric.All)
			}
			c.Metrics = append(c.Metrics, metric)
		case aok:
			c.Metrics = append(c.Metrics, Metric{Name: m.name, A: median(a)})
		case bok:
			c.Metrics = append(c.Metrics, Metric{Name: m.name, B: median(b)})
		}
	}
}

func values(runs []*Report, of func(*Report) (float64, bool)) ([]float64, bool) {
	var all []float64
	for _, r := range runs {
		v, ok := of(r)
		if !ok {
			return nil, false
		}
		all = append(all, v)
	}
	return all, len(all) > 0
}

// WriteText writes the comparison for people.
func (c *Comparison) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintf(t, "median of %d\t%s\t%s\tratio\tof each round\t\n", c.Rounds, c.A, c.B) // Flush tells
	for _, m := range c.Metrics {
		ratio := ""
		if m.Ratio != 0 {
			ratio = fmt.Sprintf("%.2f", m.Ratio)
		}
		_, _ = fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%s\t%s\t\n", m.Name, m.A, m.B, ratio, strings.Trim(fmt.Sprintf("%.2f", m.All), "[]")) // Flush tells
	}
	return t.Flush()
}
