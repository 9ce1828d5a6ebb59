package kafka

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/proptest"
)

// inSession makes m a request of a session.
func inSession(m *kmsg.FetchRequest, id, epoch int32) *kmsg.FetchRequest {
	m.SessionID, m.SessionEpoch = id, epoch
	return m
}

// quick makes a request that does not wait.
func quick(m *kmsg.FetchRequest) *kmsg.FetchRequest {
	m.MaxWaitMillis = 0
	return m
}

// P2, KIP-227: a fetch in a session costs what changed, not what it covers.
func TestSessionCostsWhatChanged(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		const n = 10_000
		big := karst.TopicID{0xb}
		w.images.apply(t, &metadata.CreateTopic{ID: big, Name: "big", Partitions: make([]metadata.NewPartition, n)})
		m := fetchOf(13, 0)
		m.Topics[0].TopicID = big
		m.Topics[0].Partitions = nil
		for i := range int32(n) {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.PartitionMaxBytes = i, 1<<20
			m.Topics[0].Partitions = append(m.Topics[0].Partitions, p)
		}
		counts := &w.server.records.counts
		r := w.fetch(quick(inSession(m, 0, 0)))
		if len(answers(r)) != n || r.SessionID == 0 || counts.visited.Load() != n {
			t.Fatalf("the first fetch: %d answers, %d visited, session %d", len(answers(r)), counts.visited.Load(), r.SessionID)
		}
		at := func(i int32) karst.TopicPartition {
			return karst.TopicPartition{Topic: big, Partition: karst.Partition(i)}
		}
		epoch := int32(0)
		next := func(change func(m *kmsg.FetchRequest), visited, encoded int64) {
			t.Helper()
			counts.visited.Store(0)
			counts.encoded.Store(0)
			epoch++
			m := inSession(fetchOf(13), r.SessionID, epoch)
			change(m)
			r := w.fetch(m)
			if r.ErrorCode != 0 {
				t.Fatalf("error %d", r.ErrorCode)
			}
			if v, e := counts.visited.Load(), counts.encoded.Load(); v != visited || e != encoded {
				t.Errorf("epoch %d: %d visited and %d encoded, want %d and %d", epoch, v, e, visited, encoded)
			}
		}
		next(func(*kmsg.FetchRequest) {}, 0, 0)
		next(func(*kmsg.FetchRequest) {
			for _, i := range []int32{5, 5000, 9999} {
				w.log.put(at(i), 100)
			}
		}, 3, 3)
		// The client has not taken note of the data: it is there, and told again.
		next(func(*kmsg.FetchRequest) { w.log.put(at(7), 10) }, 4, 4)
		next(func(m *kmsg.FetchRequest) {
			*m = *quick(inSession(fetchOf(13, 5, 7, 5000, 9999), m.SessionID, m.SessionEpoch))
			m.Topics[0].TopicID = big
			for i := range m.Topics[0].Partitions {
				m.Topics[0].Partitions[i].FetchOffset = 1
			}
		}, 4, 0)
		next(func(*kmsg.FetchRequest) {
			time.AfterFunc(time.Millisecond, func() { w.log.put(at(8), 10) })
		}, 1, 1)
	})
}

