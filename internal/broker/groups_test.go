package broker_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/karst-io/karst/internal/store/mem"
)

// grouped are settings for tests of groups; at is an address to listen at.
func grouped(at string) map[string]string {
	return map[string]string{"listen": at, "group.initial.rebalance.delay": "0s", "offsets.topic.num.partitions": "5"}
}

// fill produces n records, to the end of a topic.
func fill(t *testing.T, addr, topic string, n int) {
	t.Helper()
	p := client(t, addr, kgo.DefaultProduceTopic(topic))
	for range n {
		if err := p.ProduceSync(t.Context(), kgo.StringRecord("v")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// member is a member of a group that commits what it reads at once.
type member struct {
	*kgo.Client
	assigned, lost atomic.Int32 // times
}

func join(t *testing.T, addr, group, topic string) *member {
	t.Helper()
	m := &member{}
	m.Client = client(t, addr, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.HeartbeatInterval(100*time.Millisecond),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { m.assigned.Add(1) }),
		kgo.OnPartitionsLost(func(context.Context, *kgo.Client, map[string][]int32) { m.lost.Add(1) }))
	return m
}

// read reads and commits until it has n records, and returns the last offset.
func (m *member) read(t *testing.T, n int) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	last := int64(-1)
	for n > 0 {
		f := m.PollFetches(ctx)
		if err := f.Err0(); err != nil {
			t.Fatalf("%d records before the end: %v", n, err)
		}
		f.EachRecord(func(r *kgo.Record) { last = r.Offset })
		n -= f.NumRecords()
		if err := m.CommitUncommittedOffsets(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

// committed is the offset that a group has committed; -1 for none.
func committed(t *testing.T, addr, group, topic string) int64 {
	t.Helper()
	all, err := kadm.NewClient(client(t, addr)).FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	o, ok := all.Lookup(topic, 0)
	if !ok {
		return -1
	}
	return o.At
}

// TestGroupsOutliveTheirBroker: members go on where they were, in the generation
// they were in.
func TestGroupsOutliveTheirBroker(t *testing.T) {
	bucket := mem.New("")
	r := start(t, bucket, grouped("127.0.0.1:0"))
	addr := r.kafka
	fill(t, addr, "t", 10)
	m := join(t, addr, "g", "t")
	m.read(t, 10)
	_, generation := m.GroupMetadata()
	for life := range 2 {
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = start(t, bucket, grouped(addr))
		at := int64(10 + 5*life)
		if got := committed(t, addr, "g", "t"); got != at {
			t.Errorf("life %d: the group committed %d, want %d", life, got, at)
		}
		fill(t, addr, "t", 5)
		if last := m.read(t, 5); last != at+4 {
			t.Errorf("life %d: the member has read up to offset %d, want %d", life, last, at+4)
		}
	}
	if _, g := m.GroupMetadata(); g != generation || m.assigned.Load() != 1 || m.lost.Load() != 0 {
		t.Errorf("the member is in generation %d, was in %d; it was assigned partitions %d times and lost them %d times", g, generation, m.assigned.Load(), m.lost.Load())
	}
}

// ask sends a request to a broker once, whatever the answer. One that was
// deposed may end before it gives any.
func ask[R any](t *testing.T, c *kgo.Client, req kmsg.Request) (r R, err error) {
	t.Helper()
	resp, err := c.Broker(1).Request(t.Context(), req)
	if err != nil {
		return r, err
	}
	return resp.(R), nil
}

// fetchOffset is OffsetFetch of one partition, not tried again.
func fetchOffset(t *testing.T, c *kgo.Client) (int64, error) {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = "g"
	topic := kmsg.NewOffsetFetchRequestTopic()
	topic.Topic, topic.Partitions = "t", []int32{0}
	req.Topics = append(req.Topics, topic)
	g, err := ask[*kmsg.OffsetFetchResponse](t, c, req)
	if err != nil {
		return 0, err
	}
	if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
		return 0, err
	}
	return g.Topics[0].Partitions[0].Offset, nil
}

func commitOffset(t *testing.T, c *kgo.Client, at int64) error {
	t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = "g", -1
	topic, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	topic.Topic, p.Offset = "t", at
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := ask[*kmsg.OffsetCommitResponse](t, c, req)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// until tries something until it gives no error.
func until(t *testing.T, what string, try func() error) {
	t.Helper()
	for range 6000 {
		err := try()
		if err == nil {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(what, try())
}

// TestDeposedCoordinatorTellsNothing: what a broker remembers of a group it shows
// only if nobody can have changed it (architecture, section 4), and what it is
// told it does not acknowledge.
func TestDeposedCoordinatorTellsNothing(t *testing.T) {
	bucket := mem.New("")
	settings := grouped("127.0.0.1:0")
	settings["broker.id"] = "1"
	first := start(t, bucket, settings)
	first.may = "another process"
	fill(t, first.kafka, "t", 1)
	plain := kgo.MaxVersions(kversion.V2_8_0()) // one group a request, topics by name
	old := client(t, first.kafka, plain)
	until(t, "have the topic created", func() error {
		_, err := kadm.NewClient(old).FetchOffsets(t.Context(), "g")
		return err
	})
	until(t, "commit", func() error { return commitOffset(t, old, 1) })
	if at, err := fetchOffset(t, old); err != nil || at != 1 {
		t.Fatalf("the offset is %d, %v", at, err)
	}

	settings["broker.takeover"] = "true"
	second := start(t, bucket, settings)
	now := client(t, second.kafka, plain)
	until(t, "commit at the second", func() error { return commitOffset(t, now, 2) })
	if at, err := fetchOffset(t, old); err == nil && at != 2 {
		t.Errorf("the deposed coordinator says that offset %d is committed", at)
	}
	if err := commitOffset(t, old, 3); err == nil {
		t.Error("the deposed coordinator took a commit")
	}
	if at, err := fetchOffset(t, now); err != nil || at != 2 {
		t.Errorf("the offset is %d, %v", at, err)
	}
}

// TestOffsetsOfDeletedTopicsGo: nobody can ask for them any more.
func TestOffsetsOfDeletedTopicsGo(t *testing.T) {
	bucket := mem.New("")
	r := start(t, bucket, grouped("127.0.0.1:0"))
	fill(t, r.kafka, "t", 1)
	fill(t, r.kafka, "u", 1)
	c := client(t, r.kafka)
	admin := kadm.NewClient(c)
	var o kadm.Offsets
	o.AddOffset("t", 0, 1, -1)
	o.AddOffset("u", 0, 1, -1)
	if err := admin.CommitAllOffsets(t.Context(), "g", o); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	until(t, "offsets of t", func() error {
		if committed(t, r.kafka, "g", "t") >= 0 {
			return errors.New("are there")
		}
		return nil
	})
	if at := committed(t, r.kafka, "g", "u"); at != 1 {
		t.Errorf("the offset of the other topic is %d", at)
	}
}

// TestClientsDoNotChangeInternalTopics, but read them.
func TestClientsDoNotChangeInternalTopics(t *testing.T) {
	r := start(t, mem.New(""), grouped("127.0.0.1:0"))
	fill(t, r.kafka, "t", 1)
	join(t, r.kafka, "g", "t").read(t, 1)
	p := client(t, r.kafka, kgo.DefaultProduceTopic("__consumer_offsets"))
	if err := p.ProduceSync(t.Context(), kgo.StringRecord("v")).FirstErr(); !errors.Is(err, kerr.InvalidTopicException) {
		t.Errorf("a client produced: %v", err)
	}
	if got := consume(t, r.kafka, "__consumer_offsets", 3); len(got) < 3 { // the group, twice, and an offset
		t.Errorf("the topic has %d records", len(got))
	}
	grown, err := kadm.NewClient(p).CreatePartitions(t.Context(), 1, "__consumer_offsets")
	if err != nil {
		t.Fatal(err)
	}
	if !errors.Is(grown.Error(), kerr.InvalidPartitions) {
		t.Errorf("the topic of groups grew: %v", grown.Error())
	}
	metrics, err := read(r.http, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`karst_groups{state="Stable"} 1`, "karst_group_members 1", "karst_group_offsets 1", "karst_group_commits_total 1"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
}

// TestGroupRecord: what the topic's max.message.bytes says is what a group may be,
// at once. (An operator raises it when a group has become too large.)
func TestGroupRecord(t *testing.T) {
	r := start(t, mem.New(""), grouped("127.0.0.1:0"))
	c := client(t, r.kafka, kgo.MaxVersions(kversion.V2_0_0())) // of those a member has no id beforehand
	joined := func() error {
		q := kmsg.NewPtrJoinGroupRequest()
		q.Group, q.ProtocolType, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = "g", "consumer", 10_000, 10_000
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = "range", make([]byte, 20_000)
		q.Protocols = append(q.Protocols, p)
		resp, err := q.RequestWith(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Group, leave.MemberID = "g", resp.MemberID
		if _, err := leave.RequestWith(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		return kerr.ErrorForCode(resp.ErrorCode)
	}
	limit := func(bytes string) {
		t.Helper()
		a := kadm.NewClient(client(t, r.kafka))
		all, err := a.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &bytes}}, "__consumer_offsets")
		if err == nil {
			err = all[0].Err
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		limit string
		want  error
	}{{"", nil}, {"1000", kerr.InvalidRequest}, {"1000000", nil}} {
		if step.limit != "" {
			limit(step.limit)
		}
		if err := joined(); !errors.Is(err, step.want) {
			t.Errorf("with max.message.bytes %q: %v, want %v", step.limit, err, step.want)
		}
	}
}
