package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// reportAvailability makes a page and graphs of the measurements in a folder.
func reportAvailability(t *testing.T, folder string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string][]measured{} // event, system
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var m measured
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(path, err)
		}
		if all[m.Event] == nil {
			all[m.Event] = map[string][]measured{}
		}
		all[m.Event][m.System] = append(all[m.Event][m.System], m)
	}
	var page strings.Builder
	page.WriteString("| Event | Cluster | Times | Probe writes | Probe reads | Java | librdkafka | franz-go | franz-go reads |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, event := range slices.Sorted(maps.Keys(all)) {
		for _, system := range slices.Sorted(maps.Keys(all[event])) {
			page.WriteString(row(event, system, all[event][system]))
		}
		if err := os.WriteFile(filepath.Join(folder, event+".svg"), []byte(graph(event, all[event])), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "availability.md"), []byte(page.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	fmt.Print(page.String())
}

var watchers = []string{"probe", probeReader, "java", "librdkafka", "franz", standardReader}

// row is the longest silence of a partition, p50, p99 and maximum of the events,
// in seconds: after a crash the time until all of them were there again.
func row(event, system string, ms []measured) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | %s | %d |", event, system, len(ms))
	for _, w := range watchers {
		var took []float64
		never := 0
		for _, m := range ms {
			switch {
			case m.Again[w] < 0:
				never++
			default:
				took = append(took, m.Pause[w])
			}
		}
		fmt.Fprintf(&b, " %s", strings.TrimSuffix(spread(took), " s"))
		if never > 0 {
			fmt.Fprintf(&b, "; %d × not within %v", never, (time.Duration(len(ms[0].Steps[w]))*stepOf - beforehand).Round(time.Second))
		}
		b.WriteString(" |")
	}
	b.WriteString("\n")
	return b.String()
}

var colours = map[string]string{
	"probe": "#111", probeReader: "#888", "java": "#c33", "librdkafka": "#393", "franz": "#36c", standardReader: "#a5a",
}

// graph shows the mean share of partitions that are there, over time, a panel per
// system.
func graph(event string, systems map[string][]measured) string {
	const width, height, left, top = 640, 110, 60, 26
	longest := 0
	for _, ms := range systems {
		longest = max(longest, len(ms[0].Steps["probe"]))
	}
	x := func(step int) float64 { return left + float64(step)*(width-left-10)/float64(max(1, longest-1)) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", width, len(systems)*(height+top)+50)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	for n, system := range slices.Sorted(maps.Keys(systems)) {
		ms := systems[system]
		y0 := float64(n*(height+top) + top)
		y := func(share float64) float64 { return y0 + (1-share)*(height-10) }
		fmt.Fprintf(&b, `<text x="%d" y="%.0f">%s: %s, %d times; share of partitions that answer</text>`+"\n", left, y0-8, system, event, len(ms))
		for _, share := range []float64{0, 0.5, 1} {
			fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.0f %%</text>`+"\n", left, y(share), width-10, left-6, y(share)+4, share*100)
		}
		for s := 0; s < longest; s += 10 {
			fmt.Fprintf(&b, `<path d="M%.1f %.1fv4" stroke="#999"/>`, x(s), y(0))
			if s%20 == 10 {
				fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">%d s</text>`+"\n", x(s), y(0)+14, s/10-1)
			}
		}
		for _, w := range watchers {
			fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="1.4" d="`, colours[w])
			for s := range ms[0].Steps[w] {
				sum := 0.0
				for _, m := range ms {
					sum += m.Steps[w][s]
				}
				fmt.Fprintf(&b, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[s == 0], x(s), y(sum/float64(len(ms))))
			}
			b.WriteString(`"/>` + "\n")
		}
	}
	at := left
	for _, w := range watchers {
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", at, len(systems)*(height+top)+40, colours[w], w)
		at += 14 + 7*len(w)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
