package bench

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Settings are those of every workload; each uses the ones it has a meaning for.
type Settings struct {
	Brokers     []string      `json:"brokers"`
	BrokerPIDs  []int         `json:"broker_pids,omitempty"`
	Topic       string        `json:"topic,omitempty"`
	TopicConfig []string      `json:"topic_config,omitempty"`
	Partitions  int32         `json:"partitions"`
	Keep        bool          `json:"keep"`
	Delete      bool          `json:"delete"`
	RecordSize  Size          `json:"record_size"`
	Payload     string        `json:"payload"`
	Codec       string        `json:"codec"`
	BatchBytes  Size          `json:"batch_bytes"`
	Acks        string        `json:"acks"`
	Idempotent  bool          `json:"idempotent"`
	Linger      time.Duration `json:"linger_ns"`
	Partitioner string        `json:"partitioner"`
	Producers   int           `json:"producers"`
	Connections int           `json:"connections"`
	Consumers   int           `json:"consumers"`
	Groups      int           `json:"groups"`
	Members     int           `json:"members"`
	Inflight    int           `json:"inflight"`
	Rate        Rate          `json:"rate"`
	Queue       int64         `json:"queue"`
	Warmup      time.Duration `json:"warmup_ns"`
	Duration    time.Duration `json:"duration_ns"`
	Bytes       Size          `json:"bytes"`
	Timeout     time.Duration `json:"timeout_ns"`
	From        string        `json:"from"`
	Raw         bool          `json:"raw"`
	Fill        Size          `json:"fill"`
	Passes      int           `json:"passes"`
	FetchBytes  Size          `json:"fetch_bytes"`
	Verify      bool          `json:"verify"`
	Rounds      int           `json:"rounds"`
	Label       string        `json:"-"`
	Format      string        `json:"-"`
}

// Defaults are the settings before flags.
func Defaults() Settings {
	return Settings{
		Brokers: []string{"127.0.0.1:9092"}, Partitions: 8, RecordSize: 1024, Payload: "json", Codec: "none",
		BatchBytes: 16 << 10, Acks: "all", Partitioner: "sticky", Producers: 1, Connections: 1, Consumers: 1, Groups: 100, Members: 10, Inflight: 5,
		Queue: 10_000, Warmup: 2 * time.Second, Duration: 10 * time.Second, Timeout: 30 * time.Second,
		From: "start", Passes: 1, FetchBytes: 50 << 20, Rounds: 3, Format: "text",
	}
}

