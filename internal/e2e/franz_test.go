package e2e

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	matrixFirst      = 1_700_000_000_000 // record k has the time matrixFirst + 10 k
	matrixPartitions = 6
)

func franzVersion(t *testing.T) string {
	t.Helper()
	version := run(t, time.Minute, "go", "list", "-m", "-f", "{{.Version}}", "github.com/twmb/franz-go")
	return strings.TrimPrefix(strings.TrimSpace(string(version)), "v")
}

// franzMatrix is the matrix for franz-go; what it does is what the programs in
// testdata do.
func franzMatrix(t *testing.T, addr, prefix string) {
	t.Helper()
	f := &franzRun{t: t, addr: addr, prefix: prefix, admin: adminOf(t, addr)}
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		f.records(name, codec)
	}
	f.group("eager", kgo.RangeBalancer())
	f.group("cooperative", kgo.CooperativeStickyBalancer())
	f.static()
	f.topics()
	f.groups()
}

type franzRun struct {
	t      *testing.T
	addr   string
	prefix string
	admin  *kadm.Client
}

// create creates a topic that keeps its records, which are old enough for the
// default retention to take them.
func (f *franzRun) create(topic string, partitions int32) {
	f.t.Helper()
	forever := "-1"
	if _, err := f.admin.CreateTopic(f.t.Context(), partitions, 1, map[string]*string{"retention.ms": &forever}, topic); err != nil {
		f.t.Fatal(err)
	}
}

func matrixRecord(topic string, partitions, k int) *kgo.Record {
	r := &kgo.Record{
		Topic: topic, Partition: int32(k % partitions), Timestamp: time.UnixMilli(matrixFirst + 10*int64(k)),
		Headers: []kgo.RecordHeader{{Key: "k", Value: fmt.Append(nil, k)}, {Key: "null"}},
	}
	if k%7 != 3 {
		r.Key = fmt.Append(nil, "key-", k)
	}
	if k%5 != 4 {
		r.Value = bytes.Repeat(fmt.Appendf(nil, "value %d ", k), 1+k%30)
	}
	return r
}

func (f *franzRun) produce(topic string, partitions, from, to int, codec kgo.CompressionCodec) {
	f.t.Helper()
	c := client(f.t, f.addr, kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	var records []*kgo.Record
	for k := from; k < to; k++ {
		records = append(records, matrixRecord(topic, partitions, k))
	}
	for _, r := range c.ProduceSync(f.t.Context(), records...) { // in the order they were done
		if k := (r.Record.Timestamp.UnixMilli() - matrixFirst) / 10; r.Err != nil || r.Record.Offset != k/int64(partitions) {
			f.t.Fatalf("record %d: offset %d, %v", k, r.Record.Offset, r.Err)
		}
	}
	c.Close()
}

func (f *franzRun) same(r *kgo.Record, partitions int) {
	f.t.Helper()
	want := matrixRecord(r.Topic, partitions, int(r.Offset)*partitions+int(r.Partition))
	equal := func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
	if !equal(r.Key, want.Key) || !equal(r.Value, want.Value) || !r.Timestamp.Equal(want.Timestamp) ||
		len(r.Headers) != 2 || !equal(r.Headers[0].Value, want.Headers[0].Value) || r.Headers[1].Value != nil {
		f.t.Fatalf("record %d of partition %d: %+v, want %+v", r.Offset, r.Partition, r, want)
	}
}

func (f *franzRun) records(name string, codec kgo.CompressionCodec) {
	f.t.Helper()
	topic := f.prefix + "-" + name
	f.create(topic, 1)
	f.produce(topic, 1, 0, 1000, codec)
	c := client(f.t, f.addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	for next := int64(0); next < 1000; {
		fetches := c.PollFetches(f.t.Context())
		if err := fetches.Err(); err != nil {
			f.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next {
				f.t.Fatalf("offset %d, want %d", r.Offset, next)
			}
			f.same(r, 1)
			next++
		})
	}
	c.Close()
	for _, k := range []int64{0, 1, 499, 999, 1000} { // the last is the end: no record has its time
		offsets, err := f.admin.ListOffsetsAfterMilli(f.t.Context(), matrixFirst+10*k-5, topic)
		if err != nil {
			f.t.Fatal(err)
		}
		if o, _ := offsets.Lookup(topic, 0); o.Offset != k {
			f.t.Errorf("offset for the time of %d is %d", k, o.Offset)
		}
	}
}

// matrixMember is a member of a group, and what it read.
type matrixMember struct {
	f    *franzRun
	c    *kgo.Client
	seen map[[2]int64]bool // partition, offset
	held map[int32]bool
}

func (f *franzRun) join(topic string, options ...kgo.Opt) *matrixMember {
	f.t.Helper()
	m := &matrixMember{f: f, seen: map[[2]int64]bool{}, held: map[int32]bool{}}
	gone := func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
		for _, partition := range p[topic] {
			delete(m.held, partition)
		}
	}
	// Rebalances wait until a poll allows them, so held needs no lock.
	m.c = client(f.t, f.addr, append(options, kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(200*time.Millisecond), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
			for _, partition := range p[topic] {
				m.held[partition] = true
			}
		}), kgo.OnPartitionsRevoked(gone), kgo.OnPartitionsLost(gone))...)
	return m
}

