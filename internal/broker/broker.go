// Package broker is the composition root: it builds one broker from its
// settings, starts its parts in order and stops them in reverse.
//
// The order of start is: stores, metadata, listeners bound, membership (the
// controller is found, or this broker becomes it), incarnation, listeners served.
// Incarnations come and go while the process lives: one that cannot write its log
// ends, and the broker registers anew.
package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/cluster/member"
	"github.com/karst-io/karst/internal/cluster/peer"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/kafka"
	"github.com/karst-io/karst/internal/log/blockcache"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/open"
	"github.com/karst-io/karst/internal/store/probe"
)

// Options are what tests replace.
type Options struct {
	Open   OpenStore // instead of package open
	Listen func(what, addr string) (net.Listener, error)
	Dial   peer.Dial // to other brokers
	Tuning Tuning
	// LogLevel is that of the log given to NewWith; clients may change it. nil:
	// what they change has no effect.
	LogLevel *slog.LevelVar
}

// Tuning is what no setting offers; zero values are the parts' own defaults.
type Tuning struct {
	ReapGrace, SweepDelay        time.Duration
	AdoptBytes                   int64 // slices this large stay in their WAL object
	TermCommits, SnapshotCommits int
	TailBytes, CacheBytes        int64
	CacheBlockBytes              int
	ControllerStall              time.Duration
	PoisonMemory                 bool // use after release shows
}

// Broker is one broker process.
type Broker struct {
	cfg     config.Config
	log     *slog.Logger
	version string
	options Options

	bucket      *bucket
	memory      *chunk.Pool
	cache       *blockcache.Cache
	validator   *record.Validator
	decoder     *record.Decoder
	replica     *metadata.Replica
	controller  *controller.Controller
	member      *member.Member
	peers       *peer.Peers
	credentials *peer.Credentials
	cluster     metadata.Cluster
	self        metadata.Registration
	watchers    *engine.Watchers
	backend     *backend
	groups      *groups
	configs     *configs
	clients     *clientMetrics

	life   atomic.Pointer[life]
	kafkas atomic.Pointer[kafka.Server] // of the first listener
	ready  atomic.Bool
}

// New makes a broker that does not run yet.
func New(cfg config.Config, log *slog.Logger, version string) (*Broker, error) {
	return NewWith(cfg, log, version, Options{})
}

// NewWith is New with parts replaced.
func NewWith(cfg config.Config, log *slog.Logger, version string, o Options) (*Broker, error) {
	if o.Open == nil {
		o.Open = open.Open
	}
	if o.Listen == nil {
		o.Listen = listen
	}
	codecs := record.NewCodecs(record.Limits{})
	watchers := engine.NewWatchers()
	return &Broker{
		cfg: cfg, log: log, version: version, options: o,
		memory:    chunk.New(chunk.Config{IdleBytes: cfg.MemoryBytes / 4, LimitBytes: cfg.MemoryBytes, Poison: o.Tuning.PoisonMemory}),
		validator: record.NewValidator(codecs), decoder: record.NewDecoder(codecs),
		watchers: watchers, backend: &backend{watchers: watchers}, clients: newClientMetrics(),
	}, nil
}

