// The matrix for Sarama: "sarama BOOTSTRAP PREFIX" prints "ok" for each part.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

const (
	first      = 1_700_000_000_000 // record k has the time first + 10 k
	partitions = 6
	patience   = 30 * time.Second
)

var bootstrap, prefix string

func main() {
	bootstrap, prefix = os.Args[1], os.Args[2]
	say("version " + version())
	admin := must(sarama.NewClusterAdmin([]string{bootstrap}, config()))
	for name, codec := range map[string]sarama.CompressionCodec{"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD} {
		records(admin, name, codec)
		say("records " + name)
	}
	group(admin)
	say("group eager")
	topics(admin)
	say("topics")
	configs(admin)
	say("configs")
	groups(admin)
	say("groups")
	check(admin.Close() == nil, "close")
}

func say(part string) { fmt.Println("ok " + part) }

func version() string {
	build, _ := debug.ReadBuildInfo()
	for _, d := range build.Deps {
		if d.Path == "github.com/IBM/sarama" {
			return strings.TrimPrefix(d.Version, "v")
		}
	}
	return ""
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Net.MaxOpenRequests = 1 // which its idempotence demands
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	c.Consumer.Return.Errors = true
	return c
}

func key(k int) sarama.Encoder {
	if k%7 == 3 {
		return nil
	}
	return sarama.StringEncoder(fmt.Sprint("key-", k))
}

func value(k int) sarama.Encoder {
	if k%5 == 4 {
		return nil
	}
	return sarama.StringEncoder(strings.Repeat(fmt.Sprintf("value %d ", k), 1+k%30))
}

func create(admin sarama.ClusterAdmin, topic string, count int32, entries map[string]*string) {
	if entries == nil {
		keep := "-1" // the records are old enough for the default to take them
		entries = map[string]*string{"retention.ms": &keep}
	}
	done(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: count, ReplicationFactor: 1, ConfigEntries: entries}, false))
	until("create", func() bool {
		t, err := admin.DescribeTopics([]string{topic})
		return err == nil && t[0].Err == sarama.ErrNoError && len(t[0].Partitions) == int(count)
	})
}

func produce(topic string, count int, codec sarama.CompressionCodec, from, to int) {
	c := config()
	c.Producer.Compression = codec
	p := must(sarama.NewSyncProducer([]string{bootstrap}, c))
	var all []*sarama.ProducerMessage
	for k := from; k < to; k++ {
		all = append(all, &sarama.ProducerMessage{
			Topic: topic, Partition: int32(k % count), Key: key(k), Value: value(k), Timestamp: time.UnixMilli(first + 10*int64(k)),
			Headers: []sarama.RecordHeader{{Key: []byte("k"), Value: []byte(fmt.Sprint(k))}, {Key: []byte("null")}},
		})
	}
	done(p.SendMessages(all))
	for i, m := range all {
		check(m.Offset == int64((from+i)/count), "offset of %d is %d", from+i, m.Offset)
	}
	done(p.Close())
}

func same(m *sarama.ConsumerMessage, k int) {
	equal := func(got []byte, want sarama.Encoder) bool {
		if want == nil {
			return got == nil
		}
		return got != nil && string(got) == string(must(want.Encode()))
	}
	check(equal(m.Key, key(k)) && equal(m.Value, value(k)) && m.Timestamp.UnixMilli() == first+10*int64(k), "record %d: %s %s %v", k, m.Key, m.Value, m.Timestamp)
	check(len(m.Headers) == 2 && string(m.Headers[0].Value) == fmt.Sprint(k) && len(m.Headers[1].Value) == 0, "headers of %d", k)
}