// poll reads a little, commits it, and says how many partitions it holds.
func (m *matrixMember) poll() int {
	m.f.t.Helper()
	ctx, cancel := context.WithTimeout(m.f.t.Context(), 100*time.Millisecond)
	defer cancel()
	m.c.PollRecords(ctx, 20).EachRecord(func(r *kgo.Record) {
		m.f.same(r, matrixPartitions)
		m.seen[[2]int64{int64(r.Partition), r.Offset}] = true
	})
	// What was read is not read again by others; no rebalance can come between.
	if err := m.c.CommitUncommittedOffsets(m.f.t.Context()); err != nil && !kerr.IsRetriable(err) {
		m.f.t.Fatal(err)
	}
	held := len(m.held)
	m.c.AllowRebalance()
	return held
}

func (f *franzRun) committed(group, topic string, want int64) {
	f.t.Helper()
	offsets, err := f.admin.FetchOffsets(f.t.Context(), group)
	if err != nil {
		f.t.Fatal(err)
	}
	for p := range int32(matrixPartitions) {
		if o, ok := offsets.Lookup(topic, p); !ok || o.At != want {
			f.t.Errorf("%s: partition %d has %d committed, want %d", group, p, o.At, want)
		}
	}
}

// group lets two members share the partitions, then another goes on where they
// ended.
func (f *franzRun) group(name string, balancer kgo.GroupBalancer) {
	f.t.Helper()
	topic := f.prefix + "-" + name
	f.create(topic, matrixPartitions)
	f.produce(topic, matrixPartitions, 0, 300, kgo.NoCompression())
	a := f.join(topic, kgo.Balancers(balancer))
	f.until("first member", func() bool { return a.poll() == matrixPartitions && len(a.seen) > 0 })
	b := f.join(topic, kgo.Balancers(balancer))
	f.until("second member", func() bool {
		one, other := a.poll(), b.poll()
		return one == 3 && other == 3 && len(a.seen)+len(b.seen) >= 300
	})
	for record := range a.seen {
		if b.seen[record] {
			f.t.Errorf("%v was read twice", record)
		}
	}
	d, err := f.admin.DescribeGroups(f.t.Context(), topic)
	if err != nil || d[topic].State != "Stable" || len(d[topic].Members) != 2 {
		f.t.Errorf("description %+v, %v", d, err)
	}
	a.c.Close()
	b.c.Close()
	f.committed(topic, topic, 50)
	f.produce(topic, matrixPartitions, 300, 360, kgo.NoCompression())
	c := f.join(topic, kgo.Balancers(balancer))
	f.until("go on", func() bool { c.poll(); return len(c.seen) >= 60 })
	for record := range c.seen {
		if record[1] < 50 {
			f.t.Errorf("%v was read again", record)
		}
	}
	c.c.Close()
	f.committed(topic, topic, 60)
}

