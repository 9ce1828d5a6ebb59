package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Setting is one row of the table.
type Setting struct {
	Name    string // in dots
	Default string
	Meta    string // what the value is, for help
	Doc     string // one sentence
	set     func(c *Config, v string) error
}

// Flag is the setting's name on the command line.
func (s Setting) Flag() string { return s.Name }

// Env is the setting's name in the environment.
func (s Setting) Env() string {
	return "KARST_" + strings.ToUpper(strings.ReplaceAll(s.Name, ".", "_"))
}

// Table is all settings, in the order of the reference.
func Table() []Setting {
	all := addresses()
	all = append(all, storage()...)
	all = append(all, topics()...)
	all = append(all, groups()...)
	return append(all, connections()...)
}

func addresses() []Setting {
	return []Setting{
		{"store", "file://karst-data", "URL", "The bucket: file://FOLDER, s3://BUCKET/PREFIX?region=…, or mem:// (lost at exit).", text(func(c *Config) *string { return &c.Store })},
		{"wal", "", "URL", "A separate, faster store for the write-ahead log, for instance an S3 Express bucket; empty: the same as store.", text(func(c *Config) *string { return &c.WAL })},
		{"listen", ":9092", "HOST:PORT", "Where Kafka clients connect; several listeners by name as NAME://HOST:PORT,…", text(func(c *Config) *string { return &c.Listen })},
		{"advertise", "", "HOST:PORT", "The address clients are told to connect to, for several listeners as NAME://HOST:PORT,…; empty: the host of listen, or this machine's name.", text(func(c *Config) *string { return &c.Advertise })},
		{"http", "", "HOST:PORT", "Serves /healthz, /readyz and /metrics; empty: off.", text(func(c *Config) *string { return &c.HTTP })},
		{"http.pprof", "false", "BOOL", "Serves Go profiles below /debug/pprof/ on the http address, for whoever can reach it.", toggle(func(c *Config) *bool { return &c.Profiles })},
		{"broker.id", "auto", "NUMBER", "The Kafka node id; auto: the lowest one that no running broker has.", brokerID},
		{"broker.rack", "", "NAME", "The zone this broker runs in.", text(func(c *Config) *string { return &c.Rack })},
		{"broker.takeover", "false", "BOOL", "Start although the broker registered under this id still answers; it is fenced.", toggle(func(c *Config) *bool { return &c.TakeOver })},
		{"broker.session.timeout", "6s", "DURATION", "A broker that says nothing for so long is dead; one whose process is gone is so at once.", duration(func(c *Config) *time.Duration { return &c.SessionTimeout }, 500*time.Millisecond, 10*time.Minute)},
		{"broker.placement.delay", "2s", "DURATION", "When a whole cluster starts, partitions wait so long for the broker that had them.", duration(func(c *Config) *time.Duration { return &c.PlacementDelay }, time.Millisecond, time.Hour)},
		{"broker.shutdown.transfer", "15s", "DURATION", "A broker that is told to stop waits at most so long for others to take its partitions.", duration(func(c *Config) *time.Duration { return &c.ShutdownTransfer }, 0, time.Hour)},
		{"peer.listen", "", "HOST:PORT", "Where other brokers connect; empty: a free port of the host of listen.", text(func(c *Config) *string { return &c.PeerListen })},
		{"peer.advertise", "", "HOST:PORT", "The address other brokers are told; empty: the host clients are told, and the port of peer.listen.", text(func(c *Config) *string { return &c.PeerAdvertise })},
		{"peer.secret", "", "TEXT", "What brokers prove to each other, at least 16 bytes; empty: a secret that lies in the bucket.", text(func(c *Config) *string { return &c.PeerSecret })},
		{"peer.tls.certificate", "", "FILE", "Mutual TLS between brokers with certificates of your own: this broker's, PEM, good for client and server.", text(func(c *Config) *string { return &c.PeerCertificate })},
		{"peer.tls.key", "", "FILE", "The key of peer.tls.certificate, PEM.", text(func(c *Config) *string { return &c.PeerKey })},
		{"peer.tls.authorities", "", "FILE", "Who signs the certificates of brokers, PEM.", text(func(c *Config) *string { return &c.PeerAuthorities })},
		{"log.level", "info", "LEVEL", "debug, info, warn or error.", choice(func(c *Config) *string { return &c.LogLevel }, "debug", "info", "warn", "error")},
		{"log.format", "text", "FORMAT", "text or json.", choice(func(c *Config) *string { return &c.LogFormat }, "text", "json")},
	}
}