// Trap 83: what an incremental answer leaves out.
func TestSessionIncremental(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		w.log.put(tpT(1), 100)
		r := w.fetch(quick(inSession(fetchOf(12, 0, 1, 2), 0, 0)))
		id, epoch := r.SessionID, int32(0)
		if id == 0 || !slices.Equal(indexes(r), []int32{0, 1, 2}) {
			t.Fatalf("full: session %d, %v", id, indexes(r))
		}
		step := func(name string, want []int32, m *kmsg.FetchRequest) *kmsg.FetchResponse {
			t.Helper()
			epoch++
			r := w.fetch(quick(inSession(m, id, epoch)))
			if r.ErrorCode != 0 || r.SessionID != id || !slices.Equal(indexes(r), want) {
				t.Errorf("%s: error %d, session %d, partitions %v, want %v", name, r.ErrorCode, r.SessionID, indexes(r), want)
			}
			return r
		}
		ack := fetchOf(12, 1)
		ack.Topics[0].Partitions[0].FetchOffset = 1
		step("read to the end", []int32{}, ack)
		step("nothing new", []int32{}, fetchOf(12))
		w.log.with(tpT(1), func(p *fakePartition) { p.start = 1 })
		step("log start", []int32{1}, fetchOf(12))
		w.log.put(tpT(2), 10)
		w.log.with(tpT(2), func(p *fakePartition) { p.stable = 0 })
		step("data", []int32{2}, fetchOf(12))
		forget := fetchOf(12)
		forget.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "t", Partitions: []int32{2, 77}}}
		step("forgotten", []int32{}, forget)
		w.log.put(tpT(2), 10)
		step("of no interest", []int32{}, fetchOf(12))
		w.log.with(tpT(0), func(*fakePartition) { w.log.fail[tpT(0)] = karst.StorageError.Err() })
		step("error", []int32{0}, fetchOf(12))
		step("error again", []int32{0}, fetchOf(12))
		w.log.with(tpT(0), func(*fakePartition) { delete(w.log.fail, tpT(0)) })
		step("error gone", []int32{0}, fetchOf(12))
		step("quiet", []int32{}, fetchOf(12))
		step("added", []int32{5}, fetchOf(12, 5))
	})
}

// Trap 83: errors of sessions.
func TestSessionErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		open := func(version int16) int32 { return w.fetch(quick(inSession(fetchOf(version, 0), 0, 0))).SessionID }
		check := func(name string, m *kmsg.FetchRequest, want *kerr.Error) {
			t.Helper()
			r := w.fetch(quick(m))
			if r.ErrorCode != want.Code || r.SessionID != 0 || len(r.Topics) != 0 {
				t.Errorf("%s: %v, session %d, %d topics", name, kerr.ErrorForCode(r.ErrorCode), r.SessionID, len(r.Topics))
			}
		}
		id := open(12)
		check("unknown id", inSession(fetchOf(12), id^1, 1), kerr.FetchSessionIDNotFound)
		check("epoch ahead", inSession(fetchOf(12), id, 2), kerr.InvalidFetchSessionEpoch)
		check("negative epoch", inSession(fetchOf(12), id, -2), kerr.InvalidFetchSessionEpoch)
		check("names, then ids", inSession(fetchOf(13), id, 1), kerr.FetchSessionTopicIDError)
		byID := open(13)
		check("ids, then names", inSession(fetchOf(12), byID, 1), kerr.FetchSessionTopicIDError)
		if r := w.fetch(quick(inSession(fetchOf(12), id, 1))); r.ErrorCode != 0 {
			t.Errorf("errors changed the session: %d", r.ErrorCode)
		}
		check("epoch behind", inSession(fetchOf(12), id, 1), kerr.InvalidFetchSessionEpoch)

		// A full request closes the session that it names.
		next := w.fetch(quick(inSession(fetchOf(12, 0), id, 0))).SessionID
		if next == 0 || next == id {
			t.Errorf("new session %d for %d", next, id)
		}
		check("closed by a new one", inSession(fetchOf(12), id, 2), kerr.FetchSessionIDNotFound)
		if r := w.fetch(quick(inSession(fetchOf(12, 0), next, -1))); r.SessionID != 0 || len(answers(r)) != 1 {
			t.Errorf("sessionless: %+v", r)
		}
		check("closed by a sessionless one", inSession(fetchOf(12), next, 1), kerr.FetchSessionIDNotFound)

		// A session that lost its last partition ends.
		id = open(12)
		m := inSession(fetchOf(12), id, 1)
		m.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: "t", Partitions: []int32{0}}}
		if r := w.fetch(m); r.SessionID != 0 || r.ErrorCode != 0 {
			t.Errorf("emptied: session %d error %d", r.SessionID, r.ErrorCode)
		}
		check("ended", inSession(fetchOf(12), id, 2), kerr.FetchSessionIDNotFound)
	})
}

