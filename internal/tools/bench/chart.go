package bench

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// panel is one column of a chart: a metric of every comparison.
type panel struct {
	metrics []string // the first one that a comparison has
	title   string
}

func panels() []panel {
	return []panel{
		{[]string{"MB/s"}, "MB/s (more is better)"},
		{[]string{"broker CPU-s/GB"}, "broker CPU-s per GB (less is better)"},
		{[]string{"ack p99 ms", "end to end p99 ms", "fetch p99 ms"}, "p99 latency, ms (less is better)"},
	}
}

// Pixels of a chart.
const (
	chartLabel, chartPanel, chartGap = 150, 230, 20
	chartBar, chartRow, chartHead    = 14, 44, 56
)

// Chart draws comparisons of the same two contenders, a row each, as SVG: the
// medians as bars, with the figure at their end. Bars of one metric share a
// scale within their row, since rows are different workloads.
func Chart(w io.Writer, titles []string, all []*Comparison) error {
	var b strings.Builder
	width := chartLabel + len(panels())*(chartPanel+chartGap)
	height := chartHead + len(all)*chartRow + 10
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	colours := []string{"#0b7285", "#adb5bd"}
	for i, name := range []string{all[0].A, all[0].B} {
		x := chartLabel + i*120
		fmt.Fprintf(&b, `<rect x="%d" y="10" width="12" height="12" fill="%s"/><text x="%d" y="20">%s</text>`+"\n", x, colours[i], x+18, html.EscapeString(name))
	}
	for n, p := range panels() {
		fmt.Fprintf(&b, `<text x="%d" y="46" fill="#495057">%s</text>`+"\n", chartLabel+n*(chartPanel+chartGap), html.EscapeString(p.title))
	}
	for row, c := range all {
		y := chartHead + row*chartRow
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", chartLabel-10, y+chartBar+4, html.EscapeString(titles[row]))
		for n, p := range panels() {
			m, ok := c.metric(p.metrics)
			if !ok {
				continue
			}
			x, scale := chartLabel+n*(chartPanel+chartGap), float64(chartPanel-90)/max(m.A, m.B, 1e-9)
			for i, v := range []float64{m.A, m.B} {
				top := y + i*(chartBar+2)
				fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, x, top, max(v*scale, 1), chartBar, colours[i])
				text := figure(v)
				if i == 0 && m.Ratio > 0 {
					text += fmt.Sprintf(" (%.2f ×)", m.Ratio)
				}
				fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", float64(x)+v*scale+5, top+chartBar-3, text)
			}
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// figure prints three significant digits.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// metric is the first of the named ones that was measured.
func (c *Comparison) metric(names []string) (Metric, bool) {
	for _, name := range names {
		for _, m := range c.Metrics {
			if m.Name == name {
				return m, true
			}
		}
	}
	return Metric{}, false
}

func chartCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "chart FILE.json...",
		Short: "Draw comparisons that compare --format json wrote, as SVG",
		Long:  "Draw comparisons that `compare --format json` wrote, as one SVG on standard output: a row for each file, named by the file.",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			var titles []string
			var all []*Comparison
			for _, f := range files {
				c, err := readComparison(f)
				if err != nil {
					return err
				}
				titles, all = append(titles, strings.TrimSuffix(filepath.Base(f), ".json")), append(all, c)
			}
			return Chart(cmd.OutOrStdout(), titles, all)
		},
	}
}

// readComparison reads what a chart needs of a comparison.
func readComparison(file string) (*Comparison, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var c struct {
		A, B    string
		Metrics []Metric
	}
	if err := json.Unmarshal(b, &c); err != nil || len(c.Metrics) == 0 {
		return nil, fmt.Errorf("%s is not what compare --format json writes: %w", file, cmp.Or(err, errors.New("no metrics")))
	}
	return &Comparison{A: c.A, B: c.B, Metrics: c.Metrics}, nil
}
