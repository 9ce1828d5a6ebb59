package group

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
)

// versionsFile has a record of every version; Kafka's own classes wrote them.
const versionsFile = "testdata/kafka-4.3.0.versions"

// TestEveryVersionIsRead reads what any Kafka may have left in the topic.
func TestEveryVersionIsRead(t *testing.T) {
	var got []string
	for i, r := range recordsOf(t, versionsFile) {
		m := NewMachine(Config{})
		if err := m.Replay(r); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if len(m.groups) == 0 {
			got = append(got, "skipped")
		}
		for id, g := range m.groups {
			if g.offsets.len() > 0 {
				got = append(got, fmt.Sprintf("%s: %s", id, offsetsText(&g.offsets)))
			} else {
				got = append(got, fmt.Sprintf("%s: since %d %s", id, g.changed, groupText(g)))
			}
		}
	}
	offset := func(epoch karst.Epoch, expires int64, topic karst.TopicID) string {
		return fmt.Sprintf("g: t-2 %+v; ", committed{topic: topic, offset: 77, epoch: epoch, metadata: "meta", at: 1e12, expires: expires})
	}
	member := func(since int64, instance string, rebalance time.Duration) string {
		return fmt.Sprintf(`g: since %d Stable generation 3 type "consumer" protocol range leader "m" reads ["t"]`, since) + "\n" +
			fmt.Sprintf(`m/%s {c /127.0.0.1} 30s %v (000000000001000174ffffffff) "\t"`, instance, rebalance)
	}
	id := karst.TopicID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	want := []string{
		offset(-1, -1, karst.TopicID{}), offset(-1, 1000000060000, karst.TopicID{}), offset(-1, -1, karst.TopicID{}),
		offset(5, -1, karst.TopicID{}), offset(5, -1, id),
		member(-1, "none", 30*time.Second), member(-1, "none", time.Minute), member(1e12, "none", time.Minute),
		member(1e12, "i", time.Minute), member(1e12, "i", time.Minute),
		"skipped", "skipped", "skipped",
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("record %d:\n%s\nshould be\n%s", i, got[min(i, len(got)-1):][0], want[min(i, len(want)-1):][0])
		}
	}
}

// TestWhatIsNewerIsSkipped: types and versions of Kafkas to come are no errors.
func TestWhatIsNewerIsSkipped(t *testing.T) {
	for _, r := range recordsOf(t, versionsFile) {
		for _, newer := range []coordinator.Record{
			{Key: r.Key, Value: append([]byte{0, byte(newestValue) + 1}, r.Value[2:]...)},
			{Key: append([]byte{0x7f, 0xff}, r.Key[2:]...), Value: r.Value},
			{Key: append([]byte{0, 24}, r.Key[2:]...)},
		} {
			m := NewMachine(Config{})
			if err := m.Replay(newer); err != nil || len(m.groups) > 0 {
				t.Errorf("%x %x: %d groups, %v", newer.Key, newer.Value, len(m.groups), err)
			}
		}
	}
}

// TestDamagedRecords: of a damaged record an error tells, and nothing is kept.
func TestDamagedRecords(t *testing.T) {
	for _, r := range append(recordsOf(t, goldenFile), recordsOf(t, versionsFile)[:10]...) {
		for n := range len(r.Key) {
			if err := NewMachine(Config{}).Replay(coordinator.Record{Key: r.Key[:n], Value: r.Value}); err == nil {
				t.Errorf("key %x cut to %d bytes is read", r.Key, n)
			}
		}
		for n := range len(r.Value) {
			m := NewMachine(Config{})
			err := m.Replay(coordinator.Record{Key: r.Key, Value: r.Value[:n:n]})
			if err == nil || len(m.groups) > 0 {
				t.Errorf("value %x cut to %d bytes: %d groups, %v", r.Value, n, len(m.groups), err)
			}
		}
	}
}

