package sessions

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/karst-io/karst"
)

// TestTranscripts runs the scripts of testdata: what was heard and found, the
// passing of time, and what is decided then. Time is in seconds since New.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{start: time.Unix(1_700_000_000, 0)}
		datadriven.RunTest(t, path, s.run)
	})
}

// script is sessions, their clock, and who is live.
type script struct {
	*Sessions
	start, now time.Time
	live       []karst.Incarnation
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var out strings.Builder
	switch d.Cmd {
	case "new": // [timeout=SECONDS] [sure] [live=(...)]
		cfg := Config{Sure: d.HasArg("sure")}
		if d.HasArg("timeout") {
			var seconds int
			d.ScanArgs(t, "timeout", &seconds)
			cfg.Timeout = time.Duration(seconds) * time.Second
		}
		s.now, s.live = s.start, incarnations(t, d, "live")
		s.Sessions = New(cfg, s.now)
	case "live": // live=(...): who is, from the next step on
		s.live = incarnations(t, d, "live")
	case "heard":
		for _, inc := range incarnations(t, d, "of") {
			s.Heard(inc, s.now)
		}
	case "broke":
		for _, inc := range incarnations(t, d, "of") {
			s.Broke(inc)
		}
	case "probed": // of=(...) answer=alive|gone|silent
		var answer string
		d.ScanArgs(t, "answer", &answer)
		for _, inc := range incarnations(t, d, "of") {
			s.Probed(inc, map[string]Answer{"alive": Alive, "gone": Gone, "silent": Silent}[answer])
		}
	case "stand": // for=DURATION [probes=alive|gone|silent]: nothing is done meanwhile
		s.now = s.now.Add(duration(t, d, "for"))
		s.pass(t, d, 0, &out)
	case "step": // [for=DURATION] [heard=(...)] [probes=alive|gone|silent]: every 100 ms
		s.pass(t, d, duration(t, d, "for"), &out)
	default:
		d.Fatalf(t, "no command %s", d.Cmd)
	}
	return out.String()
}

// pass steps every 100 ms, as a director does: those that are heard poll, and
// probes are answered before the next step.
func (s *script) pass(t *testing.T, d *datadriven.TestData, long time.Duration, out *strings.Builder) {
	t.Helper()
	var answer string
	d.MaybeScanArgs(t, "probes", &answer)
	for end := s.now.Add(long); ; {
		for _, inc := range incarnations(t, d, "heard") {
			s.Heard(inc, s.now)
		}
		for _, inc := range s.step(out) {
			if answer != "" {
				s.Probed(inc, map[string]Answer{"alive": Alive, "gone": Gone, "silent": Silent}[answer])
			}
		}
		if !s.now.Before(end) {
			return
		}
		s.now = s.now.Add(100 * time.Millisecond)
	}
}

// step prints what is decided, unless that is nothing.
func (s *script) step(out *strings.Builder) (probes []karst.Incarnation) {
	d := s.Step(s.now, s.live)
	var all []string
	if len(d.Probe) > 0 {
		all = append(all, fmt.Sprint("probe ", d.Probe))
	}
	if len(d.Dead) > 0 {
		all = append(all, fmt.Sprint("dead ", d.Dead))
	}
	if d.Yield {
		all = append(all, "yield")
	}
	if len(all) > 0 {
		fmt.Fprintf(out, "%.1f: %s\n", s.now.Sub(s.start).Seconds(), strings.Join(all, ", "))
	}
	return d.Probe
}

func incarnations(t *testing.T, d *datadriven.TestData, key string) []karst.Incarnation {
	t.Helper()
	if !d.HasArg(key) {
		return nil
	}
	var all []karst.Incarnation
	for _, a := range d.CmdArgs {
		if a.Key != key {
			continue
		}
		for _, v := range a.Vals {
			var n uint64
			if _, err := fmt.Sscan(v, &n); err != nil {
				d.Fatalf(t, "%s: %v", key, err)
			}
			all = append(all, karst.Incarnation(n))
		}
	}
	return all
}

func duration(t *testing.T, d *datadriven.TestData, key string) time.Duration {
	t.Helper()
	if !d.HasArg(key) {
		return 0
	}
	var v string
	d.ScanArgs(t, key, &v)
	long, err := time.ParseDuration(v)
	if err != nil {
		d.Fatalf(t, "%s: %v", key, err)
	}
	return long
}

// Nothing is remembered of who is no more, and nothing said of who never was.
func TestForgets(t *testing.T) {
	now := time.Unix(0, 0)
	s := New(Config{}, now)
	s.Heard(1, now)
	s.Broke(1)
	s.Probed(1, Gone)
	for n := range 1000 {
		inc := karst.Incarnation(n)
		s.Step(now, []karst.Incarnation{inc, inc + 1})
	}
	if len(s.all) != 2 {
		t.Errorf("%d sessions of 2 live incarnations", len(s.all))
	}
}
