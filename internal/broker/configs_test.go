package broker_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/config/broker"
	"github.com/karst-io/karst/internal/config/key"
	"github.com/karst-io/karst/internal/config/topic"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/store/mem"
)

// behaviour is what shows that a topic config is honoured.
type behaviour struct {
	value string
	given map[string]string // configs that both topics have
	// see does something with a topic and says what came of it: with the value
	// something other than without.
	see           func(t *testing.T, w *world, topic string) string
	without, with string
}

// behaviours has every topic config that is honoured.
var behaviours = map[string]behaviour{
	topicconfig.CleanupPolicy: {
		value: "compact", without: "accepted", with: "INVALID_RECORD",
		see: func(t *testing.T, w *world, topic string) string {
			return w.produce(t, topic, batch{key: none}).verdict()
		},
	},
	topicconfig.MaxMessageBytes: {
		value: "500", without: "accepted", with: "MESSAGE_TOO_LARGE",
		see: func(t *testing.T, w *world, topic string) string {
			return w.produce(t, topic, batch{size: 600}).verdict()
		},
	},
	topicconfig.SegmentBytes: {
		value: "1048576", given: map[string]string{topicconfig.MaxMessageBytes: "3000000"}, without: "accepted", with: "RECORD_LIST_TOO_LARGE",
		see: func(t *testing.T, w *world, topic string) string {
			return w.produce(t, topic, batch{size: 1 << 20}).verdict()
		},
	},
	topicconfig.TimestampType: {
		value: "LogAppendTime", without: "create time: answered -1, stored as sent", with: "append time: answered, stored, found by it",
		see: appendTime,
	},
	topicconfig.BeforeMaxMS: {
		value: "3600000", without: "accepted", with: "INVALID_TIMESTAMP [0]",
		see: func(t *testing.T, w *world, topic string) string {
			return w.produce(t, topic, batch{age: 2 * time.Hour}).verdict()
		},
	},
	topicconfig.AfterMaxMS: {
		value: "36000000", without: "INVALID_TIMESTAMP [0]", with: "accepted",
		see: func(t *testing.T, w *world, topic string) string {
			return w.produce(t, topic, batch{age: -2 * time.Hour}).verdict()
		},
	},
	topicconfig.CompressionType: {
		value: "gzip", without: "codec 3", with: "codec 1",
		see: func(t *testing.T, w *world, topic string) string {
			return fmt.Sprint("codec ", w.stored(t, topic, batch{codec: record.LZ4, size: 1000}).Attributes.Codec())
		},
	},
	topicconfig.GzipLevel:      level("gzip", topicconfig.GzipLevel, "-1", "1", "larger"),
	topicconfig.LZ4Level:       level("lz4", topicconfig.LZ4Level, "9", "17", "smaller"),
	topicconfig.ZstdLevel:      level("zstd", topicconfig.ZstdLevel, "3", "19", "smaller"),
	topicconfig.RetentionMS:    {value: "1000", without: "kept", with: "gone", see: gone},
	topicconfig.RetentionBytes: {value: "0", without: "kept", with: "gone", see: gone},
}

// level shows that a batch becomes larger, or smaller, than with the default level.
func level(codec, name, usual, value, becomes string) behaviour {
	b := behaviour{value: value, given: map[string]string{topicconfig.CompressionType: codec}, without: "as usual", with: becomes}
	b.see = func(t *testing.T, w *world, topic string) string {
		other := w.topic(t, map[string]string{topicconfig.CompressionType: codec, name: usual})
		had, has := w.stored(t, other, batch{size: 50_000}).Size, w.stored(t, topic, batch{size: 50_000}).Size
		switch {
		case has > had:
			return "larger"
		case has < had:
			return "smaller"
		}
		return "as usual"
	}
	return b
}

// appendTime produces a record of long ago and looks for whose time it has.
func appendTime(t *testing.T, w *world, topic string) string {
	before := time.Now().UnixMilli()
	a := w.produce(t, topic, batch{age: 1000 * time.Hour})
	i, b := w.fetch(t, topic)
	found := w.offset(t, topic, before)
	recent := func(ms int64) bool { return ms >= before && ms <= time.Now().UnixMilli() }
	if _, err := record.Parse(b); err != nil {
		return err.Error()
	}
	if err := record.Check("fetched", 0, b, i); err != nil {
		return err.Error() // its CRC
	}
	switch {
	case a.LogAppendTime == -1 && !i.Attributes.LogAppendTime() && i.MaxTimestamp < karst.Timestamp(before) && found == -1:
		return "create time: answered -1, stored as sent"
	case recent(a.LogAppendTime) && i.Attributes.LogAppendTime() && int64(i.MaxTimestamp) == a.LogAppendTime && found == 0:
		return "append time: answered, stored, found by it"
	}
	return fmt.Sprintf("answered %d, stored %+v, found at %d", a.LogAppendTime, i, found)
}