func records(admin sarama.ClusterAdmin, name string, codec sarama.CompressionCodec) {
	topic := prefix + "-" + name
	create(admin, topic, 1, nil)
	produce(topic, 1, codec, 0, 1000)
	c := must(sarama.NewConsumer([]string{bootstrap}, config()))
	p := must(c.ConsumePartition(topic, 0, sarama.OffsetOldest))
	for k := range 1000 {
		select {
		case m := <-p.Messages():
			check(m.Offset == int64(k), "offset %d at %d", m.Offset, k)
			same(m, k)
		case err := <-p.Errors():
			done(err)
		case <-time.After(patience):
			check(false, "time to read, at %d", k)
		}
	}
	done(p.Close())
	done(c.Close())
	client := must(sarama.NewClient([]string{bootstrap}, config()))
	for _, k := range []int64{0, 1, 499, 999} {
		at := must(client.GetOffset(topic, 0, first+10*k-5))
		check(at == k, "offset for the time of %d is %d", k, at)
	}
	oldest, newest := must(client.GetOffset(topic, 0, sarama.OffsetOldest)), must(client.GetOffset(topic, 0, sarama.OffsetNewest))
	check(oldest == 0 && newest == 1000, "offsets %d and %d", oldest, newest)
	done(client.Close())
}

// member is a member of a group, and what it read.
type member struct {
	group sarama.ConsumerGroup
	stop  context.CancelFunc
	ended sync.WaitGroup

	mu       sync.Mutex
	seen     [][2]int64 // partition, offset
	assigned int
}

func join(topic string) *member {
	ctx, stop := context.WithCancel(context.Background())
	m := &member{group: must(sarama.NewConsumerGroup([]string{bootstrap}, topic, config())), stop: stop}
	m.ended.Go(func() {
		for err := range m.group.Errors() {
			done(err)
		}
	})
	m.ended.Go(func() {
		for ctx.Err() == nil {
			err := m.group.Consume(ctx, []string{topic}, m)
			if err != nil && !errors.Is(err, sarama.ErrClosedConsumerGroup) && ctx.Err() == nil {
				done(err)
			}
		}
	})
	return m
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.assigned = 0
	for _, p := range s.Claims() {
		m.assigned += len(p)
	}
	return nil
}

func (m *member) Cleanup(s sarama.ConsumerGroupSession) error {
	s.Commit()
	return nil
}

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for {
		select {
		case r, ok := <-c.Messages():
			if !ok {
				return nil
			}
			same(r, int(r.Offset)*partitions+int(r.Partition))
			m.mu.Lock()
			m.seen = append(m.seen, [2]int64{int64(r.Partition), r.Offset})
			m.mu.Unlock()
			s.MarkMessage(r, "metadata")
			if len(c.Messages()) == 0 {
				s.Commit()
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

func (m *member) leave() {
	m.stop()
	done(m.group.Close())
	m.ended.Wait()
}

func (m *member) read() (records [][2]int64, assigned int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen, m.assigned
}

func committed(admin sarama.ClusterAdmin, group, topic string) map[int32]int64 {
	r := must(admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1, 2, 3, 4, 5}}))
	all := map[int32]int64{}
	for p, b := range r.Blocks[topic] {
		check(b.Err == sarama.ErrNoError, "offset of %d: %v", p, b.Err)
		all[p] = b.Offset
	}
	return all
}

// group lets two members share the partitions, then another goes on where they
// ended.
func group(admin sarama.ClusterAdmin) {
	topic := prefix + "-eager"
	create(admin, topic, partitions, nil)
	produce(topic, partitions, sarama.CompressionNone, 0, 300)
	a := join(topic)
	until("first member", func() bool { seen, n := a.read(); return n == partitions && len(seen) > 0 })
	b := join(topic)
	until("second member", func() bool { _, n := a.read(); _, k := b.read(); return n == 3 && k == 3 })
	d := must(admin.DescribeConsumerGroups([]string{topic}))
	check(d[0].State == "Stable" && len(d[0].Members) == 2, "description %+v", d[0])
	produce(topic, partitions, sarama.CompressionZSTD, 300, 600)
	all := func() map[[2]int64]bool {
		m := map[[2]int64]bool{}
		for _, from := range []*member{a, b} {
			seen, _ := from.read()
			for _, s := range seen {
				m[s] = true
			}
		}
		return m
	}
	until("read", func() bool { return len(all()) == 600 })
	a.leave()
	b.leave()
	check(len(a.seen)+len(b.seen) == 600, "%d and %d records", len(a.seen), len(b.seen))
	check(len(b.seen) >= 150, "the second member read %d", len(b.seen))
	for p, o := range committed(admin, topic, topic) {
		check(o == 100, "committed %d of %d", o, p)
	}
	produce(topic, partitions, sarama.CompressionNone, 600, 660)
	c := join(topic)
	until("go on", func() bool { seen, _ := c.read(); return len(seen) >= 60 })
	c.leave()
	check(len(c.seen) == 60, "%d records", len(c.seen))
	for _, s := range c.seen {
		check(s[1] >= 100, "position %v", s)
	}
}