// Flags binds the settings to flags.
func (s *Settings) Flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringSliceVar(&s.Brokers, "brokers", s.Brokers, "the brokers to ask first")
	f.IntSliceVar(&s.BrokerPIDs, "broker-pid", nil, "a broker's process on this machine, to be measured; repeatable")
	f.StringVar(&s.Topic, "topic", "", "the topic, created if absent (default: a new one that is deleted afterwards)")
	f.StringArrayVar(&s.TopicConfig, "topic-config", nil, "KEY=VALUE of a topic that is created; repeatable")
	f.Int32Var(&s.Partitions, "partitions", s.Partitions, "partitions of a topic that is created")
	f.BoolVar(&s.Keep, "keep", false, "keep the topic even if the run made up its name")
	f.BoolVar(&s.Delete, "delete", false, "delete the topic afterwards even if it was named")
	f.Var(&s.RecordSize, "record-size", "bytes of a record's value")
	f.StringVar(&s.Payload, "payload", s.Payload, "json (compresses to about a third) or random (does not compress)")
	f.StringVar(&s.Codec, "codec", s.Codec, "none, gzip, snappy, lz4 or zstd")
	f.Var(&s.BatchBytes, "batch-bytes", "bytes of a batch: its size for raw (before compression), the most for a producer")
	f.StringVar(&s.Acks, "acks", s.Acks, "all, 1 or 0")
	f.BoolVar(&s.Idempotent, "idempotent", false, "produce with a producer id and sequence numbers")
	f.DurationVar(&s.Linger, "linger", 0, "how long a producer waits for more records")
	f.StringVar(&s.Partitioner, "partitioner", s.Partitioner, "sticky (a batch, then the next partition) or roundrobin (a record, then the next)")
	f.IntVar(&s.Producers, "producers", s.Producers, "producers, each a client of its own")
	f.IntVar(&s.Connections, "connections", s.Connections, "connections of raw and of a raw consumer")
	f.IntVar(&s.Consumers, "consumers", s.Consumers, "consumers, each a client of its own that reads everything")
	f.IntVar(&s.Groups, "groups", s.Groups, "groups: how many of them")
	f.IntVar(&s.Members, "members", s.Members, "groups: members of each, with a connection each")
	f.IntVar(&s.Inflight, "inflight", s.Inflight, "produce requests in flight per connection")
	f.Var(&s.Rate, "rate", "open loop: bytes (2MB) or records (1000r) per second over all senders; 0 = closed loop")
	f.Int64Var(&s.Queue, "queue", s.Queue, "records (requests for raw) that may wait in each sender")
	f.DurationVar(&s.Warmup, "warmup", s.Warmup, "time before the window")
	f.DurationVar(&s.Duration, "duration", s.Duration, "the window's length; the most if --bytes is given (then 0 = no limit)")
	f.Var(&s.Bytes, "bytes", "end the window after so many bytes; 0 = by --duration")
	f.DurationVar(&s.Timeout, "timeout", s.Timeout, "for a request, and for what is unanswered at the end")
	f.StringVar(&s.From, "from", s.From, "consume: start (read to the end found at first) or tail")
	f.BoolVar(&s.Raw, "raw", false, "consume, catchup: fetch without decoding records")
	f.Var(&s.Fill, "fill", "consume, catchup: produce so many bytes of batches before")
	f.IntVar(&s.Passes, "passes", s.Passes, "consume: read the topic so many times")
	f.Var(&s.FetchBytes, "fetch-bytes", "bytes of a fetch response, at most")
	f.BoolVar(&s.Verify, "verify", false, "consume, e2e: check for lost, duplicated, reordered and corrupt records")
	f.IntVar(&s.Rounds, "rounds", s.Rounds, "catchup: pairs of phases without and with reading")
	f.StringVar(&s.Label, "label", "", "a name for the run in its report")
	f.StringVar(&s.Format, "format", s.Format, "text or json")
}

// Check refuses settings that make no sense together.
func (s *Settings) Check() error {
	oneOf := func(flag, v string, allowed ...string) error {
		if slices.Contains(allowed, v) {
			return nil
		}
		return fmt.Errorf("--%s %q: it is one of %s", flag, v, strings.Join(allowed, ", "))
	}
	positive := func(flag string, v int64) error {
		if v > 0 {
			return nil
		}
		return fmt.Errorf("--%s %d: it must be positive", flag, v)
	}
	if s.Acks == "-1" {
		s.Acks = "all"
	}
	err := errors.Join(
		oneOf("payload", s.Payload, "json", "random"),
		oneOf("acks", s.Acks, "all", "1", "0"),
		oneOf("partitioner", s.Partitioner, "sticky", "roundrobin"),
		oneOf("from", s.From, "start", "tail"),
		oneOf("format", s.Format, "text", "json"),
		positive("partitions", int64(s.Partitions)), positive("record-size", int64(s.RecordSize)),
		positive("batch-bytes", int64(s.BatchBytes)), positive("producers", int64(s.Producers)),
		positive("connections", int64(s.Connections)), positive("consumers", int64(s.Consumers)),
		positive("groups", int64(s.Groups)), positive("members", int64(s.Members)),
		positive("inflight", int64(s.Inflight)), positive("queue", s.Queue), positive("passes", int64(s.Passes)),
		positive("rounds", int64(s.Rounds)), positive("timeout", int64(s.Timeout)), positive("fetch-bytes", int64(s.FetchBytes)),
	)
	if err != nil {
		return err
	}
	if _, _, err := compressor(s.Codec); err != nil {
		return err
	}
	switch {
	case s.Duration <= 0 && s.Bytes == 0:
		return errors.New("--duration 0 needs --bytes")
	case s.Warmup < 0 || s.Duration < 0 || s.Linger < 0 || s.Rate.N < 0:
		return errors.New("--warmup, --duration, --linger and --rate cannot be negative")
	case s.Idempotent && s.Acks != "all":
		return errors.New("--idempotent needs --acks all")
	case s.Idempotent && s.Inflight > 5:
		return errors.New("--idempotent allows at most 5 requests in flight")
	case s.RecordSize > 64<<20 || s.BatchBytes > 1<<30 || s.FetchBytes > 1<<30:
		return errors.New("--record-size is at most 64MiB, --batch-bytes and --fetch-bytes 1GiB")
	}
	return nil
}