// gone looks whether old records go: what is not gone after two looks of
// retention, each seen by what it lets go of for sure, is kept.
func gone(t *testing.T, w *world, topic string) string {
	w.produce(t, topic, batch{age: 2 * time.Hour})
	for range 2 {
		sure := w.topic(t, map[string]string{topicconfig.RetentionMS: "1000"})
		w.produce(t, sure, batch{age: 2 * time.Hour})
		for tries := 0; w.offset(t, sure, earliest) == 0; tries++ {
			if tries == 5000 {
				t.Fatal("nothing is let go of")
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if w.offset(t, topic, earliest) == 1 {
		return "gone"
	}
	return "kept"
}

const (
	none     = "\x00"
	earliest = -2
)

// batch is one record to produce.
type batch struct {
	key   string // none for null
	size  int    // of the value
	age   time.Duration
	codec record.Codec
}

func (b batch) bytes(t *testing.T) []byte {
	t.Helper()
	w := record.NewBuilder(record.NewCodecs(record.Limits{}))
	w.Codec = b.codec
	key := []byte(b.key)
	if b.key == none {
		key = nil
	}
	value := make([]byte, b.size) // words of a small alphabet, always the same
	random := rand.New(rand.NewPCG(1, 2))
	for i := range value {
		value[i] = "abcdefgh "[random.IntN(9)&random.IntN(9)]
	}
	w.Append(karst.Timestamp(time.Now().Add(-b.age).UnixMilli()), key, value)
	out, err := w.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// produced is the answer for one batch.
type produced kmsg.ProduceResponseTopicPartition

func (p produced) verdict() string {
	if p.ErrorCode == 0 {
		return "accepted"
	}
	v := kerr.ErrorForCode(p.ErrorCode).(*kerr.Error).Message //nolint:errorlint // it comes from kerr's table
	if p.ErrorCode == kerr.InvalidTimestamp.Code {
		for _, r := range p.ErrorRecords {
			v += fmt.Sprintf(" [%d]", r.RelativeOffset)
		}
	}
	return v
}

// world is a broker with a client.
type world struct {
	client *kgo.Client
	topics int
}

func newWorld(t *testing.T) *world {
	r := start(t, mem.New(""), map[string]string{"wal.min.interval": "0"}, func(c *config.Config) {
		c.FlushInterval, c.RetentionCheck = 10*time.Millisecond, 10*time.Millisecond
	})
	return &world{client: client(t, r.kafka)}
}

// pinned keeps a client from sending a newer version: those have topic ids.
type pinned struct{ kmsg.Request }

func (pinned) MaxVersion() int16 { return 12 }

// send sends one request, without the client's own ideas of where to.
func send[R kmsg.Response](t *testing.T, w *world, req kmsg.Request) R {
	t.Helper()
	resp, err := w.client.SeedBrokers()[0].Request(t.Context(), pinned{req})
	if err != nil {
		t.Fatalf("%s: %v", kmsg.NameForKey(req.Key()), err)
	}
	return resp.(R)
}

// topic creates a topic.
func (w *world) topic(t *testing.T, configs map[string]string) string {
	t.Helper()
	w.topics++
	req := kmsg.NewPtrCreateTopicsRequest()
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = fmt.Sprint("t", w.topics), 1, 1
	for name, v := range configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = name, &v
		one.Configs = append(one.Configs, c)
	}
	req.Topics = append(req.Topics, one)
	if a := send[*kmsg.CreateTopicsResponse](t, w, req).Topics[0]; a.ErrorCode != 0 {
		t.Fatalf("create with %v: %v", configs, *a.ErrorMessage)
	}
	return one.Topic
}

// set changes configs of a topic, or of all brokers (""); a value of none
// removes one.
func (w *world) set(t *testing.T, topic string, configs map[string]string) {
	t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	if topic == "" {
		r.ResourceType = kmsg.ConfigResourceTypeBroker
	}
	for name, v := range configs {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		if c.Name, c.Value = name, &v; v == none {
			c.Op = kmsg.IncrementalAlterConfigOpDelete
		}
		r.Configs = append(r.Configs, c)
	}
	req.Resources = append(req.Resources, r)
	if a := send[*kmsg.IncrementalAlterConfigsResponse](t, w, req).Resources[0]; a.ErrorCode != 0 {
		t.Fatalf("set %v: %v", configs, *a.ErrorMessage)
	}
}

func (w *world) produce(t *testing.T, topic string, b batch) produced {
	t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30_000
	one, p := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	one.Topic, p.Records = topic, b.bytes(t)
	one.Partitions = append(one.Partitions, p)
	req.Topics = append(req.Topics, one)
	return produced(send[*kmsg.ProduceResponse](t, w, req).Topics[0].Partitions[0])
}

// fetch is the first batch of a topic.
func (w *world) fetch(t *testing.T, topic string) (record.Info, []byte) {
	t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MinBytes, req.ReplicaID = 64<<20, 1, -1
	one, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	one.Topic, p.PartitionMaxBytes, p.CurrentLeaderEpoch = topic, 64<<20, -1
	one.Partitions = append(one.Partitions, p)
	req.Topics = append(req.Topics, one)
	a := send[*kmsg.FetchResponse](t, w, req).Topics[0].Partitions[0]
	i, err := record.Parse(a.RecordBatches)
	if err != nil || a.ErrorCode != 0 {
		t.Fatalf("fetch of %s: code %d, %v", topic, a.ErrorCode, err)
	}
	return i, a.RecordBatches
}

// stored produces a batch and fetches it.
func (w *world) stored(t *testing.T, topic string, b batch) record.Info {
	t.Helper()
	if v := w.produce(t, topic, b).verdict(); v != "accepted" {
		t.Fatal(v)
	}
	i, _ := w.fetch(t, topic)
	return i
}

// offset is what is found at a time.
func (w *world) offset(t *testing.T, topic string, at int64) int64 {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	one, p := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	one.Topic, p.Timestamp, p.CurrentLeaderEpoch = topic, at, -1
	one.Partitions = append(one.Partitions, p)
	req.Topics = append(req.Topics, one)
	a := send[*kmsg.ListOffsetsResponse](t, w, req).Topics[0].Partitions[0]
	if a.ErrorCode != 0 {
		t.Fatalf("offset of %s at %d: code %d", topic, at, a.ErrorCode)
	}
	return a.Offset
}

// TestTopicConfigsChangeBehaviour has every honoured topic config change what a
// client sees: of a topic created with it, of one that gets it while it lives,
// and of one whose broker gets it as a default.
func TestTopicConfigsChangeBehaviour(t *testing.T) {
	w := newWorld(t)
	dynamic := map[string]bool{}
	for _, k := range brokerconfig.Keys() {
		dynamic[k.Name] = k.Update == brokerconfig.ClusterWide
	}
	for _, k := range topicconfig.Keys() {
		b, ok := behaviours[k.Name]
		if ok != (k.Effect == configkey.Honoured) {
			t.Errorf("%s: honoured and no behaviour, or the other way round", k.Name)
		}
		if !ok {
			continue
		}
		see := func(how, topic, want string) {
			t.Helper()
			if got := b.see(t, w, topic); got != want {
				t.Errorf("%s=%s %s: %s, want %s", k.Name, b.value, how, got, want)
			}
		}
		see("not", w.topic(t, b.given), b.without)
		with := maps.Clone(b.given)
		if with == nil {
			with = map[string]string{}
		}
		with[k.Name] = b.value
		see("from the beginning", w.topic(t, with), b.with)

		topic := w.topic(t, b.given)
		w.set(t, topic, map[string]string{k.Name: b.value})
		see("set later", topic, b.with)

		server := k.Server[0]
		if !dynamic[server] {
			t.Errorf("%s: its default %s is not dynamic", k.Name, server)
		}
		topic = w.topic(t, b.given)
		w.set(t, "", map[string]string{server: b.value})
		see("as default", topic, b.with)
		w.set(t, "", map[string]string{server: none})
		see("no more", w.topic(t, b.given), b.without)
	}
}

// TestOtherTopicConfigsAreEchoed sets each of the others to what is not its default.
func TestOtherTopicConfigsAreEchoed(t *testing.T) {
	w := newWorld(t)
	values := map[string]string{
		"min.insync.replicas": "3", "preallocate": "true", "unclean.leader.election.enable": "true",
		"leader.replication.throttled.replicas": "0:1", "follower.replication.throttled.replicas": "*",
		"min.cleanable.dirty.ratio": "0.25", "remote.log.copy.disable": "true", "remote.log.delete.on.disable": "true",
	}
	set := map[string]string{}
	for _, k := range topicconfig.Keys() {
		if k.Effect == configkey.Honoured || k.Name == "remote.storage.enable" {
			continue
		}
		set[k.Name] = "77777"
		if v, ok := values[k.Name]; ok {
			set[k.Name] = v
		}
	}
	topic := w.topic(t, set)
	if v := w.produce(t, topic, batch{}).verdict(); v != "accepted" {
		t.Errorf("a topic with all of them: %s", v) // min.insync.replicas counts nothing
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, slices.Collect(maps.Keys(set))
	req.Resources = append(req.Resources, r)
	got := map[string]string{}
	for _, c := range send[*kmsg.DescribeConfigsResponse](t, w, req).Resources[0].Configs {
		if got[c.Name] = *c.Value; c.Source != kmsg.ConfigSourceDynamicTopicConfig {
			t.Errorf("%s comes from %v", c.Name, c.Source)
		}
	}
	if !maps.Equal(got, set) {
		t.Errorf("shown as %v, want %v", got, set)
	}
}

// TestProducersExpireAsSet forgets a producer sooner than it was told at first.
func TestProducersExpireAsSet(t *testing.T) {
	w := newWorld(t)
	topic := w.topic(t, nil)
	if err := w.client.ProduceSync(t.Context(), &kgo.Record{Topic: topic}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	producers := func() int {
		req := kmsg.NewPtrDescribeProducersRequest()
		one := kmsg.NewDescribeProducersRequestTopic()
		one.Topic, one.Partitions = topic, []int32{0}
		req.Topics = append(req.Topics, one)
		return len(send[*kmsg.DescribeProducersResponse](t, w, req).Topics[0].Partitions[0].ActiveProducers)
	}
	if n := producers(); n != 1 {
		t.Fatalf("%d producers", n)
	}
	w.set(t, "", map[string]string{"producer.id.expiration.ms": "1"})
	for tries := 0; producers() > 0; tries++ {
		if tries == 60_000 {
			t.Fatal("the producer is not forgotten")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestConfigsOutliveTheirBroker sets configs by a client's own means, and finds
// them again after a restart.
func TestConfigsOutliveTheirBroker(t *testing.T) {
	bucket := mem.New("")
	r := start(t, bucket, nil)
	admin := kadm.NewClient(client(t, r.kafka))
	ctx := t.Context()
	if _, err := admin.CreateTopic(ctx, 1, 1, map[string]*string{"segment.ms": new("77")}, "a"); err != nil {
		t.Fatal(err)
	}
	check := func(err error, done ...kadm.AlterConfigsResponses) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, all := range done {
			for _, d := range all {
				if d.Err != nil {
					t.Fatalf("%s: %v %s", d.Name, d.Err, d.ErrMessage)
				}
			}
		}
	}
	done, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "retention.ms", Value: new("5")},
		{Op: kadm.DeleteConfig, Name: "segment.ms"},
		{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: new("compact")},
	}, "a")
	check(err, done)
	done, err = admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "message.max.bytes", Value: new("777")}})
	check(err, done)
	done, err = admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "log.cleaner.threads", Value: new("7")}}, 1)
	check(err, done)

	for life := range 2 {
		if life > 0 {
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			r = start(t, bucket, nil)
			admin = kadm.NewClient(client(t, r.kafka))
		}
		topics, err := admin.DescribeTopicConfigs(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		brokers, err := admin.DescribeBrokerConfigs(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, resource := range slices.Concat(topics, brokers) {
			for _, c := range resource.Configs {
				if c.Value != nil && c.Source != kmsg.ConfigSourceDefaultConfig {
					got[c.Key] = fmt.Sprint(*c.Value, " from ", c.Source)
				}
			}
		}
		for name, want := range map[string]string{
			"retention.ms": "5 from DYNAMIC_TOPIC_CONFIG", "cleanup.policy": "delete,compact from DYNAMIC_TOPIC_CONFIG",
			"segment.ms": "", "max.message.bytes": "777 from DYNAMIC_DEFAULT_BROKER_CONFIG", "message.max.bytes": "777 from DYNAMIC_DEFAULT_BROKER_CONFIG",
			"log.cleaner.threads": "7 from DYNAMIC_BROKER_CONFIG", "node.id": "1 from STATIC_BROKER_CONFIG",
		} {
			if got[name] != want {
				t.Errorf("life %d: %s is %q, want %q", life, name, got[name], want)
			}
		}
	}
}
