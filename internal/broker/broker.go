// Package broker is the composition root: it builds one broker from its
// settings, starts its parts in order and stops them in reverse.
//
// The order of start is: stores, metadata, listener bound, controller,
// incarnation (register, fence, seal, adopt), listener served. Incarnations come
// and go while the process lives: one that cannot write its log ends, and the
// next takes over what it left.
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
	"github.com/karst-io/karst/internal/cluster/failover"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/kafka"
	"github.com/karst-io/karst/internal/log/blockcache"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/objlog"
	"github.com/karst-io/karst/internal/store/open"
	"github.com/karst-io/karst/internal/store/probe"
)

// Options are what tests replace.
type Options struct {
	Open   OpenStore // instead of package open
	Listen func(what, addr string) (net.Listener, error)
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

	bucket     *bucket
	memory     *chunk.Pool
	cache      *blockcache.Cache
	validator  *record.Validator
	decoder    *record.Decoder
	replica    *metadata.Replica
	controller *controller.Controller
	watchers   *engine.Watchers
	backend    *backend
	groups     *groups
	configs    *configs
	clients    *clientMetrics
	host       string // advertised
	port       int32

	life  atomic.Pointer[life]
	mine  identity
	ready atomic.Bool
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
	clients, err := b.options.Listen("listen", b.cfg.Listen)
	if err != nil {
		return err
	}
	defer clients.Close()
	if b.host, b.port, err = advertised(b.cfg, clients.Addr()); err != nil {
		return fmt.Errorf("advertise: %w", err)
	}
	b.configs = b.newConfigs(clients.Addr())
	b.cache = blockcache.New(b.bucket, blockcache.Config{
		MemoryBytes: cmp.Or(b.options.Tuning.CacheBytes, b.cfg.MemoryBytes/8), BlockBytes: b.options.Tuning.CacheBlockBytes,
		AheadBytes: int(min(b.cfg.MemoryBytes/64, 16<<20)), Chunks: b.memory,
	})
	defer b.cache.Close()

	// Parts in the order of their start; each has its own end.
	parts := &parts{fail: make(chan error, 8)}
	defer parts.stop()
	if err := b.startHTTP(ctx, parts); err != nil {
		return err
	}
	if err := b.startController(ctx, parts); err != nil {
		return err
	}
	served := make(chan struct{})
	parts.start(ctx, "incarnation", func(ctx context.Context) error { return b.live(ctx, sync.OnceFunc(func() { close(served) })) })
	select {
	case <-served:
	case err := <-parts.fail:
		return err
	case <-ctx.Done():
		return nil
	}
	parts.start(ctx, "listener", func(ctx context.Context) error { return b.server().Run(ctx, clients) })
	b.ready.Store(true)
	b.log.Info("serving", "kafka", clients.Addr().String(), "advertised", net.JoinHostPort(b.host, fmt.Sprint(b.port)),
		"store", b.bucket.String(), "cluster", b.replica.Image().Cluster().String(), "broker", b.cfg.BrokerID,
		"version", b.version, "took", time.Since(began).Round(time.Millisecond))
	select {
	case err := <-parts.fail:
		return err
	case <-ctx.Done():
		b.ready.Store(false)
		return nil
	}
}

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
		cluster, err := metadata.OpenCluster(loading, b.bucket)
		if err != nil {
			return fmt.Errorf("store %s: %w", b.bucket, err)
		}
		b.replica = metadata.NewReplica(b.bucket, cluster)
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
	if !b.cfg.TakeOver {
		if err := alone(ctx, b.replica.Image(), b.cfg.BrokerID); err != nil {
			return err
		}
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

// startController takes the metadata over and keeps it.
func (b *Broker) startController(ctx context.Context, p *parts) error {
	b.controller = controller.New(controller.Config{
		Broker: b.cfg.BrokerID, Host: b.host,
		Partitions: b.cfg.Partitions, ReplicationFactor: b.cfg.ReplicationFactor,
		StallTimeout: b.options.Tuning.ControllerStall, TermCommits: b.options.Tuning.TermCommits, SnapshotCommits: b.options.Tuning.SnapshotCommits,
		ValidateConfigs: b.configs.validate, ListConfig: b.configs.list, Log: b.log,
	}, b.replica, b.bucket)
	b.configs.controller = b.controller
	p.start(ctx, "controller", b.hold)
	return nil
}

// hold holds the metadata log, and claims it again when it was lost. Before it
// does, it reads who took it: a process that stood still for a while would
// otherwise fence the one that replaced it.
func (b *Broker) hold(ctx context.Context) error {
	for delay := electionDelay; ; delay = min(2*delay, electionDelayMax) {
		began := time.Now()
		err := b.controller.Run(ctx)
		if time.Since(began) > electionDelayMax {
			delay = electionDelay // what was lost long ago does not count
		}
		for err != nil && ctx.Err() == nil {
			b.log.Warn("lost the metadata log, claiming it again", "err", err, "in", delay)
			if err = b.replica.CatchUp(store.WithCaller(ctx, store.CallerMetadata)); err == nil && b.replaced() {
				return errReplaced
			}
			select {
			case <-time.After(delay):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// Delays between claims of the metadata log: they double, so that two brokers
// do not take it from each other for ever.
const (
	electionDelay    = 250 * time.Millisecond
	electionDelayMax = 30 * time.Second
)

// replaced reports whether the image has a live incarnation of this broker id
// that another process registered after ours.
func (b *Broker) replaced() bool {
	live, ok := b.replica.Image().LiveBroker(b.cfg.BrokerID)
	return ok && b.mine.replacedBy(live, b.host, b.port)
}

// live runs one incarnation after the other.
func (b *Broker) live(ctx context.Context, served func()) error {
	for delay := time.Duration(0); ; {
		began := time.Now()
		l, err := b.begin(ctx)
		if err == nil {
			b.log.Info("incarnation begins", "incarnation", l.self, "partitions", b.replica.Image().LeadCount(l.self))
			b.backend.set(kafka.OfEngine(l.engine))
			b.groups.current.Store(l.groups)
			served()
			err = l.run(ctx)
			b.groups.current.Store(nil)
			b.backend.set(nil)
		}
		if ctx.Err() != nil {
			return nil
		}
		if b.replaced() {
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

func (b *Broker) failoverDeps(self karst.Incarnation) failover.Deps {
	return failover.Deps{
		Controller: b.controller, Image: b.replica.Image,
		WAL: func(s *metadata.BrokerState) (objlog.Store, error) {
			return b.bucket.wals.storeOf(s.Incarnation)
		},
		Place:  func(*metadata.Image, *metadata.PartitionState) karst.Incarnation { return self },
		Sealer: self, Log: b.log,
	}
}

// server is the Kafka listener.
func (b *Broker) server() *kafka.Server {
	return kafka.New(kafka.Config{
		Broker: b.cfg.BrokerID, RequestBytesMax: b.cfg.RequestMaxBytes, InboundBytes: b.cfg.MemoryBytes / 8, ColdBytes: b.cfg.MemoryBytes / 8,
		IdleMax: b.cfg.ConnectionsIdleMax, ConnectionsMax: b.cfg.ConnectionsMax, ConnectionsPerIP: b.cfg.ConnectionsMaxPerIP,
		AutoCreateTopics: b.cfg.AutoCreateTopics, DeleteTopics: b.cfg.DeleteTopics,
		OffsetsPartitions: b.cfg.OffsetsPartitions, LogDir: b.bucket.data.driver.String(),
	}, kafka.Deps{
		Logger: b.log, Images: b.replica, Topics: b.controller, Configs: b.configs,
		Producers: newProducerIDs(b.controller.AllocateProducerIDs),
		Data:      b.backend, Groups: b.groups, Memory: b.memory, Metrics: b.clients,
	})
}

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

// start runs a part; an error of it, or its end before its time, fails all.
func (p *parts) start(ctx context.Context, name string, run func(ctx context.Context) error) {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
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
	p.all = append(p.all, func() {
		end()
		<-ended
	})
}

func (p *parts) stop() {
	for _, v := range slices.Backward(p.all) {
		v()
	}
}