// TestOffsetsOutliveTheRecordOfTheirGroup: when a group moves to the protocol of
// KIP-848, Kafka deletes its record, and no offset.
func TestOffsetsOutliveTheRecordOfTheirGroup(t *testing.T) {
	all := recordsOf(t, versionsFile)
	m := NewMachine(Config{})
	for _, r := range []coordinator.Record{all[8], all[4], {Key: all[8].Key}} {
		must(m.Replay(r))
	}
	g := m.groups["g"]
	if g == nil || g.state != stateEmpty || g.kind != "" || g.offsets.len() != 1 || m.Counts() != (Counts{Empty: 1, Offsets: 1}) {
		t.Fatalf("%+v, %+v", g, m.Counts())
	}
	must(m.Replay(all[8]))
	if g = m.groups["g"]; g.state != stateStable || g.offsets.len() != 1 || m.Counts() != (Counts{Stable: 1, Members: 1, Offsets: 1}) {
		t.Fatalf("%+v, %+v", g, m.Counts())
	}
	must(m.Replay(coordinator.Record{Key: all[4].Key}))
	must(m.Replay(coordinator.Record{Key: all[8].Key}))
	if len(m.groups) != 0 || m.Counts() != (Counts{}) {
		t.Fatalf("%d groups, %+v", len(m.groups), m.Counts())
	}
}

// FuzzReplay loads any record after one of every kind. What is taken is written
// again, and then read as the same.
func FuzzReplay(f *testing.F) {
	var before []coordinator.Record
	for _, file := range []string{goldenFile, versionsFile} {
		for _, r := range recordsOf(f, file) {
			f.Add(r.Key, r.Value, r.Value == nil)
			before = append(before, r)
		}
	}
	f.Fuzz(func(t *testing.T, key, value []byte, gone bool) {
		m := NewMachine(Config{})
		if gone {
			value = nil
			for _, r := range before {
				must(m.Replay(r))
			}
		} else if value == nil {
			value = []byte{}
		}
		if m.Replay(coordinator.Record{Key: bytes.Clone(key), Value: bytes.Clone(value)}) != nil {
			return
		}
		again := NewMachine(Config{})
		for id, g := range m.groups {
			if len(id) > maxString {
				t.Fatalf("a group id of %d bytes", len(id))
			}
			// A group's record in its oldest version does not say since when it is empty.
			r, _ := m.groupRecord(g)
			must(again.Replay(r))
			for topic, o := range g.offsets.topics {
				for p, c := range o.partitions {
					batch := newOffsetBatch(id, 1)
					must(again.Replay(batch.offset(topic, p, &c)))
				}
			}
		}
		if err := sameState(m, again); err != nil {
			t.Fatal(err)
		}
		if m.Counts() != again.Counts() {
			t.Fatalf("%+v, and again %+v", m.Counts(), again.Counts())
		}
		m.Start(time.UnixMilli(1e12))
		for range 3 {
			if at := m.Deadline(); !at.IsZero() {
				m.Expire(at)
			}
		}
	})
}

// FuzzSubscription reads any bytes as a subscription, and what it reads is there.
func FuzzSubscription(f *testing.F) {
	f.Add(subscription("t", "u", ""))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		topics := map[string]struct{}{}
		known := subscribedTopics(b, topics)
		total := 0
		for topic := range topics {
			total += 2 + len(topic)
			if !bytes.Contains(b, []byte(topic)) {
				t.Fatalf("topic %q is not in %x", topic, b)
			}
		}
		if total > len(b) {
			t.Fatalf("%d bytes of topics from %d", total, len(b))
		}
		if !known {
			return
		}
		all := make([]string, 0, len(topics))
		for topic := range topics {
			all = append(all, topic)
		}
		again := map[string]struct{}{}
		slices.Sort(all)
		if !subscribedTopics(subscription(all...), again) || len(again) != len(topics) {
			t.Fatalf("%q becomes %v", strings.Join(all, ","), again)
		}
	})
}
