package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1024": 1024, "64KiB": 65536, "2MB": 2e6, "1.5GB": 1.5e9, "1GiB": 1 << 30, "7B": 7, "3 kB": 3000} {
		var s Size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%s is %d, %v", text, s, err)
		}
		var again Size
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%s prints as %s, which reads as %d", text, s, again)
		}
	}
	for _, text := range []string{"", "-1", "x", "1XB", "99999999TB", "NaN"} {
		var s Size
		if err := s.Set(text); err == nil {
			t.Errorf("%q is %d", text, s)
		}
	}
}

func TestRate(t *testing.T) {
	s := Defaults()
	for text, want := range map[string]int64{"2MB": 2e6, "2MB/s": 2e6, "1000r": 1_024_000, "0": 0} {
		if err := s.Rate.Set(text); err != nil || s.bytesPerSecond() != want {
			t.Errorf("%s is %d bytes/s, %v", text, s.bytesPerSecond(), err)
		}
	}
	for _, text := range []string{"r", "-1r", "1.5r", "fast"} {
		if err := s.Rate.Set(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"--acks":         func(s *Settings) { s.Acks = "2" },
		"codec":          func(s *Settings) { s.Codec = "lzma" },
		"--idempotent":   func(s *Settings) { s.Idempotent, s.Acks = true, "1" },
		"in flight":      func(s *Settings) { s.Idempotent, s.Inflight = true, 6 },
		"--partitions":   func(s *Settings) { s.Partitions = 0 },
		"--duration":     func(s *Settings) { s.Duration = 0 },
		"--record-size":  func(s *Settings) { s.RecordSize = 1 << 30 },
		"--warmup":       func(s *Settings) { s.Warmup = -time.Second },
		"--format":       func(s *Settings) { s.Format = "xml" },
		"--inflight 0":   func(s *Settings) { s.Inflight = 0 },
		"--connections ": func(s *Settings) { s.Connections = -1 },
	} {
		s := Defaults()
		change(&s)
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := Defaults()
	s.Acks = "-1"
	if err := s.Check(); err != nil || s.Acks != "all" {
		t.Errorf("acks -1 is %s, %v", s.Acks, err)
	}
}

func TestParseWorkload(t *testing.T) {
	w, s, err := parseWorkload([]string{"raw", "--rate", "2MB", "--connections", "3"})
	if err != nil || w.name != "raw" || s.Rate.N != 2e6 || s.Connections != 3 {
		t.Errorf("%s %+v %v", w.name, s, err)
	}
	for _, args := range [][]string{{"fly"}, {"raw", "x"}, {"raw", "--acks", "7"}, {"raw", "--no-such-flag"}} {
		if _, _, err := parseWorkload(args); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}

// TestShare gives every partition to exactly one connection while there are
// enough partitions, and every connection a partition in any case.
func TestShare(t *testing.T) {
	leaders := []leader{{"a", []int32{0, 3, 5, 6}}, {"b", []int32{1, 4, 7}}, {"c", []int32{2}}}
	for connections := len(leaders); connections < 20; connections++ {
		got := map[int32]int{}
		for n := range connections {
			l := share(leaders, n, connections)
			if len(l.partitions) == 0 {
				t.Errorf("connection %d of %d has nothing to do", n, connections)
			}
			for _, p := range l.partitions {
				got[p]++
			}
		}
		if len(got) != 8 {
			t.Errorf("%d connections reach partitions %v", connections, got)
		}
		if connections == len(leaders) {
			want := map[int32]int{0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		}
	}
}