func topics(admin sarama.ClusterAdmin) {
	topic := prefix + "-topic"
	retention := "3600000"
	create(admin, topic, 3, map[string]*string{"retention.ms": &retention})
	err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1}, false)
	check(errors.Is(err, sarama.ErrTopicAlreadyExists), "created twice: %v", err)
	done(admin.CreatePartitions(topic, 5, nil, false))
	until("partitions", func() bool {
		t, err := admin.DescribeTopics([]string{topic})
		return err == nil && len(t[0].Partitions) == 5
	})
	d, ok := must(admin.ListTopics())[topic]
	check(ok && *d.ConfigEntries["retention.ms"] == retention, "detail %+v", d)
	done(admin.DeleteRecords(prefix+"-none", map[int32]int64{0: 10}))
	done(admin.DeleteTopic(topic))
	until("delete", func() bool { _, ok := must(admin.ListTopics())[topic]; return !ok })
}

func configs(admin sarama.ClusterAdmin) {
	topic := prefix + "-config"
	retention, compact := "3600000", "compact"
	create(admin, topic, 1, map[string]*string{"retention.ms": &retention})
	described := func() map[string]sarama.ConfigEntry {
		m := map[string]sarama.ConfigEntry{}
		for _, e := range must(admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})) {
			m[e.Name] = e
		}
		return m
	}
	e := described()["retention.ms"]
	check(e.Value == retention && !e.Default && e.Source == sarama.SourceTopic, "entry %+v", e)
	done(admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
		"cleanup.policy": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &compact},
		"retention.ms":   {Operation: sarama.IncrementalAlterConfigsOperationDelete},
	}, false))
	until("alter", func() bool {
		c := described()
		return c["cleanup.policy"].Value == compact && c["retention.ms"].Value == "604800000"
	})
}

func groups(admin sarama.ClusterAdmin) {
	topic, group := prefix+"-none", prefix+"-gone"
	client := must(sarama.NewClient([]string{bootstrap}, config()))
	m := must(sarama.NewOffsetManagerFromClient(group, client))
	p := must(m.ManagePartition(topic, 0))
	p.MarkOffset(77, "metadata") // a consumer that is no member may commit
	m.Commit()
	p.AsyncClose() // it is closed with its manager
	done(m.Close())
	done(client.Close())
	check(committed(admin, group, topic)[0] == 77, "committed")
	_, ok := must(admin.ListConsumerGroups())[group]
	check(ok, "not listed")
	d := must(admin.DescribeConsumerGroups([]string{group}))
	check(d[0].State == "Empty", "description %+v", d[0])
	done(admin.DeleteConsumerGroup(group))
	_, ok = must(admin.ListConsumerGroups())[group]
	check(!ok, "still listed")
}

func until(what string, ready func() bool) {
	for end := time.Now().Add(patience); !ready(); time.Sleep(20 * time.Millisecond) {
		check(time.Now().Before(end), "time: %s", what)
	}
}

func must[T any](v T, err error) T {
	done(err)
	return v
}

func done(err error) { check(err == nil, "%v", err) }

func check(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}