func storage() []Setting {
	return []Setting{
		{"memory", "1GiB", "BYTES", "Bound on buffers and caches together; the rest of the process comes on top.", size(64<<20, 1<<42, func(c *Config) *int64 { return &c.MemoryBytes })},
		{"wal.min.interval", "auto", "DURATION", "Least time between two WAL uploads, the request-cost dial; auto: 25ms on object stores, 0 on a folder.", interval(func(c *Config) *time.Duration { return &c.WALMinInterval })},
		{"wal.batch.bytes", "auto", "BYTES", "A WAL segment is sealed at this size, whatever the interval; larger ones cost fewer requests under load, smaller ones less latency; auto: 1 MiB on object stores, 8 MiB on a folder.", batchBytes},
		{"wal.inflight", "0", "COUNT", "WAL uploads at once; 0: 16 on object stores, 2 on a folder.", number(0, 64, func(c *Config, v int64) { c.WALInflight = int(v) })},
		{"wal.stall.timeout", "30s", "DURATION", "A WAL segment that cannot be written for so long ends the incarnation; the broker registers anew.", duration(func(c *Config) *time.Duration { return &c.WALStallTimeout }, time.Second, time.Hour)},
		{"flush.bytes", "64MiB", "BYTES", "Unflushed WAL data that starts a flush.", size(1<<20, 1<<34, func(c *Config) *int64 { return &c.FlushBytes })},
		{"flush.interval", "1m", "DURATION", "Age of the oldest unflushed WAL segment that starts a flush.", duration(func(c *Config) *time.Duration { return &c.FlushInterval }, time.Second, 24*time.Hour)},
		{"delete.grace", "1m", "DURATION", "Time between an object's last reference and its deletion, for readers that are behind; safety does not depend on it.", duration(func(c *Config) *time.Duration { return &c.DeleteGrace }, 0, 24*time.Hour)},
		{"sweep.interval", "6h", "DURATION", "Time between searches of the bucket for objects that a crash left.", duration(func(c *Config) *time.Duration { return &c.SweepInterval }, time.Minute, 30*24*time.Hour)},
		{"store.timeout", "30s", "DURATION", "Bound on one attempt of one store request of up to 1 MiB.", duration(func(c *Config) *time.Duration { return &c.StoreTimeout }, time.Second, time.Hour)},
		{"store.concurrency", "256", "COUNT", "Store requests at once; produce goes first, then tail reads, catch-up and the rest.", number(4, 4096, func(c *Config, v int64) { c.StoreConcurrency = int(v) })},
	}
}

func topics() []Setting {
	return []Setting{
		{"auto.create.topics.enable", "true", "BOOL", "Create a topic when a client asks for its metadata.", toggle(func(c *Config) *bool { return &c.AutoCreateTopics })},
		{"delete.topic.enable", "true", "BOOL", "Allow topics to be deleted.", toggle(func(c *Config) *bool { return &c.DeleteTopics })},
		{"num.partitions", "1", "COUNT", "Partitions of a topic created without a number.", number(1, 100000, func(c *Config, v int64) { setInt(&c.Partitions, v) })},
		{"default.replication.factor", "1", "COUNT", "Echoed as the replication factor; the bucket is the replica.", number(1, 32767, func(c *Config, v int64) { setInt(&c.ReplicationFactor, v) })},
		{"message.max.bytes", "1048588", "BYTES", "Default of the topic config max.message.bytes.", size(0, math.MaxInt32, func(c *Config) *int64 { return &c.MessageMaxBytes })},
		{"log.retention.ms", "604800000", "MS", "Default of the topic config retention.ms; -1: for ever.", number(-1, math.MaxInt64, func(c *Config, v int64) { c.RetentionMS = v })},
		{"log.retention.bytes", "-1", "BYTES", "Default of the topic config retention.bytes; -1: no bound.", number(-1, math.MaxInt64, func(c *Config, v int64) { c.RetentionBytes = v })},
		{"log.retention.check.interval", "5m", "DURATION", "Time between looks for what retention lets go.", duration(func(c *Config) *time.Duration { return &c.RetentionCheck }, time.Second, 24*time.Hour)},
		{"producer.id.expiration", "24h", "DURATION", "An idempotent producer is forgotten so long after its last batch.", duration(func(c *Config) *time.Duration { return &c.ProducerExpiry }, time.Second, 365*24*time.Hour)},
	}
}

