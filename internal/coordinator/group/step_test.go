package group

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestLargeEffectsAreCut: what is larger than effectBytes comes in several
// effects, and is answered with the last, so that the answer waits for all.
func TestLargeEffectsAreCut(t *testing.T) {
	m := NewMachine(Config{MetadataMax: 1000})
	now := time.UnixMilli(1e12)
	const partitions = 5000
	r := CommitRequest{Group: "g", Generation: -1, Retention: -1}
	for p := range int32(partitions) {
		r.Offsets = append(r.Offsets, CommitOffset{Topic: TopicRef{Name: "t"}, Partition: p, Metadata: strings.Repeat("m", 100)})
	}
	effects := m.Commit(now, 1, r)
	records := 0
	for i, e := range effects {
		size := 0
		for _, rec := range e.Records {
			size += len(rec.Key) + len(rec.Value)
		}
		records += len(e.Records)
		if last := i == len(effects)-1; size > effectBytes || !e.Lazy || e.Key != "g" || (len(e.Answers) == 1) != last {
			t.Errorf("effect %d of %d: %d bytes, %d answers, key %q, lazy %v", i+1, len(effects), size, len(e.Answers), e.Key, e.Lazy)
		}
	}
	if records != partitions || len(effects) < 2 {
		t.Errorf("%d records in %d effects", records, len(effects))
	}
}

// TestMetadataIsMeasuredAsInKafka: in UTF-16 units, and never longer than a
// record's string may be.
func TestMetadataIsMeasuredAsInKafka(t *testing.T) {
	for metadata, fits := range map[string]bool{
		"":                           true,
		strings.Repeat("a", 10):      true,
		strings.Repeat("a", 11):      false,
		strings.Repeat("é", 10):      true,
		strings.Repeat("é", 11):      false,
		strings.Repeat("€", 10):      true,
		strings.Repeat("𝄞", 5):       true,
		strings.Repeat("𝄞", 6):       false,
		"a" + strings.Repeat("𝄞", 5): false,
	} {
		m := NewMachine(Config{MetadataMax: 10})
		effects := m.Commit(time.UnixMilli(1e12), 1, CommitRequest{Group: "g", Generation: -1, Retention: -1, Offsets: []CommitOffset{{Metadata: metadata}}})
		a := effects[0].Answers[0].Body.(CommitAnswer)
		if got := a.Errs[0] == nil; got != fits {
			t.Errorf("%q fits: %v", metadata, got)
		}
	}
	m := NewMachine(Config{MetadataMax: 1 << 20})
	for n, fits := range map[int]bool{maxString: true, maxString + 1: false} {
		if got := !m.tooLong(strings.Repeat("a", n)); got != fits {
			t.Errorf("%d bytes fit: %v", n, got)
		}
	}
}

// TestTheCheckForExpiredOffsetsGoesInPortions, so that no call takes long.
func TestTheCheckForExpiredOffsetsGoesInPortions(t *testing.T) {
	w := newWorld(Config{OffsetsRetention: time.Hour, OffsetsCheck: 2 * time.Hour})
	const groups = 3*checkGroups - 1
	for g := range groups {
		w.take(w.Commit(w.now, w.ticket(), CommitRequest{Group: fmt.Sprint(g), Generation: -1, Retention: -1, Offsets: []CommitOffset{{Topic: TopicRef{Name: "t"}}}}))
	}
	w.now = w.Deadline()
	for _, left := range []int{groups - checkGroups, groups - 2*checkGroups, 0} {
		if w.Deadline().After(w.now) {
			t.Fatal("the check does not go on")
		}
		w.take(w.Expire(w.now))
		if n := w.Counts().Groups(); n != left {
			t.Fatalf("%d groups are left, should be %d", n, left)
		}
	}
	if !w.Deadline().Equal(w.now.Add(2 * time.Hour)) {
		t.Fatalf("the next check is at %v", w.Deadline())
	}
}
