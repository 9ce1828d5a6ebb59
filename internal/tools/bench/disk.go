package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
)

// DiskSettings are those of the probe of a folder.
type DiskSettings struct {
	Dir       string        `json:"dir"`
	Size      Size          `json:"size"`
	Rate      Size          `json:"rate"`
	Warmup    time.Duration `json:"warmup_ns"`
	Duration  time.Duration `json:"duration_ns"`
	Bandwidth Size          `json:"bandwidth"`
	Label     string        `json:"-"`
	Format    string        `json:"-"`
}

// DiskDefaults are the probe's settings before flags: what a broker writes at
// 2 MB/s when it commits every 25 ms.
func DiskDefaults() DiskSettings {
	return DiskSettings{Size: 50_000, Rate: 2_000_000, Warmup: time.Second, Duration: 10 * time.Second, Bandwidth: 256 << 20, Format: "text"}
}

// Flags binds the settings to flags.
func (s *DiskSettings) Flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&s.Dir, "dir", "", "the folder; the probe works in a new one inside it")
	f.Var(&s.Size, "size", "bytes of each file")
	f.Var(&s.Rate, "rate", "bytes per second, open loop")
	f.DurationVar(&s.Warmup, "warmup", s.Warmup, "time before the window")
	f.DurationVar(&s.Duration, "duration", s.Duration, "the window's length")
	f.Var(&s.Bandwidth, "bandwidth", "bytes for each measurement of bandwidth, with files of 1 MiB and of 8 MiB; 0 = none")
	f.StringVar(&s.Label, "label", "", "a name for the run in its report")
	f.StringVar(&s.Format, "format", s.Format, "text or json")
}

// String is the settings in one line.
func (s DiskSettings) String() string {
	return fmt.Sprintf("open loop %v/s in files of %v, warmup %v, duration %v", s.Rate, s.Size, s.Warmup, s.Duration)
}

// Disk measures what the folder itself allows: create a file, write it, sync it
// and sync the folder, by the clock; then the same as fast as it goes with large
// files. One writer, for concurrent syncs buy latency, not bandwidth.
func Disk(ctx context.Context, s DiskSettings, _ io.Writer) (rep *Report, err error) {
	if s.Dir == "" || s.Size <= 0 || s.Rate <= 0 || s.Duration <= 0 {
		return nil, errors.New("disk needs --dir, and a positive --size, --rate and --duration")
	}
	d, err := openProbe(s.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	m, err := newMeter(nil)
	if err != nil {
		return nil, err
	}
	r := begin(Settings{Warmup: s.Warmup, Duration: s.Duration, Label: s.Label}, nil)
	rep, err = r.during(ctx, m, func(send context.Context) error { return d.paced(send, r, s) })
	if err != nil {
		return nil, err
	}
	rep.Workload, rep.Settings = "disk", s
	for _, size := range []Size{1 << 20, 8 << 20} {
		if s.Bandwidth == 0 {
			break
		}
		n := max(int64(s.Bandwidth/size), 1)
		note, err := d.bandwidth(ctx, m.client, int64(size), n)
		if err != nil {
			return nil, err
		}
		rep.Notes = append(rep.Notes, note)
	}
	return rep, nil
}

// probe is a folder that files are made in.
type probe struct {
	path string
	dir  *os.File
	next int
}

func openProbe(parent string) (*probe, error) {
	path, err := os.MkdirTemp(parent, "karst-bench-")
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return &probe{path: path, dir: dir}, nil
}

func (d *probe) close() error { return errors.Join(d.dir.Close(), os.RemoveAll(d.path)) }

// create makes one durable file.
func (d *probe) create(b []byte) error {
	f, err := os.OpenFile(filepath.Join(d.path, fmt.Sprintf("%09d", d.next)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	d.next++
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return d.dir.Sync()
}

func (d *probe) paced(send context.Context, r *run, s DiskSettings) error {
	content := newText("random", int(s.Size)).bytes[:s.Size]
	// A queue of a minute: the probe must not lose what a stall delays.
	p := &pacer{queue: max(60*int64(s.Rate)/int64(s.Size), 1), grace: time.Minute, schedule: schedule{start: r.began, rate: int64(s.Rate), size: int64(s.Size), step: 1}}
	for {
		due, ok := p.wait(send)
		if !ok {
			now := time.Now()
			p.unsent(now, func(due time.Time) { r.abandoned("unsent", due, now) })
			r.dropped.Add(p.dropped)
			return nil
		}
		if err := d.create(content); err != nil {
			return err
		}
		now := time.Now()
		r.latency(&r.ack, due, now)
		r.moved(now, 1, int64(s.Size), 0)
	}
}

func (d *probe) bandwidth(ctx context.Context, self process, size, n int64) (string, error) {
	content := newText("random", int(size)).bytes[:size]
	first, err := self.sample()
	if err != nil {
		return "", err
	}
	var h Histogram
	for range n {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		begin := time.Now()
		if err := d.create(content); err != nil {
			return "", err
		}
		h.Record(time.Since(begin))
	}
	last, err := self.sample()
	if err != nil {
		return "", err
	}
	u, err := usageBetween(self.pid, first, last, n*size)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("create + fsync of files of %v: %.1f MB/s, p50 %.2f ms, p99 %.2f ms, %.2f CPU-s/GB",
		Size(size), float64(n*size)/1e6/last.at.Sub(first.at).Seconds(), millis(h.Quantile(0.5)), millis(h.Quantile(0.99)), u.CPUPerGB), nil
}
