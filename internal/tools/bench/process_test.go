package bench

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeProc makes the files of one process.
func fakeProc(t *testing.T, files map[string]string) process {
	t.Helper()
	p := process{pid: 42, proc: t.TempDir()}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(p.file(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p.file(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func procFiles(stat string) map[string]string {
	return map[string]string{
		"stat":           stat,
		"status":         "Name:\tkarst\nVmHWM:\t    2188 kB\nVmRSS:\t    1024 kB\nCpus_allowed_list:\t0-1\nvoluntary_ctxt_switches:\t9\n",
		"io":             "rchar: 6976\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 1000\n",
		"task/42/status": "voluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n",
		"task/43/status": "voluntary_ctxt_switches:\t10\nnonvoluntary_ctxt_switches:\t20\n",
	}
}

// The command's name may hold blanks and brackets.
const statLine = "42 (a) R (b c) S 1 2 3 4 5 6 7 8 9 10 1250 375 16 17 18 19 20 21 304279 23 24 25\n"

func TestProcessSample(t *testing.T) {
	s, err := fakeProc(t, procFiles(statLine)).sample()
	if err != nil {
		t.Fatal(err)
	}
	s.at = time.Time{}
	want := processSample{
		user: 12500 * time.Millisecond, system: 3750 * time.Millisecond, started: 304279,
		rss: 1 << 20, peak: 2188 << 10, read: 4096, written: 7192, switches: 37, cpus: "0-1",
	}
	if d := cmp.Diff(want, s, cmp.AllowUnexported(processSample{})); d != "" {
		t.Error(d)
	}
}

func TestProcessGoneOrStrange(t *testing.T) {
	if _, err := fakeProc(t, nil).sample(); err == nil {
		t.Error("a process without files is sampled")
	}
	for _, stat := range []string{"", "42 (x", "42 (x) S 1 2", "42 (x) S 1 2 3 4 5 6 7 8 9 10 abc 375 16 17 18 19 20 21 304279\n"} {
		if _, err := fakeProc(t, procFiles(stat)).sample(); err == nil {
			t.Errorf("stat %q is accepted", stat)
		}
	}
}

func TestUsageBetween(t *testing.T) {
	at := time.Unix(100, 0)
	a := processSample{at: at, user: time.Second, system: time.Second, started: 7, written: 1e6, switches: 5}
	b := processSample{at: at.Add(4 * time.Second), user: 3 * time.Second, system: 2 * time.Second, started: 7, written: 5e6, switches: 9, peak: 11, rss: 10}
	u, err := usageBetween(42, a, b, 2e9)
	if err != nil {
		t.Fatal(err)
	}
	want := Usage{PID: 42, CPU: 3, User: 2, System: 1, Cores: 0.75, CPUPerGB: 1.5, RSS: 10, PeakRSS: 11, WriteBytes: 4e6, WriteAmplification: 0.002, Switches: 4}
	if d := cmp.Diff(want, u); d != "" {
		t.Error(d)
	}
	b.started = 8
	if _, err := usageBetween(42, a, b, 1); err == nil {
		t.Error("another process with the same number is measured")
	}
}
