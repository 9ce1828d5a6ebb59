package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
)

// TestPartitionOf holds the hash against Java's.
func TestPartitionOf(t *testing.T) {
	for id, want := range map[string]int32{
		"":                   0,
		"g":                  103,
		"group":              98629247,
		"my-group":           1906497762, // it is negative
		"polygenelubricants": 0,          // -2147483648, which has no absolute value
		"é":                  233,
		"\U0001f600":         1772899, // two units
	} {
		if got := PartitionOf(id, 1<<31-1); got != want {
			t.Errorf("%q: %d, want %d", id, got, want)
		}
	}
	if got := PartitionOf("my-group", 50); got != 12 {
		t.Errorf("partition %d of 50, want 12", got)
	}
}

// TestTopicsRemain: offsets of topics that are gone go with them; where the topic's
// id is not known, its name decides.
func TestTopicsRemain(t *testing.T) {
	m, now := NewMachine(Config{MetadataMax: 10}), time.Now()
	r := CommitRequest{Group: "g", Generation: -1, Retention: -1}
	there := func(name string, id karst.TopicID) bool {
		return id == karst.TopicID{1} || id.IsZero() && name == "named"
	}
	for name, id := range map[string]karst.TopicID{"kept": {1}, "gone": {2}, "named": {}, "unnamed": {}} {
		r.Offsets = append(r.Offsets, CommitOffset{Topic: TopicRef{Name: name, ID: id}, Offset: 7})
	}
	m.Commit(now, 1, r)
	effects := m.TopicsRemain(now, there)
	var records []coordinator.Record
	for _, e := range effects {
		records = append(records, e.Records...)
	}
	if len(records) != 2 || records[0].Value != nil || records[1].Value != nil {
		t.Errorf("records are %q, want two tombstones", records)
	}
	if got := fmt.Sprint(m.groups["g"].offsets.names()); got != "[kept named]" {
		t.Errorf("offsets are left of %s", got)
	}
	if effects := m.TopicsRemain(now, there); len(effects) != 0 {
		t.Errorf("the second time there are effects: %v", effects)
	}
}

// TestRetainedOffsetGoesWithItsTopic: an offset that was committed with a retention
// of its own has no topic id, and must not be that of the topic's successor.
func TestRetainedOffsetGoesWithItsTopic(t *testing.T) {
	m, now := NewMachine(Config{MetadataMax: 10}), time.Now()
	id := karst.TopicID{1}
	m.Commit(now, 1, CommitRequest{
		Group: "g", Generation: -1, Retention: time.Hour,
		Offsets: []CommitOffset{{Topic: TopicRef{Name: "t", ID: id}, Offset: 1000}},
	})
	if effects := m.TopicsDeleted(now, []karst.TopicID{{9}}, func(string) bool { return true }); len(effects) != 0 {
		t.Errorf("another topic was deleted: %v", effects)
	}
	m.TopicsDeleted(now, []karst.TopicID{id}, func(string) bool { return false })
	if got := m.groups["g"].offsets.names(); len(got) != 0 {
		t.Errorf("offsets are left of %s", got)
	}
}

// TestUnchangedOffsetsAreNotWritten, while they are young.
func TestUnchangedOffsetsAreNotWritten(t *testing.T) {
	m, members := benchGroups(t, 1)
	m.cfg.OffsetsRetention = 16 * time.Hour
	first := CommitRequest{
		Group: members[0].Group, Member: members[0].Member, Generation: members[0].Generation, Retention: -1,
		Offsets: []CommitOffset{{Topic: TopicRef{"orders", karst.TopicID{1}}, Offset: 7, Epoch: 1, Metadata: "m"}},
	}
	start := time.UnixMilli(1e12)
	written := func(after time.Duration, change func(r *CommitRequest, o *CommitOffset)) bool {
		r := first
		r.Offsets = []CommitOffset{first.Offsets[0]}
		change(&r, &r.Offsets[0])
		effects := m.Commit(start.Add(after), 1, r)
		if a := effects[0].Answers[0].Body.(CommitAnswer); a.Err != nil || a.Errs[0] != nil {
			t.Fatalf("%+v", a)
		}
		return len(effects[0].Records) > 0
	}
	same := func(*CommitRequest, *CommitOffset) {}
	for _, step := range []struct {
		what   string
		after  time.Duration
		change func(r *CommitRequest, o *CommitOffset)
		want   bool
	}{
		{"the first", 0, same, true},
		{"the same", time.Minute, same, false},
		{"the same, later", time.Hour - time.Millisecond, same, false},
		{"the same after a sixteenth", time.Hour, same, true},
		{"the same after the second", time.Hour + time.Minute, same, false},
		{"another offset", 2 * time.Hour, func(_ *CommitRequest, o *CommitOffset) { o.Offset++ }, true},
		{"the offset before", 2 * time.Hour, same, true},
		{"another partition", 2 * time.Hour, func(_ *CommitRequest, o *CommitOffset) { o.Partition = 1 }, true},
		{"another epoch", 2 * time.Hour, func(_ *CommitRequest, o *CommitOffset) { o.Epoch++ }, true},
		{"other metadata", 2 * time.Hour, func(_ *CommitRequest, o *CommitOffset) { o.Metadata = "n" }, true},
		{"another topic", 2 * time.Hour, func(_ *CommitRequest, o *CommitOffset) { o.Topic.ID = karst.TopicID{2} }, true},
		{"one that expires", 2 * time.Hour, func(r *CommitRequest, _ *CommitOffset) { r.Retention = time.Hour }, true},
		{"one that expires, again", 2 * time.Hour, func(r *CommitRequest, _ *CommitOffset) { r.Retention = time.Hour }, true},
	} {
		if got := written(step.after, step.change); got != step.want {
			t.Errorf("%s: written %v, want %v", step.what, got, step.want)
		}
	}

	simple := CommitRequest{Group: "simple", Generation: -1, Retention: -1, Offsets: first.Offsets}
	for range 2 {
		if effects := m.Commit(start, 1, simple); len(effects[0].Records) != 1 {
			t.Error("a commit of an administrator is not written")
		}
	}
}
