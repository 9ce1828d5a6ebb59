package kafka

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/config/broker"
	"github.com/karst-io/karst/internal/coordinator/group"
	"github.com/karst-io/karst/internal/metadata"
)

// Config is what can be set on a listener. A zero number means the default.
type Config struct {
	Broker karst.BrokerID // the node id clients know this broker by
	// Listener is the name of the listener that is served: clients are told the
	// addresses of those of that name. "" when it is the only one.
	Listener string
	LogDir   string // the bucket's URL without secrets, which clients see as the log directory

	RequestBytesMax  int64         // socket.request.max.bytes: larger frames close the connection; 100 MiB
	InboundBytes     int64         // queued.max.request.bytes: frames of records in memory, all connections; 256 MiB
	ColdBytes        int64         // what fetches read from segments and clients have not taken yet; 128 MiB
	PipelineMax      int           // requests applied and not answered, per connection; 64
	PipelineBytes    int64         // bytes of their frames, per connection; 64 MiB (one frame may exceed it)
	IdleMax          time.Duration // connections.max.idle.ms; 10 minutes
	FrameTimeout     time.Duration // from a frame's size to its last byte; 30 s, and 8 s for each MiB
	WriteTimeout     time.Duration // for each MiB of a response to be taken by the client; 30 s
	DrainTimeout     time.Duration // for responses in flight when Run's context ends; 5 s
	ConnectionsMax   int           // max.connections; 20,000
	ConnectionsPerIP int           // max.connections.per.ip; no bound of its own

	AutoCreateTopics bool // auto.create.topics.enable
	DeleteTopics     bool // delete.topic.enable

	OffsetsPartitions int32 // offsets.topic.num.partitions, when the topic is created; 50
}