// A second fetch while the first one waits gets an error and does no harm.
func TestSessionBusy(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		id := w.fetch(quick(inSession(fetchOf(12, 0), 0, 0))).SessionID
		done := make(chan *kmsg.FetchResponse)
		go func() { done <- w.fetch(inSession(fetchOf(12), id, 1)) }()
		time.Sleep(time.Millisecond)
		if r := w.fetch(inSession(fetchOf(12), id, 2)); r.ErrorCode != kerr.InvalidFetchSessionEpoch.Code {
			t.Errorf("second: %d", r.ErrorCode)
		}
		w.fetch(quick(inSession(fetchOf(12, 0), id, -1))) // closes it under the first
		w.log.put(tpT(0), 10)
		if r := <-done; r.ErrorCode != 0 || sizes(r)[0] != 10 {
			t.Errorf("first: %+v", r)
		}
	})
}

// A topic that is deleted and created again under its name is followed.
func TestSessionRecreatedTopic(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		id := w.fetch(quick(inSession(fetchOf(12, 0), 0, 0))).SessionID
		again := karst.TopicID{0xaa}
		w.images.apply(t, &metadata.DeleteTopic{ID: topicT})
		w.log.with(tpT(0), func(*fakePartition) {})
		if a := answers(w.fetch(inSession(fetchOf(12), id, 1))); len(a) != 1 || a[0].ErrorCode != kerr.UnknownTopicOrPartition.Code {
			t.Errorf("deleted: %+v", a)
		}
		w.images.apply(t, &metadata.CreateTopic{ID: again, Name: "t", Partitions: make([]metadata.NewPartition, 1)})
		at := karst.TopicPartition{Topic: again}
		w.log.put(at, 10)
		if a := answers(w.fetch(inSession(fetchOf(12), id, 2))); len(a) != 1 || len(a[0].RecordBatches) != 10 {
			t.Errorf("created again: %+v", a)
		}
		ack := fetchOf(12, 0)
		ack.Topics[0].Partitions[0].FetchOffset = 1
		time.AfterFunc(time.Millisecond, func() { w.log.put(at, 20) })
		if r := w.fetch(inSession(ack, id, 3)); sizes(r)[0] != 20 {
			t.Errorf("not woken: %+v", r)
		}
	})
}

