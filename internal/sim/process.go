package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
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

	Host string // its name in the network: no two processes share one, though they may an address

	rival  bool // another one was alive at its start: they may depose each other
	w      *World
	at     string // where clients connect
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // why it ended; after ended
	dialed ends

	mu        sync.Mutex
	listeners map[string]*listener // by what they are for
	doomed    bool                 // crashed or told to stop: its end is no surprise
}

// What a process listens for, as package broker calls it.
const (
	forClients = "listen"
	forPeers   = "peer.listen" // Cut: its connections to others, too
)

// listen is the process's listener of one kind.
func (p *Process) listen(what, at string) (*listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doomed {
		return nil, net.ErrClosed
	}
	if p.listeners[what] == nil {
		p.listeners[what] = p.w.Network.Listen(p, at)
	}
	return p.listeners[what], nil
}

// dial connects the process to an address. One that is cut off waits for ever.
func (p *Process) dial(ctx context.Context, at string) (net.Conn, error) {
	c, err := p.w.Network.Dial(ctx, p.Host, at)
	if err != nil {
		return nil, err
	}
	added := p.dialed.add(c)
	if added && !p.isDoomed() {
		return c, nil
	}
	_ = c.Close()
	if added {
		return nil, net.ErrClosed
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// connections are all it has of the kinds, of every kind for none.
func (p *Process) connections(kinds ...string) []*ends {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*ends
	for what, l := range p.listeners {
		if len(kinds) == 0 || slices.Contains(kinds, what) {
			all = append(all, &l.ends)
		}
	}
	if len(kinds) == 0 || slices.Contains(kinds, forPeers) {
		all = append(all, &p.dialed)
	}
	return all
}

// Reset breaks all connections of the process.
func (p *Process) Reset() {
	for _, e := range p.connections() {
		e.Reset()
	}
}

// Cut takes the process from the network, or from its clients or its peers alone.
// It goes on.
func (p *Process) Cut(kinds ...string) {
	for _, e := range p.connections(kinds...) {
		e.Cut()
	}
}

// unplug ends what it listens at and is connected to.
func (p *Process) unplug() {
	p.mu.Lock()
	all := slices.Collect(maps.Values(p.listeners))
	p.mu.Unlock()
	for _, l := range all {
		_ = l.Close()
	}
	p.Reset()
}

// replaced reports whether a process may have ended with err because a rival
// registered its id anew: of two that were started one after the other, either may
// turn out to be the newer one.
func (p *Process) replaced(err error) bool {
	says := fmt.Sprint(err)
	return p.rival && (strings.Contains(says, "another process has registered") || strings.Contains(says, "is already running on this bucket"))
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

// peerAddress is where it answers other brokers.
func peerAddress(id karst.BrokerID) string { return fmt.Sprintf("karst-%d:9093", id) }

// Start starts a broker process with faults of its own, which takes the place of
// another one with its id even if that lives.
func (w *World) Start(id karst.BrokerID, rules ...faults.Rule) *Process {
	return w.launch(id, true, rules...)
}

func (w *World) launch(id karst.BrokerID, takeOver bool, rules ...faults.Rule) *Process {
	cfg := w.Config
	cfg.BrokerID, cfg.Listen, cfg.Advertise, cfg.HTTP, cfg.TakeOver = id, address(id), address(id), "", takeOver
	cfg.PeerListen, cfg.PeerAdvertise = peerAddress(id), peerAddress(id)
	rival := slices.ContainsFunc(w.alive(), func(p *Process) bool { return p.at == address(id) })
	w.mu.Lock()
	w.started++
	n := w.started
	w.mu.Unlock()
	p := &Process{
		rival: rival, w: w, at: address(id), Host: fmt.Sprintf("karst-%d.%d", id, n), listeners: map[string]*listener{},
		Store: faults.New(bucket{w.Bucket, &w.got}, w.Seed*1000+uint64(n), rules...),
		Name:  fmt.Sprintf("broker %d, process %d", id, n), ended: make(chan struct{}),
	}
	options := broker.Options{
		Tuning: w.Tuning,
		Open:   func(context.Context, string) (store.Store, error) { return remote{p.Store}, nil },
		Listen: func(what, at string) (net.Listener, error) { return p.listen(what, at) },
		Dial:   func(ctx context.Context, _, at string) (net.Conn, error) { return p.dial(ctx, at) },
	}
	var err error
	log := slog.New(slog.NewTextHandler(&prefixed{w: w.Log, start: w.start, name: p.Name}, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: noTime}))
	if p.Broker, err = broker.NewWith(cfg, log, "sim", options); err != nil {
		panic("BUG: " + err.Error())
	}
	if _, err := p.listen(forClients, p.at); err != nil { // clients may come before it serves
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
		p.unplug()
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
	p.unplug()
	p.cancel()
}

// Stop asks the process to end cleanly, as SIGTERM does, and waits.
func (p *Process) Stop() error {
	p.doom()
	p.cancel()
	<-p.ended
	return p.err
}

// StopWithin is Stop, and kills the process if that takes longer, as whoever runs
// brokers does. It reports whether it ended by itself.
func (p *Process) StopWithin(d time.Duration) bool {
	p.doom()
	p.cancel()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.ended:
		return true
	case <-t.C:
		p.Crash()
		<-p.ended
		return false
	}
}

// Wait waits until the process has ended.
func (p *Process) Wait() error {
	<-p.ended
	return p.err
}

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
	cfg.SessionTimeout, cfg.PlacementDelay = 2500*time.Millisecond, time.Second
	cfg.OffsetsPartitions, cfg.GroupInitialDelay, cfg.OffsetsCheck = 2, 500*time.Millisecond, 24*time.Hour
	return cfg, broker.Tuning{
		ReapGrace: time.Second, SweepDelay: 5 * time.Second, AdoptBytes: 8 << 10,
		TermCommits: 40, SnapshotCommits: 12, TailBytes: 128 << 10, CacheBytes: 256 << 10, CacheBlockBytes: 16 << 10,
		PoisonMemory: true,
	}
}
