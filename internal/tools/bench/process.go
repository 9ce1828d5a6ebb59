package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of the times in /proc: USER_HZ is 100 on every
// platform Linux runs on that Go supports.
const ticksPerSecond = 100

// process is a process on this machine, read through /proc.
type process struct {
	pid  int
	proc string // "/proc"
}

// processSample is the state of a process's counters at one moment.
type processSample struct {
	at            time.Time
	user, system  time.Duration
	started       uint64 // ticks after boot: tells a process from its number's next owner
	rss, peak     int64  // bytes
	read, written int64  // bytes that went to storage
	switches      int64
	cpus          string
	withoutIO     bool // /proc/PID/io belongs to the owner
}

// resetPeak makes the kernel count the peak of resident memory afresh.
func (p process) resetPeak() error {
	return os.WriteFile(p.file("clear_refs"), []byte("5"), 0)
}

func (p process) file(name string) string {
	return filepath.Join(p.proc, strconv.Itoa(p.pid), name)
}

func (p process) sample() (processSample, error) {
	s := processSample{at: time.Now()}
	stat, err := os.ReadFile(p.file("stat"))
	if err != nil {
		return s, fmt.Errorf("process %d: %w", p.pid, err)
	}
	if err := s.parseStat(stat); err != nil {
		return s, fmt.Errorf("process %d: %w", p.pid, err)
	}
	status, err := os.ReadFile(p.file("status"))
	if err != nil {
		return s, fmt.Errorf("process %d: %w", p.pid, err)
	}
	fields := colonFields(status)
	s.rss, s.peak = kibibytes(fields["VmRSS"]), kibibytes(fields["VmHWM"])
	s.cpus = fields["Cpus_allowed_list"]
	switch io, err := os.ReadFile(p.file("io")); {
	case errors.Is(err, os.ErrPermission):
		s.withoutIO = true
	case err != nil:
		return s, fmt.Errorf("process %d: %w", p.pid, err)
	default:
		f := colonFields(io)
		s.read, s.written = integer(f["read_bytes"]), integer(f["write_bytes"])-integer(f["cancelled_write_bytes"])
	}
	s.switches = p.switches()
	return s, nil
}

// parseStat reads the third field and on, which follow the command's name: that
// is in brackets and may hold anything, brackets and blanks included.
func (s *processSample) parseStat(stat []byte) error {
	_, rest, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	f := strings.Fields(string(rest))
	if !ok || len(f) < 20 {
		return fmt.Errorf("stat has %d fields after the name", len(f))
	}
	var v [3]uint64
	for i, at := range []int{11, 12, 19} { // fields 14, 15 and 22 of proc(5)
		n, err := strconv.ParseUint(f[at], 10, 63)
		if err != nil {
			return fmt.Errorf("stat: %w", err)
		}
		v[i] = n
	}
	s.user, s.system = time.Duration(v[0])*time.Second/ticksPerSecond, time.Duration(v[1])*time.Second/ticksPerSecond
	s.started = v[2]
	return nil
}

// switches sums over the threads that live: those that ended take theirs along.
func (p process) switches() int64 {
	tasks, err := filepath.Glob(p.file("task/*/status"))
	if err != nil {
		panic("BUG: the pattern is constant: " + err.Error())
	}
	var n int64
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if err != nil {
			continue // ended just now
		}
		f := colonFields(b)
		n += integer(f["voluntary_ctxt_switches"]) + integer(f["nonvoluntary_ctxt_switches"])
	}
	return n
}

func colonFields(b []byte) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			m[k] = strings.TrimSpace(v)
		}
	}
	return m
}

func kibibytes(s string) int64 { return integer(strings.TrimSuffix(s, " kB")) << 10 }

// integer is 0 for a field the kernel does not have.
func integer(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// usageBetween is what a process spent between two samples, while bytes were moved.
func usageBetween(pid int, a, b processSample, bytes int64) (Usage, error) {
	if a.started != b.started {
		return Usage{}, fmt.Errorf("process %d was replaced by another during the run", pid)
	}
	u := Usage{
		PID: pid, CPUs: b.cpus,
		User: (b.user - a.user).Seconds(), System: (b.system - a.system).Seconds(),
		RSS: b.rss, PeakRSS: b.peak,
		ReadBytes: b.read - a.read, WriteBytes: b.written - a.written, WithoutIO: a.withoutIO || b.withoutIO,
		Switches: b.switches - a.switches,
	}
	u.CPU = u.User + u.System
	if s := b.at.Sub(a.at).Seconds(); s > 0 {
		u.Cores = u.CPU / s
	}
	if bytes > 0 {
		u.CPUPerGB = u.CPU / (float64(bytes) / 1e9)
		u.WriteAmplification = float64(u.WriteBytes) / float64(bytes)
	}
	return u, nil
}

// meter samples the broker's processes and this one at the borders of windows.
type meter struct {
	brokers []process
	client  process
}

func newMeter(pids []int) (*meter, error) {
	m := &meter{client: process{os.Getpid(), "/proc"}}
	for _, pid := range pids {
		p := process{pid, "/proc"}
		if _, err := p.sample(); err != nil {
			return nil, fmt.Errorf("--broker-pid %d cannot be measured (it is read from /proc, on the same machine): %w", pid, err)
		}
		m.brokers = append(m.brokers, p)
	}
	return m, nil
}

// reset starts the count of peak memory afresh where that is allowed; the
// broker's peak is otherwise that of its whole life.
func (m *meter) reset() (fresh bool) {
	fresh = true
	for _, p := range m.brokers {
		fresh = p.resetPeak() == nil && fresh
	}
	return fresh
}

// mark is one reading of all processes; the client is the last one, and the
// only one that a platform without /proc lacks.
type mark []processSample

func (m *meter) mark() (mark, error) {
	var all mark
	for _, p := range m.brokers {
		s, err := p.sample()
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	s, err := m.client.sample()
	if err != nil && len(m.brokers) > 0 {
		return nil, err
	}
	return append(all, s), nil
}

// usage is what each process spent between two marks.
func (m *meter) usage(a, b mark, bytes int64) (brokers []Usage, client Usage, err error) {
	for i, p := range m.brokers {
		u, err := usageBetween(p.pid, a[i], b[i], bytes)
		if err != nil {
			return nil, Usage{}, err
		}
		brokers = append(brokers, u)
	}
	client, err = usageBetween(m.client.pid, a[len(a)-1], b[len(b)-1], bytes)
	return brokers, client, err
}
