package broker

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// register registers every metric of the broker.
func (b *Broker) register(r *prometheus.Registry) {
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for url, m := range b.bucket.meters() {
		prometheus.WrapRegistererWith(prometheus.Labels{"store": url}, r).MustRegister(m)
	}
	r.MustRegister(b.clients)
	r.MustRegister(newGroupMetrics(b.groups.stats))
	for _, g := range b.gauges() {
		r.MustRegister(g)
	}
}

// gauges are figures that parts of the broker keep anyway.
func (b *Broker) gauges() []prometheus.Collector {
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "karst", Name: name, Help: help}, read)
	}
	counter := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "karst", Name: name, Help: help}, read)
	}
	living := func(read func(l *life) float64) func() float64 {
		return func() float64 {
			if l := b.life.Load(); l != nil {
				return read(l)
			}
			return 0
		}
	}
	return []prometheus.Collector{
		gauge("controller", "1 while this broker is the controller.", func() float64 {
			if b.member.Active() {
				return 1
			}
			return 0
		}),
		gauge("controller_silence_seconds", "Time since the controller answered this broker.", func() float64 { return b.member.Stats().Silence.Seconds() }),
		counter("metadata_claims_total", "Metadata terms that this broker tried to claim.", func() float64 { return float64(b.member.Stats().Claims) }),
		counter("failovers_total", "Failovers of incarnations that this broker has done as the controller.", func() float64 { return float64(b.member.Stats().Failovers) }),
		counter("handed_over_total", "Partitions handed over to other brokers, by this incarnation.", living(func(l *life) float64 { return float64(l.handedOver.Load()) })),
		gauge("incarnation", "The incarnation that serves, 0 for none.", living(func(l *life) float64 { return float64(l.self) })),
		gauge("wal_pending_bytes", "Bytes appended and not yet acknowledged.", living(func(l *life) float64 { return float64(l.wal.Pending()) })),
		gauge("wal_confirmed_number", "The highest WAL number that is durable with all before it.", living(func(l *life) float64 { return float64(l.wal.Confirmed()) })),
		gauge("unflushed_bytes", "Acknowledged bytes that no flush has covered.", living(func(l *life) float64 {
			n, _ := l.flusher.Unflushed()
			return float64(n)
		})),
		gauge("unflushed_segments", "WAL segments that no flush has covered.", living(func(l *life) float64 {
			_, n := l.flusher.Unflushed()
			return float64(n)
		})),
		gauge("tail_bytes", "Memory of WAL segments kept for readers.", living(func(l *life) float64 { return float64(l.engine.TailBytes()) })),
		gauge("chunk_bytes", "Counted memory in use.", func() float64 { return float64(b.memory.InUse()) }),
		gauge("partitions", "Partitions of the cluster.", func() float64 { return float64(b.replica.Image().PartitionCount()) }),
		gauge("metadata_term", "The term of the newest commit.", func() float64 { return float64(b.replica.Image().Position().Term) }),
		gauge("metadata_number", "The number of the newest commit in its term.", func() float64 { return float64(b.replica.Image().Position().Number) }),
		counter("flush_bytes_rewritten_total", "Bytes of batches written again into shared segments, by this incarnation.", living(func(l *life) float64 { return float64(l.flusher.Stats().BytesRewritten) })),
		counter("flush_bytes_adopted_total", "Bytes of batches left in their WAL object, by this incarnation.", living(func(l *life) float64 { return float64(l.flusher.Stats().BytesAdopted) })),
		counter("flush_commits_total", "Flush commits, by this incarnation.", living(func(l *life) float64 { return float64(l.flusher.Stats().Commits) })),
		counter("reap_deleted_total", "Objects deleted, by this incarnation.", living(func(l *life) float64 { return float64(l.reaper.Stats().Deleted) })),
		counter("reap_failures_total", "Failures of the store while collecting, by this incarnation.", living(func(l *life) float64 { return float64(l.reaper.Stats().Failures) })),
		counter("cache_hits_total", "Blocks found in the block cache.", func() float64 { return float64(b.cache.Stats().Hits) }),
		counter("cache_misses_total", "Blocks read from the store.", func() float64 { return float64(b.cache.Stats().Misses) }),
		gauge("cache_bytes", "Memory of the block cache.", func() float64 { return float64(b.cache.Stats().UsedBytes) }),
		counter("hedges_total", "Second attempts of slow store requests.", func() float64 {
			if b.bucket.data.hedge == nil {
				return 0
			}
			return float64(b.bucket.data.hedge.Counts().Hedges)
		}),
	}
}

// clientMetrics counts what happens on the listener (kafka.Metrics).
type clientMetrics struct {
	count       atomic.Int64 // requests answered
	requests    *prometheus.CounterVec
	latency     *prometheus.HistogramVec
	bytes       *prometheus.CounterVec
	connections prometheus.Gauge
	refused     *prometheus.CounterVec
}

func newClientMetrics() *clientMetrics {
	return &clientMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "karst", Name: "requests_total", Help: "Requests answered, by API and first Kafka error."}, []string{"api", "error"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "karst", Name: "request_seconds", Help: "From a request's last byte to its answer's.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"api"}),
		bytes:       prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "karst", Name: "request_bytes_total", Help: "Bytes of requests and responses."}, []string{"api", "direction"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "karst", Name: "connections", Help: "Open connections."}),
		refused:     prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "karst", Name: "connections_refused_total", Help: "Connections closed for what the client did."}, []string{"reason"}),
	}
}

func (m *clientMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.latency, m.bytes, m.connections, m.refused}
}

// Describe implements prometheus.Collector.
func (m *clientMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *clientMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}

// Answered implements kafka.Metrics.
func (m *clientMetrics) Answered(key, _, code int16, took time.Duration, in, out int64) {
	m.count.Add(1)
	api := kmsg.NameForKey(key)
	m.requests.WithLabelValues(api, strconv.Itoa(int(code))).Inc()
	m.latency.WithLabelValues(api).Observe(took.Seconds())
	m.bytes.WithLabelValues(api, "in").Add(float64(in))
	m.bytes.WithLabelValues(api, "out").Add(float64(out))
}

// Connections implements kafka.Metrics.
func (m *clientMetrics) Connections(delta int) { m.connections.Add(float64(delta)) }

// Refused implements kafka.Metrics.
func (m *clientMetrics) Refused(reason string) { m.refused.WithLabelValues(reason).Inc() }