// bytesPerSecond is the rate in bytes; 0 is a closed loop.
func (s *Settings) bytesPerSecond() int64 {
	if s.Rate.Records {
		return s.Rate.N * int64(s.RecordSize)
	}
	return s.Rate.N
}

// String is the settings in one line, as flags.
func (s Settings) String() string {
	rate := "closed loop"
	if s.Rate.N > 0 {
		rate = "open loop " + s.Rate.String()
	}
	return fmt.Sprintf("%s, %d partitions, record-size %v %s, codec %s, batch-bytes %v, acks %s, idempotent %t, linger %v, producers %d, connections %d, consumers %d, inflight %d, queue %d, warmup %v, duration %v, bytes %v",
		rate, s.Partitions, s.RecordSize, s.Payload, s.Codec, s.BatchBytes, s.Acks, s.Idempotent, s.Linger,
		s.Producers, s.Connections, s.Consumers, s.Inflight, s.Queue, s.Warmup, s.Duration, s.Bytes)
}

// Size is a number of bytes, as a flag: 65536, 64KiB, 2MB.
type Size int64

var _ pflag.Value = (*Size)(nil)

// units are tried in order: a longer one before its own suffix.
func units() []unit {
	return []unit{
		{"KiB", 1 << 10},
		{"MiB", 1 << 20},
		{"GiB", 1 << 30},
		{"TiB", 1 << 40},
		{"kB", 1e3},
		{"KB", 1e3},
		{"MB", 1e6},
		{"GB", 1e9},
		{"TB", 1e12},
		{"B", 1},
	}
}

type unit struct {
	name string
	size int64
}

// Set parses a size.
func (s *Size) Set(text string) error {
	number, factor := text, int64(1)
	for _, u := range units() {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, factor = n, u.size
			break
		}
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(f >= 0) || f*float64(factor) > 1<<60 {
		return errors.New("a size is a number of bytes, with kB, MB, GB, TB, KiB, MiB, GiB or TiB if you like")
	}
	*s = Size(f * float64(factor))
	return nil
}

// String is the size in the largest unit that divides it.
func (s Size) String() string {
	best := strconv.FormatInt(int64(s), 10)
	for _, u := range units() {
		if u.size > 1 && u.name != "KB" && s > 0 && int64(s)%u.size == 0 {
			if t := strconv.FormatInt(int64(s)/u.size, 10) + u.name; len(t) < len(best) {
				best = t
			}
		}
	}
	return best
}

// Type names the flag's value in the help.
func (s *Size) Type() string { return "size" }

// Rate is bytes or records per second, as a flag: 2MB, 1000r.
type Rate struct {
	N       int64 `json:"per_second"`
	Records bool  `json:"records"`
}

var _ pflag.Value = (*Rate)(nil)

// Set parses a rate.
func (r *Rate) Set(text string) error {
	if n, ok := strings.CutSuffix(text, "r"); ok {
		v, err := strconv.ParseInt(n, 10, 64)
		if err != nil || v < 0 {
			return errors.New("a rate in records is a whole number and r, as in 1000r")
		}
		*r = Rate{v, true}
		return nil
	}
	var s Size
	if err := s.Set(strings.TrimSuffix(text, "/s")); err != nil {
		return err
	}
	*r = Rate{int64(s), false}
	return nil
}

func (r Rate) String() string {
	if r.Records {
		return strconv.FormatInt(r.N, 10) + "r"
	}
	return Size(r.N).String()
}

// Type names the flag's value in the help.
func (r *Rate) Type() string { return "rate" }
