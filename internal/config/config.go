// Package config is the one table of settings: it prints the help, the
// reference page and the example file, and reads flags, environment and file.
//
// A setting is named once, in dots: wal.min.interval is --wal.min.interval on
// the command line, KARST_WAL_MIN_INTERVAL in the environment and
// wal.min.interval in the file. A flag wins over the environment, that over the
// file, that over the default. What is not in the table is refused.
package config

import (
	"time"

	"github.com/karst-io/karst"
)

// Config is every setting, parsed.
type Config struct {
	Store     string // URL of the bucket
	WAL       string // URL of the WAL's store; "" is Store
	Listen    string // HOST:PORT, or several by name: see Listeners
	Advertise string // what clients are told, likewise; "" derives it from Listen
	HTTP      string // HOST:PORT of health and metrics; "" is off

	Profiles bool // serve Go profiles on HTTP

	BrokerID karst.BrokerID // -1: assigned
	Rack     string

	PeerListen       string // HOST:PORT; "" a free port of the first listener's host
	PeerAdvertise    string // HOST:PORT; "" derives it
	PeerSecret       string // "" derives it from the bucket
	PeerCertificate  string // PEM files of mutual TLS; all or none
	PeerKey          string
	PeerAuthorities  string
	SessionTimeout   time.Duration
	PlacementDelay   time.Duration
	ShutdownTransfer time.Duration // most that a stop waits for others to take its partitions

	LogLevel  string // debug, info, warn, error
	LogFormat string // text, json

	MemoryBytes int64 // bound on buffers and caches

	WALMinInterval  time.Duration // -1: by the kind of store
	WALBatchBytes   int64         // 0: by the kind of store
	WALInflight     int           // 0: by the kind of store
	WALStallTimeout time.Duration

	FlushBytes    int64
	FlushInterval time.Duration
	DeleteGrace   time.Duration
	SweepInterval time.Duration

	StoreTimeout     time.Duration
	StoreConcurrency int

	AutoCreateTopics  bool
	DeleteTopics      bool
	Partitions        int32
	ReplicationFactor int16
	RetentionCheck    time.Duration
	ProducerExpiry    time.Duration
	MessageMaxBytes   int64
	RetentionMS       int64
	RetentionBytes    int64

	OffsetsPartitions int32
	OffsetsRetention  time.Duration
	OffsetsCheck      time.Duration
	OffsetMetadataMax int64
	CommitInterval    time.Duration // -1: by the kind of store
	GroupMinSession   time.Duration
	GroupMaxSession   time.Duration
	GroupInitialDelay time.Duration
	GroupMaxSize      int

	ConnectionsMax      int
	ConnectionsMaxPerIP int
	ConnectionsIdleMax  time.Duration
	RequestMaxBytes     int64

	TakeOver bool // start although the broker that is registered still answers
}