// static lets a static member come back, which gets what it had.
func (f *franzRun) static() {
	f.t.Helper()
	topic := f.prefix + "-static"
	f.create(topic, matrixPartitions)
	a, b := f.join(topic, kgo.InstanceID("a")), f.join(topic, kgo.InstanceID("b"))
	together := func() bool { one, other := a.poll(), b.poll(); return one == 3 && other == 3 }
	f.until("two members", together)
	had, _ := b.c.GroupMetadata()
	generation := func() int32 { _, g := a.c.GroupMetadata(); return g }
	before := generation()
	b.c.Close() // a static member does not leave
	b = f.join(topic, kgo.InstanceID("b"))
	f.until("two members again", together)
	if is, _ := b.c.GroupMetadata(); is == had {
		f.t.Errorf("the new member has the id of the old one, %q", is)
	}
	if generation() != before {
		f.t.Errorf("a rebalance: generation %d, was %d", generation(), before)
	}
	a.c.Close()
	b.c.Close()
}

func (f *franzRun) topics() {
	f.t.Helper()
	ctx, topic := f.t.Context(), f.prefix+"-topic"
	hour := "3600000"
	if _, err := f.admin.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": &hour}, topic); err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.admin.CreateTopic(ctx, 3, 1, nil, topic); !isError(err, kerr.TopicAlreadyExists) {
		f.t.Errorf("created twice: %v", err)
	}
	if r, err := f.admin.CreatePartitions(ctx, 2, topic); err != nil || r.Error() != nil {
		f.t.Fatal(err, r.Error())
	}
	f.until("partitions", func() bool {
		d, err := f.admin.ListTopics(ctx, topic)
		return err == nil && len(d[topic].Partitions) == 5
	})
	f.config(topic, "retention.ms", hour)
	compact := "compact"
	if _, err := f.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: "retention.ms"}, {Op: kadm.SetConfig, Name: "cleanup.policy", Value: &compact}}, topic); err != nil {
		f.t.Fatal(err)
	}
	f.config(topic, "retention.ms", "604800000")
	f.config(topic, "cleanup.policy", compact)
	if _, err := f.admin.DeleteTopic(ctx, topic); err != nil {
		f.t.Fatal(err)
	}
	f.until("delete", func() bool {
		d, err := f.admin.ListTopics(ctx)
		return err == nil && !d.Has(topic)
	})
}

func (f *franzRun) config(topic, name, want string) {
	f.t.Helper()
	f.until(name, func() bool {
		described, err := f.admin.DescribeTopicConfigs(f.t.Context(), topic)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, c := range described[0].Configs {
			if c.Key == name {
				return c.MaybeValue() == want
			}
		}
		return false
	})
}

func (f *franzRun) groups() {
	f.t.Helper()
	ctx, topic, group := f.t.Context(), f.prefix+"-none", f.prefix+"-gone"
	commit := kadm.Offsets{}
	commit.AddOffset(topic, 0, 77, -1)
	if err := f.admin.CommitAllOffsets(ctx, group, commit); err != nil { // one that is no member may commit
		f.t.Fatal(err)
	}
	listed, err := f.admin.ListGroups(ctx)
	if err != nil || listed[group].State != "Empty" {
		f.t.Errorf("listed %+v, %v", listed[group], err)
	}
	if r, err := f.admin.DeleteGroups(ctx, group); err != nil || r.Error() != nil {
		f.t.Fatal(err, r.Error())
	}
	if listed, err = f.admin.ListGroups(ctx); err != nil || len(listed[group].Group) > 0 {
		f.t.Errorf("still listed: %v", err)
	}
	if r, err := f.admin.DeleteGroups(ctx, group); err != nil || !isError(r.Error(), kerr.GroupIDNotFound) {
		f.t.Errorf("deleted twice: %v %v", err, r.Error())
	}
}

func isError(err, want error) bool { return err != nil && strings.Contains(err.Error(), want.Error()) }

func (f *franzRun) until(what string, ready func() bool) {
	f.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("time: %s", what)
		}
	}
}