// Run runs the broker until ctx ends, then stops it cleanly and returns nil, or
// until it cannot go on.
func (b *Broker) Run(ctx context.Context) (err error) {
	began := time.Now()
	defer func() {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // asked to stop while starting
		}
	}()
	if b.bucket, err = openBucket(ctx, b.cfg, b.options.Open, b.log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.bucket.Close()) }()
	if err := b.loadMetadata(ctx); err != nil {
		return err
	}
	at, err := b.bind()
	if err != nil {
		return err
	}
	defer func() { _ = at.Close() }() // whoever serves closes first
	b.configs = b.newConfigs(at)
	if err := b.newMember(); err != nil { //nolint:contextcheck // stores that are opened later outlive what asks for them
		return err
	}
	b.cache = blockcache.New(b.bucket, blockcache.Config{
		MemoryBytes: cmp.Or(b.options.Tuning.CacheBytes, b.cfg.MemoryBytes/8), BlockBytes: b.options.Tuning.CacheBlockBytes,
		AheadBytes: int(min(b.cfg.MemoryBytes/64, 16<<20)), Chunks: b.memory,
	})
	defer b.cache.Close()

	// Parts in the order of their start; each has its own end.
	parts := &parts{fail: make(chan error, 16)}
	defer parts.stop()
	if err := b.startHTTP(ctx, parts); err != nil {
		return err
	}
	b.join(ctx, parts, at.peer)
	served := make(chan struct{})
	endLife := parts.start(ctx, "incarnation", func(ctx context.Context) error { return b.live(ctx, sync.OnceFunc(func() { close(served) })) })
	select {
	case <-served:
	case err := <-parts.fail:
		return err
	case <-ctx.Done():
		return nil
	}
	endListeners := b.startListeners(ctx, parts, at)
	b.ready.Store(true)
	b.log.Info("serving", "kafka", at.clients[0].Addr().String(), "advertised", net.JoinHostPort(b.self.Host, fmt.Sprint(b.self.Port)),
		"peer", b.self.Peer, "store", b.bucket.String(), "cluster", b.cluster.ID.String(), "broker", b.member.ID(),
		"version", b.version, "took", time.Since(began).Round(time.Millisecond))
	select {
	case err := <-parts.fail:
		return err
	case <-ctx.Done():
		b.ready.Store(false)
		b.leave(context.WithoutCancel(ctx), endListeners, endLife)
		return nil
	}
}

// leave gives what this broker leads to others, while it still answers clients;
// then it ends the incarnation, and says so. Alone there is nobody to give to, and
// nobody to tell.
func (b *Broker) leave(ctx context.Context, endListeners, endLife func()) {
	if !b.member.Others() {
		return
	}
	wait, cancel := context.WithTimeout(ctx, b.cfg.ShutdownTransfer)
	b.member.Drain(wait)
	cancel()
	time.Sleep(pointing)
	endListeners()
	endLife()
	l := b.life.Load()
	if l == nil {
		return
	}
	told, cancel := context.WithTimeout(ctx, departMax)
	defer cancel()
	if err := b.member.Depart(told, l.self); err != nil {
		b.log.Warn("leaving without a word; the cluster finds out", "err", err)
	}
}

// pointing is how long a broker that gave away what it led stays to point clients
// to who leads it now. One whose connection ends instead has to ask, and some
// clients ask only every few seconds.
const pointing = time.Second

// departMax bounds the good-bye: whoever is not told finds out.
const departMax = 5 * time.Second

// loadMetadata opens the cluster and reads its metadata while the store is
// probed (I16).
func (b *Broker) loadMetadata(ctx context.Context) error {
	loading, giveUp := context.WithCancel(store.WithCaller(ctx, store.CallerMetadata))
	defer giveUp()
	var wg sync.WaitGroup
	var probed error
	wg.Go(func() {
		if probed = b.probe(ctx); probed != nil {
			giveUp() // the metadata log would wait for a better store
		}
	})
	err := func() error {
		cluster, err := metadata.OpenBucket(loading, b.bucket)
		if err != nil {
			return fmt.Errorf("store %s: %w", b.bucket, err)
		}
		b.cluster, b.replica = cluster, metadata.NewReplica(b.bucket, cluster.ID)
		b.groups = &groups{image: b.replica.Image}
		return b.replica.Load(loading)
	}()
	wg.Wait()
	if probed != nil {
		return probed
	}
	if err != nil {
		return err
	}
	if err := b.bucket.wals.follow(ctx, b.replica.Image); err != nil {
		return err // and nothing was fenced yet
	}
	b.replica.Listen(b.observe)
	return nil
}

// probeAttempts is how often a probe that finds nothing out is repeated.
const probeAttempts = 3

