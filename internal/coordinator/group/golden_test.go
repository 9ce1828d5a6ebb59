package group

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/karst-io/karst/internal/coordinator"
)

// goldenFile holds every record of __consumer_offsets of an Apache Kafka 4.3.0
// after the requests of capture: key and value in hexadecimal, "-" for a tombstone.
const goldenFile = "testdata/kafka-4.3.0.records"

var capturing = flag.String("capture", "", "address of an Apache Kafka without groups, to take "+goldenFile+" from")

// TestGoldenRecords reads what Kafka wrote, and writes the same bytes from what
// it read.
func TestGoldenRecords(t *testing.T) {
	if *capturing != "" {
		capture(t, *capturing)
	}
	seen := map[string]int{}
	for i, r := range recordsOf(t, goldenFile) {
		m := NewMachine(Config{})
		if err := m.Replay(r); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		name := "tombstone"
		var again coordinator.Record
		for _, g := range m.groups {
			for topic, o := range g.offsets.topics {
				for p, c := range o.partitions {
					name = fmt.Sprintf("offset, value version %d", r.Value[1])
					batch := newOffsetBatch(g.id, 1)
					again = batch.offset(topic, p, &c)
				}
			}
			if g.offsets.len() == 0 {
				name = fmt.Sprintf("group with %d members, value version %d", len(g.members), r.Value[1])
				again, _ = m.groupRecord(g)
			}
		}
		seen[name]++
		if name == "tombstone" {
			continue
		}
		if !bytes.Equal(again.Key, r.Key) || !bytes.Equal(again.Value, r.Value) {
			t.Errorf("record %d (%s):\nKafka %x %x\nKarst %x %x", i, name, r.Key, r.Value, again.Key, again.Value)
		}
	}
	for _, name := range []string{
		"tombstone", "offset, value version 1", "offset, value version 4",
		"group with 0 members, value version 3", "group with 1 members, value version 3", "group with 2 members, value version 3",
	} {
		if seen[name] == 0 {
			t.Errorf("no %s among %v", name, seen)
		}
	}
}

// recordsOf reads a file of keys and values in hexadecimal.
func recordsOf(t testing.TB, file string) []coordinator.Record {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []coordinator.Record
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, _ := strings.Cut(line, " ")
		r := coordinator.Record{}
		if r.Key, err = hex.DecodeString(key); err != nil {
			t.Fatal(err)
		}
		if value != "-" {
			if r.Value, err = hex.DecodeString(value); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, r)
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	return all
}

// capture sends Kafka requests of every kind that writes, and takes the records.
func capture(t *testing.T, addr string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client := func(opts ...kgo.Opt) capturer {
		c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr), kgo.ClientID("golden"))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return capturer{t, c, ctx}
	}
	// What waits at the broker holds up its connection: the second member has another.
	c, second := client(), client()
	old := client(kgo.MaxVersions(kversion.V2_0_0())) // OffsetCommit 4, with a retention time

	id := c.createTopic()
	c.commit(id, "simple", "", -1, 0, 7, 0)
	old.commit(id, "simple", "", -1, 1, 8, time.Hour)
	c.commit(id, "doomed", "", -1, 2, 9, 0)

	first := c.join("dynamic", "", nil).MemberID
	g := c.join("dynamic", first, nil).Generation
	c.sync("dynamic", first, nil, g, first)
	c.commit(id, "dynamic", first, g, 0, 100, 0)
	c.leave("dynamic", first, nil)

	a, b := "instance-a", "instance-b"
	one := c.join("static", "", &a)
	c.sync("static", one.MemberID, &a, one.Generation, one.MemberID)
	two := make(chan *kmsg.JoinGroupResponse)
	go func() { two <- second.join("static", "", &b) }()
	time.Sleep(500 * time.Millisecond)
	one = c.join("static", one.MemberID, &a)
	other := <-two
	done := make(chan struct{})
	go func() { second.sync("static", other.MemberID, &b, other.Generation); close(done) }()
	c.sync("static", one.MemberID, &a, one.Generation, one.MemberID, other.MemberID)
	<-done
	c.join("static", "", &a) // replaced while Stable: a record, no rebalance

	c.deleteOffset("simple", 1)
	c.deleteGroup("doomed")
	from := map[string]map[int32]kgo.Offset{Topic: {0: kgo.NewOffset().AtStart()}}
	dump(ctx, t, client(kgo.ConsumePartitions(from)).Client)
}