func orDefault[T int | int32 | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

func (cfg Config) withDefaults() Config {
	orDefault(&cfg.RequestBytesMax, 100<<20)
	orDefault(&cfg.InboundBytes, 256<<20)
	orDefault(&cfg.ColdBytes, 128<<20)
	orDefault(&cfg.PipelineMax, 64)
	orDefault(&cfg.PipelineBytes, 64<<20)
	orDefault(&cfg.IdleMax, 10*time.Minute)
	orDefault(&cfg.FrameTimeout, 30*time.Second)
	orDefault(&cfg.WriteTimeout, 30*time.Second)
	orDefault(&cfg.DrainTimeout, 5*time.Second)
	orDefault(&cfg.ConnectionsMax, 20_000)
	orDefault(&cfg.ConnectionsPerIP, cfg.ConnectionsMax)
	orDefault(&cfg.OffsetsPartitions, 50)
	return cfg
}

// Images gives the newest metadata.
type Images interface {
	Image() *metadata.Image
}

// Deps is what a listener needs of the rest of the broker.
type Deps struct {
	Logger    *slog.Logger
	Images    Images
	Topics    Topics
	Configs   Configs
	Producers ProducerIDs
	Data      Log
	Groups    group.Service // nil: groups are not served
	Memory    *chunk.Pool   // frames lie in it
	Metrics   Metrics       // optional
	// Controller executes what changes metadata; nil: this broker does.
	Controller Controller
}

// Metrics is told what happens on the listener. Its methods must not block.
type Metrics interface {
	// Answered is called for each request, when its response has been written, or
	// when there is none. code is the first Kafka error in it, 0 for none.
	Answered(key, version, code int16, took time.Duration, in, out int64)
	// Connections says that delta connections were opened or closed.
	Connections(delta int)
	// Refused says that a connection was closed for what the client did. reason is
	// one of few: it has no figures.
	Refused(reason string)
}

type noMetrics struct{}

func (noMetrics) Answered(_, _, _ int16, _ time.Duration, _, _ int64) {}
func (noMetrics) Connections(int)                                     {}
func (noMetrics) Refused(string)                                      {}

// Server serves the Kafka protocol on one listener.
type Server struct {
	cfg       Config
	deps      Deps
	table     []API
	apis      map[int16]API
	memory    *frameMemory
	encodings sync.Pool     // of *Encoding
	draining  chan struct{} // closed when Run's context has ended
	autos     *autoCreations
	records   *records // of the data APIs

	mu    sync.Mutex
	conns map[*Conn]struct{}
	perIP map[string]int
}

// New makes a server that does not run yet.
func New(cfg Config, deps Deps) *Server {
	cfg = cfg.withDefaults()
	if deps.Metrics == nil {
		deps.Metrics = noMetrics{}
	}
	s := &Server{
		cfg:      cfg,
		deps:     deps,
		table:    APIs(),
		apis:     map[int16]API{},
		memory:   newFrameMemory(deps.Memory, cfg.InboundBytes),
		draining: make(chan struct{}),
		conns:    map[*Conn]struct{}{},
		perIP:    map[string]int{},
		autos:    newAutoCreations(),
		records:  newRecords(deps.Data, deps.Images, cfg.Broker, cfg.ColdBytes),
	}
	s.encodings.New = newEncoding
	s.records.listener = cfg.Listener
	if deps.Logger != nil {
		s.records.logger = deps.Logger
	}
	if deps.Groups == nil {
		s.table = slices.DeleteFunc(s.table, func(a API) bool {
			return slices.ContainsFunc(groupAPIs(), func(g API) bool { return g.Key == a.Key })
		})
	}
	for _, a := range s.table {
		s.apis[a.Key] = a
	}
	return s
}

// Run accepts connections from l until ctx ends or l fails. It closes l, lets
// the responses in flight go out within DrainTimeout, and returns when all its
// goroutines have ended. A Server runs once.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	serving, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(errStopping)
	var conns, creations sync.WaitGroup
	creations.Go(func() { s.autos.run(serving, s.deps, s.autoSpec) })
	unhook := context.AfterFunc(ctx, func() { _ = l.Close() })

	err := s.accept(ctx, serving, l, &conns)

	unhook()
	_ = l.Close()
	close(s.draining)
	for _, c := range s.open() {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
	timer := time.AfterFunc(s.cfg.DrainTimeout, func() { cancel(errStopping) })
	conns.Wait()
	timer.Stop()
	cancel(errStopping)
	creations.Wait()
	s.records.close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// acceptPause is how long accepting rests after an error that may pass, such as
// too many open files.
const acceptPause = 100 * time.Millisecond

// accept accepts connections until ctx ends or l fails for good.
func (s *Server) accept(ctx, serving context.Context, l net.Listener, conns *sync.WaitGroup) error {
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			s.deps.Logger.Warn("kafka: accepting a connection failed", slog.Any("error", err))
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		c := newConn(s, nc)
		if err := s.enter(c); err != nil {
			c.report(err)
			_ = nc.Close()
			continue
		}
		conns.Go(func() {
			defer s.leave(c)
			c.serve(serving)
		})
	}
}

// enter registers a connection, or says why there is no place for it.
func (s *Server) enter(c *Conn) error {
	ip := host(c.nc)
	most, perIP := s.connectionsMax(ip)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.conns) >= most:
		return refused("too many connections")
	case s.perIP[ip] >= perIP:
		return refused("too many connections from this address")
	}
	s.conns[c] = struct{}{}
	s.perIP[ip]++
	s.deps.Metrics.Connections(1)
	return nil
}

// connectionsMax are the bounds of the settings, or what was set while the broker
// ran: they count for the connections that come then.
func (s *Server) connectionsMax(ip string) (all, perIP int) {
	layers := s.deps.Configs.Layers(s.deps.Images.Image())
	all, perIP = s.cfg.ConnectionsMax, s.cfg.ConnectionsPerIP
	if n, ok := layers.Changed("max.connections"); ok {
		all = int(n)
	}
	if n, ok := layers.Changed("max.connections.per.ip"); ok {
		perIP = int(n)
	}
	overrides, err := brokerconfig.PerIP(layers.Get("max.connections.per.ip.overrides"))
	addr, unknown := netip.ParseAddr(ip)
	if n, ok := overrides[addr.Unmap()]; ok && err == nil && unknown == nil {
		perIP = n
	}
	return all, perIP
}

func (s *Server) leave(c *Conn) {
	ip := host(c.nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.perIP[ip]--; s.perIP[ip] == 0 {
		delete(s.perIP, ip)
	}
	s.deps.Metrics.Connections(-1)
}

// open lists the open connections.
func (s *Server) open() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns))
}

// host is the client's address without its port.
func host(nc net.Conn) string {
	addr := nc.RemoteAddr().String()
	if h, _, err := net.SplitHostPort(addr); err == nil {
		return h
	}
	return addr
}