func groups() []Setting {
	return []Setting{
		{"offsets.topic.num.partitions", "50", "COUNT", "Partitions of __consumer_offsets when it is created; it must not change afterwards.", number(1, 10000, func(c *Config, v int64) { setInt(&c.OffsetsPartitions, v) })},
		{"offsets.retention", "168h", "DURATION", "Committed offsets of a group without members are forgotten after this time.", duration(func(c *Config) *time.Duration { return &c.OffsetsRetention }, time.Minute, 100*365*24*time.Hour)},
		{"offsets.retention.check.interval", "10m", "DURATION", "Time between looks for offsets to forget.", duration(func(c *Config) *time.Duration { return &c.OffsetsCheck }, time.Second, 24*time.Hour)},
		{"offset.metadata.max.bytes", "4096", "BYTES", "Longest metadata of a committed offset.", size(0, 1<<20, func(c *Config) *int64 { return &c.OffsetMetadataMax })},
		{"offsets.commit.interval", "auto", "DURATION", "Least time between two WAL uploads that hold committed offsets alone; auto: 250ms on object stores, 0 on a folder.", interval(func(c *Config) *time.Duration { return &c.CommitInterval })},
		{"group.min.session.timeout", "6s", "DURATION", "Shortest session timeout a member may ask for.", duration(func(c *Config) *time.Duration { return &c.GroupMinSession }, time.Millisecond, 24*time.Hour)},
		{"group.max.session.timeout", "30m", "DURATION", "Longest session timeout a member may ask for.", duration(func(c *Config) *time.Duration { return &c.GroupMaxSession }, time.Second, 24*time.Hour)},
		{"group.initial.rebalance.delay", "3s", "DURATION", "How long the first rebalance of an empty group waits for more members.", duration(func(c *Config) *time.Duration { return &c.GroupInitialDelay }, 0, time.Hour)},
		{"group.max.size", "2147483647", "COUNT", "Members of a group at most.", number(1, math.MaxInt32, func(c *Config, v int64) { c.GroupMaxSize = int(v) })},
	}
}

func connections() []Setting {
	return []Setting{
		{"max.connections", "20000", "COUNT", "Connections at once.", number(1, 1<<20, func(c *Config, v int64) { c.ConnectionsMax = int(v) })},
		{"max.connections.per.ip", "0", "COUNT", "Connections at once from one address; 0: no bound of its own.", number(0, 1<<20, func(c *Config, v int64) { c.ConnectionsMaxPerIP = int(v) })},
		{"connections.max.idle", "10m", "DURATION", "An idle connection is closed after this time.", duration(func(c *Config) *time.Duration { return &c.ConnectionsIdleMax }, time.Second, 24*time.Hour)},
		{"socket.request.max.bytes", "100MiB", "BYTES", "A larger request closes its connection.", size(1<<10, 1<<30, func(c *Config) *int64 { return &c.RequestMaxBytes })},
	}
}

// brokerID reads an id, or auto.
func brokerID(c *Config, v string) error {
	if v == "auto" {
		c.BrokerID = -1
		return nil
	}
	return number(0, math.MaxInt32, func(c *Config, v int64) { setInt(&c.BrokerID, v) })(c, v)
}

func setInt[T ~int16 | ~int32](p *T, v int64) { *p = T(v) }

func text(at func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*at(c) = v
		return nil
	}
}

func choice(at func(*Config) *string, allowed ...string) func(*Config, string) error {
	return func(c *Config, v string) error {
		if slices.Contains(allowed, v) {
			*at(c) = v
			return nil
		}
		return fmt.Errorf("%q is not one of %s", v, strings.Join(allowed, ", "))
	}
}

func toggle(at func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) error {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("%q is not true or false", v)
		}
		*at(c) = b
		return nil
	}
}

func number(low, high int64, set func(*Config, int64)) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q is not a whole number from %d to %d", v, low, high)
		}
		set(c, n)
		return nil
	}
}

func duration(at func(*Config) *time.Duration, low, high time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < low || d > high {
			return fmt.Errorf("%q is not a duration from %v to %v, such as 25ms or 10m", v, low, high)
		}
		*at(c) = d
		return nil
	}
}

// interval is a duration, or auto: -1, by the kind of store.
func interval(at func(*Config) *time.Duration) func(*Config, string) error {
	given := duration(at, 0, 10*time.Second)
	return func(c *Config, v string) error {
		if v == "auto" {
			*at(c) = -1
			return nil
		}
		return given(c, v)
	}
}

// batchBytes is a size or auto.
func batchBytes(c *Config, v string) error {
	if v == "auto" {
		c.WALBatchBytes = 0
		return nil
	}
	return size(64<<10, 1<<30, func(c *Config) *int64 { return &c.WALBatchBytes })(c, v)
}

// size is a number of bytes, with an optional unit.
func size(low, high int64, at func(*Config) *int64) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := parseSize(v)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q is not a size from %d to %d bytes, such as 1048588, 64MiB or 1GiB", v, low, high)
		}
		*at(c) = n
		return nil
	}
}

func parseSize(v string) (int64, error) {
	units := []struct {
		suffix string
		shift  uint
	}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}}
	shift := uint(0)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(v, u.suffix); ok {
			v, shift = rest, u.shift
			break
		}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err == nil && n > math.MaxInt64>>shift {
		err = strconv.ErrRange
	}
	return n << shift, err
}