// capturer sends requests that must succeed.
type capturer struct {
	*testing.T
	*kgo.Client

	ctx context.Context //nolint:containedctx // of one test
}

// goldenTopic is what the groups read.
const goldenTopic = "orders"

func (c capturer) createTopic() [16]byte {
	r := kmsg.NewCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = goldenTopic, 3, 1
	r.Topics = append(r.Topics, topic)
	resp, err := r.RequestWith(c.ctx, c.Client)
	if err != nil || resp.Topics[0].ErrorCode != 0 {
		c.Fatal(resp, err)
	}
	return resp.Topics[0].TopicID
}

func (c capturer) commit(id [16]byte, group, member string, generation, partition int32, offset int64, retention time.Duration) {
	r := kmsg.NewOffsetCommitRequest()
	r.Group, r.MemberID, r.Generation = group, member, generation
	if retention > 0 {
		r.RetentionTimeMillis = retention.Milliseconds()
	}
	text := "somewhere"
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = goldenTopic, id
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, offset, 0, &text
	topic.Partitions = append(topic.Partitions, p)
	r.Topics = append(r.Topics, topic)
	if resp, err := r.RequestWith(c.ctx, c.Client); err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		c.Fatal(resp, err)
	}
}

func (c capturer) join(group, member string, instance *string) *kmsg.JoinGroupResponse {
	r := kmsg.NewJoinGroupRequest()
	r.Group, r.MemberID, r.InstanceID, r.ProtocolType = group, member, instance, consumerType
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 30000, 20000
	for _, name := range []string{"range", "roundrobin"} {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, subscription(goldenTopic)
		r.Protocols = append(r.Protocols, p)
	}
	resp, err := r.RequestWith(c.ctx, c.Client)
	if err != nil {
		c.Error(err)
		return kmsg.NewPtrJoinGroupResponse()
	}
	return resp
}

func (c capturer) sync(group, member string, instance *string, generation int32, assign ...string) {
	r := kmsg.NewSyncGroupRequest()
	kind, protocol := consumerType, "range"
	r.ProtocolType, r.Protocol = &kind, &protocol
	r.Group, r.MemberID, r.InstanceID, r.Generation = group, member, instance, generation
	for _, m := range assign {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = m, []byte("assigned to "+m[:6])
		r.GroupAssignment = append(r.GroupAssignment, a)
	}
	if resp, err := r.RequestWith(c.ctx, c.Client); err != nil || resp.ErrorCode != 0 {
		c.Error(resp, err)
	}
}

func (c capturer) leave(group, member string, instance *string) {
	r := kmsg.NewLeaveGroupRequest()
	r.Group = group
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID = member, instance
	r.Members = append(r.Members, m)
	if resp, err := r.RequestWith(c.ctx, c.Client); err != nil || resp.ErrorCode != 0 || resp.Members[0].ErrorCode != 0 {
		c.Fatal(resp, err)
	}
}

func (c capturer) deleteOffset(group string, partition int32) {
	r := kmsg.NewOffsetDeleteRequest()
	r.Group = group
	topic := kmsg.NewOffsetDeleteRequestTopic()
	topic.Topic = goldenTopic
	p := kmsg.NewOffsetDeleteRequestTopicPartition()
	p.Partition = partition
	topic.Partitions = append(topic.Partitions, p)
	r.Topics = append(r.Topics, topic)
	if resp, err := r.RequestWith(c.ctx, c.Client); err != nil || resp.ErrorCode != 0 {
		c.Fatal(resp, err)
	}
}

func (c capturer) deleteGroup(group string) {
	r := kmsg.NewDeleteGroupsRequest()
	r.Groups = []string{group}
	if resp, err := r.RequestWith(c.ctx, c.Client); err != nil || resp.Groups[0].ErrorCode != 0 {
		c.Fatal(resp, err)
	}
}

// dump writes the golden file; the last record is the tombstone of "doomed".
func dump(ctx context.Context, t *testing.T, c *kgo.Client) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "# %s of Apache Kafka 4.3.0 after the requests of golden_test.go\n", Topic)
	last := hex.EncodeToString(groupTombstone("doomed").Key)
	for {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			key, value := hex.EncodeToString(r.Key), "-"
			if r.Value != nil {
				value = hex.EncodeToString(r.Value)
			}
			fmt.Fprintln(&text, key, value)
			if key == last && r.Value == nil {
				if err := os.WriteFile(goldenFile, text.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
}