// Trap 79: who had data goes to the end of the order, so that a small limit
// serves all in turn.
func TestSessionRotates(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		for i := range int32(3) {
			for range 5 {
				w.log.put(tpT(i), 100)
			}
		}
		m := inSession(fetchOf(12, 0, 1, 2), 0, 0)
		m.MaxBytes = 100
		offsets := map[int32]int64{}
		var order []int32
		var id, epoch int32
		for range 9 {
			r := w.fetch(m)
			id = r.SessionID
			next := fetchOf(12)
			for _, a := range answers(r) {
				if len(a.RecordBatches) > 0 {
					order = append(order, a.Partition)
					offsets[a.Partition]++
					next = fetchOf(12, a.Partition)
					next.Topics[0].Partitions[0].FetchOffset = offsets[a.Partition]
				}
			}
			epoch++
			m = inSession(next, id, epoch)
			m.MaxBytes = 100
		}
		if want := []int32{0, 1, 2, 0, 1, 2, 0, 1, 2}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

func TestNextEpochWraps(t *testing.T) {
	for e, want := range map[int32]int32{0: 1, 1: 2, math.MaxInt32 - 1: math.MaxInt32, math.MaxInt32: 1} {
		if got := nextEpoch(e); got != want {
			t.Errorf("after %d comes %d, want %d", e, got, want)
		}
	}
}

// openSession begins and ends a new session of n partitions.
func openSession(c *sessions, now time.Time, n int) *session {
	q := &fetchRequest{version: 12}
	for i := range int32(n) {
		q.partitions = append(q.partitions, fetchPartition{topic: &fetchTopic{name: "t"}, index: i})
	}
	s, _ := c.begin(now, q)
	c.end(s)
	return s
}

// Trap 83: who may take whose slot.
func TestSessionEviction(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	resume := func(c *sessions, now time.Time, s *session) int16 {
		_, code := c.begin(now, &fetchRequest{version: 12, session: s.id, epoch: s.epoch})
		if code == 0 {
			c.end(s)
		}
		return code
	}
	c := newSessions(2)
	a, b := openSession(c, at(0), 3), openSession(c, at(0), 5)
	if s := openSession(c, at(time.Minute), 100); s.id != 0 {
		t.Error("a young session was evicted")
	}
	resume(c, at(time.Minute), a)
	resume(c, at(time.Minute), b)
	now := at(2*time.Minute + time.Second)
	if s := openSession(c, now, 3); s.id != 0 {
		t.Error("an old session was evicted by one of its size")
	}
	if s := openSession(c, now, 4); s.id == 0 || resume(c, now, a) != kerr.FetchSessionIDNotFound.Code || c.byID[b.id] == nil {
		t.Error("the smallest old session should have made room for a larger one")
	}
	now = at(3*time.Minute + time.Second) // b is idle for more than two minutes, and not the smallest
	if s := openSession(c, now, 1); s.id == 0 || c.byID[b.id] != nil {
		t.Error("the idle session should have made room")
	}
	if c.evictions != 2 || len(c.byID) != 2 || c.partitions != 5 {
		t.Errorf("%d evictions, %d sessions, %d partitions", c.evictions, len(c.byID), c.partitions)
	}
	c.partitionsMax = 10
	if s := openSession(c, at(time.Hour), 6); s.id != 0 {
		t.Error("more partitions than the bound")
	}
}

// The cache against a model: epochs, sizes and the bound on slots hold whatever
// clients send.
func TestSessionCacheModel(t *testing.T) {
	proptest.Run(t, 100, func(t *testing.T, r *rand.Rand) {
		c := newSessions(3)
		c.partitionsMax = 15
		ids := int32(0)
		c.newID = func() int32 { ids++; return ids }
		now := time.Unix(0, 0)
		type model struct {
			epoch int32
			parts map[int32]bool
		}
		want := map[int32]*model{}
		for range proptest.Int(r, 1, 60) {
			now = now.Add(proptest.Int[time.Duration](r, 0, 90) * time.Second)
			q := &fetchRequest{version: 12, session: proptest.Int(r, 0, ids+1)}
			m := want[q.session]
			q.epoch = proptest.Pick(r, []int32{-1, 0, 1, 2, math.MaxInt32})
			if m != nil && r.IntN(4) > 0 {
				q.epoch = m.epoch
			}
			topic := &fetchTopic{name: "t"}
			for range proptest.Int(r, 0, 6) {
				q.partitions = append(q.partitions, fetchPartition{topic: topic, index: proptest.Int[int32](r, 0, 30)})
			}
			for range proptest.Int(r, 0, 6) {
				q.forget = append(q.forget, forgotten{*topic, proptest.Int[int32](r, 0, 30)})
			}
			s, code := c.begin(now, q)
			full := q.epoch == 0 || q.epoch == -1
			switch {
			case full:
				delete(want, q.session)
			case m == nil && code != kerr.FetchSessionIDNotFound.Code, m != nil && m.epoch != q.epoch && code != kerr.InvalidFetchSessionEpoch.Code:
				t.Fatalf("code %d", code)
			case m != nil && m.epoch == q.epoch:
				m.epoch = nextEpoch(m.epoch)
			}
			if s != nil {
				if s.id != 0 {
					if full {
						want[s.id] = &model{1, map[int32]bool{}}
					}
					for _, p := range q.partitions {
						want[s.id].parts[p.index] = true
					}
					if !full {
						for _, f := range q.forget {
							delete(want[s.id].parts, f.index)
						}
					}
					if s.count != len(want[s.id].parts) {
						t.Fatalf("%d partitions, want %d", s.count, len(want[s.id].parts))
					}
				}
				order := s.inOrder()
				if !slices.IsSortedFunc(order, func(a, b *fetchPartition) int { return int(a.turn) - int(b.turn) }) {
					t.Fatal("out of order")
				}
				for _, p := range order { // as a visit does
					if p.ready = false; proptest.Bool(r) {
						s.rotate(p)
					}
				}
				c.end(s)
			}
			total := 0
			for id, s := range c.byID {
				if want[id] == nil || s.size != len(want[id].parts) || s.epoch != want[id].epoch || s.busy {
					t.Fatalf("session %d is not as it should be: %s", id, fmt.Sprint(s.size, s.epoch))
				}
				total += s.size
			}
			for id := range want { // evicted ones
				if c.byID[id] == nil {
					delete(want, id)
				}
			}
			if len(c.byID) > c.slots || total != c.partitions || total > c.partitionsMax {
				t.Fatalf("%d sessions, %d partitions counted as %d", len(c.byID), total, c.partitions)
			}
		}
	})
}
