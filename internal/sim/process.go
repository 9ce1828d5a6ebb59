package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/broker"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
)

// Process is one broker process.
type Process struct {
	Broker *broker.Broker
	Store  *faults.Store // between it and the bucket
	Name   string        // its id and which process of that id

	rival    bool // another one was alive at its start: they may depose each other
	listener *listener
	cancel   context.CancelFunc
	ended    chan struct{}
	err      error // why it ended; after ended

	mu     sync.Mutex
	doomed bool // crashed or told to stop: its end is no surprise
}

// replaced reports whether a process may have ended with err because a rival
// registered its id anew: of two that were started one after the other, either may
// turn out to be the newer one.
func (p *Process) replaced(err error) bool {
	return p.rival && strings.Contains(fmt.Sprint(err), "another process has registered")
}

// bucket copies what it is given: a bucket in memory may keep a broker's own
// memory instead, and this one outlives brokers. It counts the bytes read.
type bucket struct {
	*mem.Store
	read *atomic.Int64
}

// Get implements store.Reader.
func (b bucket) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	n, err := b.Store.Get(ctx, name, off, p)
	b.read.Add(int64(n))
	return n, err
}

func copied(b store.Body) store.Body {
	return store.Bytes(bytes.Join(b.Parts, nil))
}

// Create implements store.Creator.
func (b bucket) Create(ctx context.Context, name string, body store.Body) error {
	return b.Store.Create(ctx, name, copied(body))
}

// Put implements store.Writer.
func (b bucket) Put(ctx context.Context, name string, body store.Body) error {
	return b.Store.Put(ctx, name, copied(body))
}

// remote makes a bucket in memory pass for one that is far away: uploads are
// spaced, overlap, and are hedged.
type remote struct{ *faults.Store }

func (remote) String() string { return "s3://sim" }

// address is where the broker of an id listens.
func address(id karst.BrokerID) string { return fmt.Sprintf("karst-%d:9092", id) }

// Start starts a broker process with faults of its own.
func (w *World) Start(id karst.BrokerID, rules ...faults.Rule) *Process {
	cfg := w.Config
	cfg.BrokerID, cfg.Listen, cfg.Advertise, cfg.HTTP, cfg.TakeOver = id, address(id), address(id), "", true
	rival := len(w.alive()) > 0
	w.mu.Lock()
	w.started++
	n := w.started
	w.mu.Unlock()
	p := &Process{
		rival: rival,
		Store: faults.New(bucket{w.Bucket, &w.got}, w.Seed*1000+uint64(n), rules...),
		Name:  fmt.Sprintf("broker %d, process %d", id, n), ended: make(chan struct{}),
	}
	p.listener = w.Network.Listen(address(id))
	options := broker.Options{
		Tuning: w.Tuning,
		Open:   func(context.Context, string) (store.Store, error) { return remote{p.Store}, nil },
		Listen: func(string, string) (net.Listener, error) { return p.listener, nil },
	}
	var err error
	log := slog.New(slog.NewTextHandler(&prefixed{w: w.Log, start: w.start, name: p.Name}, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: noTime}))
	if p.Broker, err = broker.NewWith(cfg, log, "sim", options); err != nil {
		panic("BUG: " + err.Error())
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	w.mu.Lock()
	w.processes = append(w.processes, p)
	w.mu.Unlock()
	w.wg.Go(func() {
		defer close(p.ended)
		p.err = p.Broker.Run(ctx)
		p.listener.Close()
		p.listener.Reset()
		if leak := p.Broker.Memory().Close(); leak != nil {
			w.Report(Finding{Kind: Leak, Text: fmt.Sprintf("%s: %v", p.Name, leak)})
		}
		if p.err != nil && !p.isDoomed() {
			w.note("%s ended: %v", p.Name, p.err)
		}
	})
	return p
}

func noTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// prefixed puts virtual time and name before each line.
type prefixed struct {
	w     io.Writer
	start time.Time
	name  string
}

func (p *prefixed) Write(b []byte) (int, error) {
	if p.w == nil {
		return len(b), nil
	}
	fmt.Fprintf(p.w, "%9.3fs [%s] %s", time.Since(p.start).Seconds(), p.name, b)
	return len(b), nil
}

func (p *Process) doom() {
	p.mu.Lock()
	p.doomed = true
	p.mu.Unlock()
}

func (p *Process) isDoomed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doomed
}

// Alive reports whether the process runs and was not told to end.
func (p *Process) Alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return !p.isDoomed()
	}
}

// Crash ends the process as kill -9 and a power cut do: its connections break,
// it does nothing any more, and what it had sent to the store happens later, or
// never.
func (p *Process) Crash() {
	p.doom()
	p.Store.Crash()
	_ = p.listener.Close()
	p.listener.Reset()
	p.cancel()
}

// Stop asks the process to end cleanly, as SIGTERM does, and waits.
func (p *Process) Stop() error {
	p.doom()
	p.cancel()
	<-p.ended
	return p.err
}

// Wait waits until the process has ended.
func (p *Process) Wait() error {
	<-p.ended
	return p.err
}

// Cut takes the process from its clients. It goes on.
func (p *Process) Cut() { p.listener.Cut() }

// defaults are settings for small worlds: everything happens within a minute.
func defaults() (config.Config, broker.Tuning) {
	cfg, err := config.Load(config.Source{})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	cfg.Store = "mem://sim"
	cfg.MemoryBytes = 16 << 20
	cfg.WALMinInterval, cfg.WALInflight, cfg.WALBatchBytes = 25*time.Millisecond, 16, 64<<10
	cfg.WALStallTimeout = 15 * time.Second
	cfg.FlushBytes, cfg.FlushInterval = 64<<10, 2*time.Second
	cfg.RetentionCheck, cfg.SweepInterval = 3*time.Second, 10*time.Second
	cfg.AutoCreateTopics = false
	cfg.OffsetsPartitions, cfg.GroupInitialDelay, cfg.OffsetsCheck = 2, 500*time.Millisecond, 24*time.Hour
	return cfg, broker.Tuning{
		ReapGrace: time.Second, SweepDelay: 5 * time.Second, AdoptBytes: 8 << 10,
		TermCommits: 40, SnapshotCommits: 12, TailBytes: 128 << 10, CacheBytes: 256 << 10, CacheBlockBytes: 16 << 10,
		PoisonMemory: true,
	}
}