// probe refuses a store that would lose data. It has no retries below it, since
// they would hide what it looks for: so what fails, or hangs, is probed again.
func (b *Broker) probe(ctx context.Context) error {
	ctx = store.WithCaller(ctx, store.CallerProbe)
	for _, s := range b.bucket.wals.drivers() {
		var err error
		for range probeAttempts {
			try, cancel := context.WithTimeout(ctx, b.cfg.StoreTimeout)
			err = probe.Run(try, s)
			cancel()
			if err == nil || errors.Is(err, probe.ErrUnfit) || ctx.Err() != nil {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("store %s: %w", s, err)
		}
	}
	return nil
}

// observe takes a commit: the incarnation first, then whoever watches.
func (b *Broker) observe(img *metadata.Image, d *metadata.Delta) {
	if l := b.life.Load(); l != nil {
		l.observe(img, d)
		return
	}
	for _, tp := range d.Partitions {
		b.watchers.Notify(tp)
	}
	if d.Reset {
		b.watchers.NotifyAll()
	}
}

func (b *Broker) startHTTP(ctx context.Context, p *parts) error {
	if b.cfg.HTTP == "" {
		return nil
	}
	l, err := b.options.Listen("http", b.cfg.HTTP)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	b.register(registry)
	s := httpServer(registry, func() error {
		if !b.ready.Load() || b.life.Load() == nil {
			return errors.New("no incarnation is serving")
		}
		return nil
	}, b.cfg.Profiles)
	b.log.Info("health and metrics", "http", l.Addr().String())
	p.start(ctx, "http", func(ctx context.Context) error { return serveHTTP(ctx, s, l) })
	return nil
}

// replaced reports whether the image has a live incarnation of this broker id
// that another process registered after self, our last one.
func (b *Broker) replaced(self karst.Incarnation) bool {
	live, ok := b.replica.Image().LiveBroker(b.member.ID())
	return ok && self != 0 && live.Incarnation > self && live.Process != b.self.Process
}

// live runs one incarnation after the other.
func (b *Broker) live(ctx context.Context, served func()) error {
	var self karst.Incarnation
	for delay := time.Duration(0); ; {
		began := time.Now()
		l, err := b.begin(ctx, self)
		if err == nil {
			self = l.self
			b.log.Info("incarnation begins", "incarnation", self, "broker", b.member.ID())
			b.backend.set(kafka.OfEngine(l.engine))
			b.groups.current.Store(l.groups)
			b.settle(ctx, served)
			err = l.run(ctx)
			b.groups.current.Store(nil)
			b.backend.set(nil)
			b.member.Lead(0)
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, karst.DuplicateBroker.Err()) || errors.Is(err, karst.UnsupportedVersion.Err()) {
			return err
		}
		if b.replaced(self) {
			return errReplaced
		}
		b.life.Store(nil)
		if time.Since(began) > incarnationDelayMax {
			delay = 0
		}
		delay = min(max(2*delay, incarnationDelay), incarnationDelayMax)
		b.log.Error("incarnation ended, registering anew", "err", err, "in", delay)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil
		}
	}
}

// Delays between incarnations.
const (
	incarnationDelay    = 100 * time.Millisecond
	incarnationDelayMax = 10 * time.Second
)

// Memory is the counted memory of the broker. After Run everything is given
// back, unless some part leaks: Close says so.
func (b *Broker) Memory() *chunk.Pool { return b.memory }

// Image is the newest metadata; nil before Run has read it.
func (b *Broker) Image() *metadata.Image {
	if !b.ready.Load() {
		return nil
	}
	return b.replica.Image()
}

// Controls reports whether this broker is the controller. Call it after Run has
// begun to serve.
func (b *Broker) Controls() bool { return b.member.Active() }

// Abandoned says, in words, what a process that ends now leaves undone.
func (b *Broker) Abandoned() string {
	l := b.life.Load()
	if l == nil {
		return "nothing was being written"
	}
	unflushed, segments := l.flusher.Unflushed()
	return fmt.Sprintf("%d bytes not yet acknowledged are lost to their producers' retries, %d acknowledged bytes in %d write-ahead log objects wait for the next start to recover them", l.wal.Pending(), unflushed, segments)
}

// parts are goroutines with names that are stopped in reverse order.
type parts struct {
	fail chan error
	all  []func()
}

// start runs a part; an error of it, or its end before its time, fails all. end
// ends it and waits; it may be called again.
func (p *parts) start(ctx context.Context, name string, run func(ctx context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := run(ctx)
		if ctx.Err() == nil && err == nil {
			err = errors.New("ended by itself")
		}
		if err != nil {
			p.fail <- fmt.Errorf("%s: %w", name, err)
		}
	}()
	end = func() {
		cancel()
		<-ended
	}
	p.all = append(p.all, end)
	return end
}

func (p *parts) stop() {
	for _, v := range slices.Backward(p.all) {
		v()
	}
}
