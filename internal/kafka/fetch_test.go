package kafka

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/metadata"
)

// fetchOf makes a sessionless fetch of partitions of topic t at offset 0.
func fetchOf(version int16, partitions ...int32) *kmsg.FetchRequest {
	m := kmsg.NewPtrFetchRequest()
	m.Version, m.MaxWaitMillis, m.MinBytes, m.MaxBytes, m.SessionEpoch = version, 500, 1, 1<<20, -1
	t := kmsg.NewFetchRequestTopic()
	if t.Topic = "t"; version >= 13 {
		t.Topic, t.TopicID = "", topicT
	}
	for _, i := range partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.PartitionMaxBytes = i, 1<<20
		t.Partitions = append(t.Partitions, p)
	}
	if len(partitions) > 0 {
		m.Topics = append(m.Topics, t)
	}
	return m
}

// fetch answers a request and decodes the answer with the generated codec.
func (w *dataWorld) fetch(m *kmsg.FetchRequest) *kmsg.FetchResponse {
	w.t.Helper()
	r, err := w.fetchCtx(context.Background(), m)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *dataWorld) fetchCtx(ctx context.Context, m *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	p, err := applyFetch(w.server, ctx, &Request{Body: m, Version: m.Version, Conn: &Conn{server: w.server}, Received: time.Now()})
	if err != nil {
		return nil, err
	}
	resp, err := p.Wait(ctx)
	if err != nil {
		return nil, err
	}
	defer resp.Release()
	e := &Encoding{}
	resp.Encode(e)
	out := &kmsg.FetchResponse{Version: m.Version}
	return out, out.ReadFrom(joined(e))
}

// answers are the partitions of a response, in order.
func answers(r *kmsg.FetchResponse) []kmsg.FetchResponseTopicPartition {
	var all []kmsg.FetchResponseTopicPartition
	for _, t := range r.Topics {
		all = append(all, t.Partitions...)
	}
	return all
}

func indexes(r *kmsg.FetchResponse) []int32 {
	all := []int32{}
	for _, a := range answers(r) {
		all = append(all, a.Partition)
	}
	return all
}

func sizes(r *kmsg.FetchResponse) map[int32]int {
	all := map[int32]int{}
	for _, a := range answers(r) {
		all[a.Partition] = len(a.RecordBatches)
	}
	return all
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, f func(t *testing.T, w *dataWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newDataWorld(t)
		f(t, w)
		w.end()
		if n := w.log.subscriptions() - len(w.server.records.sessions.byID); n != 0 {
			t.Errorf("%d subscriptions left", n)
		}
	})
}

// Trap 78, O16: the first partition with data gives a whole batch, whatever the
// limits; the others what fits.
func TestFetchAtLeastOneBatch(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		w.log.put(tpT(1), 1000)
		w.log.put(tpT(2), 1000)
		w.log.put(tpT(3), 50)
		m := fetchOf(11, 0, 1, 2, 3)
		m.MaxBytes = 100
		if got := sizes(w.fetch(m)); got[0] != 0 || got[1] != 1000 || got[2] != 0 || got[3] != 0 {
			t.Errorf("limited by the request: %v", got)
		}
		m.MaxBytes = 10_000
		for i := range m.Topics[0].Partitions {
			m.Topics[0].Partitions[i].PartitionMaxBytes = 60
		}
		if got := sizes(w.fetch(m)); got[1] != 1000 || got[2] != 0 || got[3] != 50 {
			t.Errorf("limited by partition: %v", got)
		}
	})
}

// Trap 79: the broker's own bound holds whatever the client asks.
func TestFetchBrokerCap(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		w.server.records.bytesMax = 2500
		for i := range int32(4) {
			w.log.put(tpT(i), 1000)
		}
		m := fetchOf(11, 3, 2, 1, 0)
		m.MaxBytes = 1 << 30
		if got := sizes(w.fetch(m)); got[3] != 1000 || got[2] != 1000 || got[1] != 0 || got[0] != 0 {
			t.Errorf("%v", got)
		}
	})
}

// Trap 81: what is answered at once, and what waits.
func TestFetchLongPoll(t *testing.T) {
	took := func(f func()) time.Duration { start := time.Now(); f(); return time.Since(start) }
	later := func(d time.Duration, f func()) { time.AfterFunc(d, f) }
	for name, c := range map[string]struct {
		before func(w *dataWorld, m *kmsg.FetchRequest)
		want   time.Duration
	}{
		"nothing":       {func(*dataWorld, *kmsg.FetchRequest) {}, 500 * time.Millisecond},
		"no wait":       {func(_ *dataWorld, m *kmsg.FetchRequest) { m.MaxWaitMillis = 0 }, 0},
		"negative wait": {func(_ *dataWorld, m *kmsg.FetchRequest) { m.MaxWaitMillis = -1 }, 0},
		"no minimum":    {func(_ *dataWorld, m *kmsg.FetchRequest) { m.MinBytes = 0 }, 0},
		"no partitions": {func(_ *dataWorld, m *kmsg.FetchRequest) { m.Topics = nil }, 0},
		"data":          {func(w *dataWorld, _ *kmsg.FetchRequest) { w.log.put(tpT(1), 10) }, 0},
		"error":         {func(w *dataWorld, m *kmsg.FetchRequest) { m.Topics[0].Partitions[0].Partition = 99 }, 0},
		"divergence":    {func(w *dataWorld, m *kmsg.FetchRequest) { m.Topics[0].Partitions[0].LastFetchedEpoch = 5 }, 0},
		"data later": {func(w *dataWorld, _ *kmsg.FetchRequest) {
			later(100*time.Millisecond, func() { w.log.put(tpT(1), 10) })
		}, 100 * time.Millisecond},
		"too little": {func(w *dataWorld, m *kmsg.FetchRequest) {
			m.MinBytes = 100
			w.log.put(tpT(1), 10)
		}, 500 * time.Millisecond},
		"enough in two steps": {func(w *dataWorld, m *kmsg.FetchRequest) {
			m.MinBytes = 100
			w.log.put(tpT(1), 60)
			later(50*time.Millisecond, func() { w.log.put(tpT(0), 10) })
			later(200*time.Millisecond, func() { w.log.put(tpT(0), 30) })
		}, 200 * time.Millisecond},
		"leadership": {func(w *dataWorld, _ *kmsg.FetchRequest) {
			later(70*time.Millisecond, func() {
				w.log.with(tpT(0), func(*fakePartition) { w.log.fail[tpT(0)] = karst.NotLeader.Err() })
			})
		}, 70 * time.Millisecond},
		"stable offset": {func(w *dataWorld, m *kmsg.FetchRequest) { // trap 72
			m.IsolationLevel = 1
			w.log.put(tpT(0), 10)
			w.log.with(tpT(0), func(p *fakePartition) { p.stable = 0 })
			later(30*time.Millisecond, func() { w.log.with(tpT(0), func(p *fakePartition) { p.stable = 1 }) })
		}, 30 * time.Millisecond},
		"shutdown": {func(w *dataWorld, _ *kmsg.FetchRequest) {
			later(20*time.Millisecond, func() { close(w.server.draining) })
		}, 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *dataWorld) {
				m := fetchOf(12, 0, 1)
				c.before(w, m)
				if got := took(func() { w.fetch(m) }); got != c.want {
					t.Errorf("answered after %v, want %v", got, c.want)
				}
			})
		})
	}
}

// A client that goes away ends its long poll, and nothing stays behind.
func TestFetchConnectionEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Millisecond, cancel)
		m := fetchOf(12, 0, 1)
		m.MinBytes = 1000
		w.log.put(tpT(0), 10)
		if _, err := w.fetchCtx(ctx, m); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	})
}

// Traps 80, 82, 84 to 88: errors of one partition, and what they say.
func TestFetchErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		w.log.put(tpT(0), 10)
		w.log.with(tpT(1), func(p *fakePartition) { p.epoch = 3 })
		w.log.fail[tpT(2)] = karst.StorageError.Err()
		w.log.fail[tpT(3)] = karst.NotLeader.Err()
		for _, c := range []struct {
			version int16
			change  func(p *kmsg.FetchRequestTopicPartition)
			want    *kerr.Error
		}{
			{11, func(p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = 2 }, kerr.OffsetOutOfRange},
			{11, func(p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = -1 }, kerr.OffsetOutOfRange},
			{11, func(p *kmsg.FetchRequestTopicPartition) { p.Partition, p.CurrentLeaderEpoch = 1, 2 }, kerr.FencedLeaderEpoch},
			{11, func(p *kmsg.FetchRequestTopicPartition) { p.Partition, p.CurrentLeaderEpoch = 1, 4 }, kerr.UnknownLeaderEpoch},
			{11, func(p *kmsg.FetchRequestTopicPartition) { p.Partition = 8 }, kerr.UnknownTopicOrPartition},
			{13, func(p *kmsg.FetchRequestTopicPartition) { p.Partition = -1 }, kerr.UnknownTopicOrPartition},
			{5, func(p *kmsg.FetchRequestTopicPartition) { p.Partition = 2 }, kerr.NotLeaderForPartition},
			{6, func(p *kmsg.FetchRequestTopicPartition) { p.Partition = 2 }, kerr.KafkaStorageError},
			{11, func(p *kmsg.FetchRequestTopicPartition) { p.Partition = 3 }, kerr.NotLeaderForPartition},
		} {
			m := fetchOf(c.version, 0)
			c.change(&m.Topics[0].Partitions[0])
			a := answers(w.fetch(m))[0]
			if a.ErrorCode != c.want.Code {
				t.Errorf("version %d: got %v, want %v", c.version, kerr.ErrorForCode(a.ErrorCode), c.want)
			}
			if a.HighWatermark != -1 || a.LogStartOffset != -1 || a.LastStableOffset != -1 || a.PreferredReadReplica != -1 {
				t.Errorf("%v: watermarks %d %d %d", c.want, a.HighWatermark, a.LogStartOffset, a.LastStableOffset)
			}
			if a.RecordBatches == nil || len(a.RecordBatches) != 0 {
				t.Errorf("%v: records %v", c.want, a.RecordBatches)
			}
		}
	})
}

// Trap 88: unknown topics, by name and by id; a zero id is one of them.
func TestFetchUnknownTopics(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		w.log.put(tpT(0), 10)
		m := fetchOf(13, 0)
		for _, id := range []karst.TopicID{{}, {0xff}} {
			p := kmsg.NewFetchRequestTopicPartition()
			m.Topics = append(m.Topics, kmsg.FetchRequestTopic{TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{p}})
		}
		all := answers(w.fetch(m))
		if len(all) != 3 || all[0].ErrorCode != 0 || len(all[0].RecordBatches) != 10 ||
			all[1].ErrorCode != kerr.UnknownTopicID.Code || all[2].ErrorCode != kerr.UnknownTopicID.Code {
			t.Errorf("by id: %+v", all)
		}
		m = fetchOf(12, 0)
		m.Topics[0].Topic = "nowhere"
		if a := answers(w.fetch(m))[0]; a.ErrorCode != kerr.UnknownTopicOrPartition.Code {
			t.Errorf("by name: %d", a.ErrorCode)
		}
	})
}

// Trap 87: watermarks come with every partition, data or not. Traps 69, 70: the
// aborted list is null for read_uncommitted, and a list for read_committed.
func TestFetchWatermarksAndAborted(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		for range 4 {
			w.log.put(tpT(0), 10)
		}
		w.log.with(tpT(0), func(p *fakePartition) {
			p.start, p.stable, p.aborted = 1, 2, []engine.Aborted{{Producer: 7, First: 0}}
		})
		m := fetchOf(11, 0)
		m.Topics[0].Partitions[0].FetchOffset = 1
		a := answers(w.fetch(m))[0]
		if a.HighWatermark != 4 || a.LastStableOffset != 2 || a.LogStartOffset != 1 || len(a.RecordBatches) != 30 || a.AbortedTransactions != nil {
			t.Errorf("uncommitted: %+v", a)
		}
		m.IsolationLevel = 1
		a = answers(w.fetch(m))[0]
		if a.HighWatermark != 4 || a.LastStableOffset != 2 || len(a.RecordBatches) != 10 || len(a.AbortedTransactions) != 1 || a.AbortedTransactions[0].ProducerID != 7 {
			t.Errorf("committed: %+v", a)
		}
		m.Topics[0].Partitions[0].FetchOffset = 4
		a = answers(w.fetch(m))[0]
		if a.ErrorCode != 0 || a.HighWatermark != 4 || a.AbortedTransactions == nil {
			t.Errorf("between the stable offset and the end: %+v", a)
		}
	})
}

// Trap 85: a client whose log has diverged is told where.
func TestFetchDiverging(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		w.log.put(tpT(0), 10)
		m := fetchOf(12, 0)
		m.Topics[0].Partitions[0].LastFetchedEpoch = 1
		a := answers(w.fetch(m))[0]
		if a.DivergingEpoch.Epoch != 0 || a.DivergingEpoch.EndOffset != 1 || len(a.RecordBatches) != 0 || a.ErrorCode != 0 {
			t.Errorf("%+v", a)
		}
	})
}

// Trap 26: from version 16 on the answer says who leads, and where that is.
func TestFetchLeaderHints(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		u := karst.TopicPartition{Topic: topicU}
		w.log.fail[u] = karst.NotLeader.Err()
		for version, want := range map[int16]int32{15: -1, 16: 2, 18: 2} {
			m := fetchOf(version, 0)
			m.Topics[0].TopicID = topicU
			r := w.fetch(m)
			a := answers(r)[0]
			if a.ErrorCode != kerr.NotLeaderForPartition.Code || a.CurrentLeader.LeaderID != want {
				t.Errorf("version %d: %+v", version, a)
			}
			if want == 2 && (len(r.Brokers) != 1 || r.Brokers[0].Host != "two" || r.Brokers[0].Port != 9093 || *r.Brokers[0].Rack != "r2") {
				t.Errorf("version %d: %+v", version, r.Brokers)
			}
		}
		w.log.fail[u] = karst.FencedLeaderEpoch.Err()
		m := fetchOf(16, 0)
		m.Topics[0].TopicID = topicU
		if a := answers(w.fetch(m))[0]; a.ErrorCode != kerr.FencedLeaderEpoch.Code || a.CurrentLeader.LeaderID != 2 {
			t.Errorf("fenced: %+v", a)
		}
		// This broker itself is no place to send a client that it refuses: it is
		// handing the partition over.
		w.log.fail[tpT(0)] = karst.NotLeader.Err()
		r := w.fetch(fetchOf(17, 0))
		if answers(r)[0].CurrentLeader.LeaderID != -1 || len(r.Brokers) != 0 {
			t.Errorf("points to itself: %+v", r)
		}
	})
}

// O11: a partition whose store does not answer keeps nobody else back, and has
// its data once the store is back (B1).
func TestFetchSlowStore(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		w.log.put(tpT(0), 100)
		w.log.put(tpT(1), 100)
		block := make(chan struct{})
		w.log.with(tpT(0), func(p *fakePartition) { p.cold, p.block = true, block })
		start := time.Now()
		if got := sizes(w.fetch(fetchOf(12, 0, 1))); got[0] != 0 || got[1] != 100 {
			t.Errorf("%v", got)
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("data in memory came after %v", took)
		}
		start = time.Now()
		if got := sizes(w.fetch(fetchOf(12, 0, 1))); got[1] != 100 || time.Since(start) != 0 {
			t.Errorf("the same stuck read kept the second fetch back for %v", time.Since(start))
		}
		time.AfterFunc(200*time.Millisecond, func() { close(block) })
		if got := sizes(w.fetch(fetchOf(12, 0))); got[0] != 100 {
			t.Errorf("after the store came back: %v", got)
		}
	})
}

// What a stuck read had reserved of the response goes to the others in the end.
func TestFetchStuckReadGivesRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		for i := range int32(3) {
			w.log.put(tpT(i), 100)
		}
		w.log.with(tpT(0), func(p *fakePartition) { p.cold, p.block = true, make(chan struct{}) })
		m := fetchOf(12, 0, 1, 2)
		m.MaxBytes = 300
		if got := sizes(w.fetch(m)); got[1] != 100 || got[2] != 100 {
			t.Errorf("%v", got)
		}
	})
}

// A slow store is waited for a little beyond the client's patience, and a read
// that takes longer is found by a later fetch.
func TestFetchSlowerThanTheClient(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		w.log.put(tpT(0), 100)
		w.log.with(tpT(0), func(p *fakePartition) { p.cold, p.coldTime = true, 2500*time.Millisecond })
		m := fetchOf(12, 0)
		m.MaxWaitMillis = 0
		start := time.Now()
		for sizes(w.fetch(m))[0] == 0 {
		}
		if took := time.Since(start); took != 2500*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if n := w.server.records.counts.cold.Load(); n != 3 {
			t.Errorf("asked %d times", n)
		}
	})
}

// A partition with an error makes each fetch return at once; partitions in
// segments make progress all the same.
func TestFetchColdBesideAnError(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		w.log.put(tpT(0), 100)
		w.log.with(tpT(0), func(p *fakePartition) { p.cold, p.coldTime = true, 20*time.Millisecond })
		got := sizes(w.fetch(fetchOf(12, 99, 0)))
		if got[0] != 100 {
			t.Errorf("%v", got)
		}
	})
}

// Many cold partitions: bounded at once, all answered in turn.
func TestFetchManyCold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDataWorld(t)
		var ids []int32
		w.images.apply(t, &metadata.CreatePartitions{ID: topicT, Partitions: make([]metadata.NewPartition, 40)})
		for i := range int32(40) {
			w.log.put(tpT(i), 100)
			w.log.with(tpT(i), func(p *fakePartition) { p.cold, p.coldTime = true, 10*time.Millisecond })
			ids = append(ids, i)
		}
		m := fetchOf(12, ids...)
		m.MinBytes = 4000
		for i := range m.Topics[0].Partitions {
			m.Topics[0].Partitions[i].PartitionMaxBytes = 1000
		}
		total := 0
		for _, n := range sizes(w.fetch(m)) {
			total += n
		}
		if total != 4000 {
			t.Errorf("%d bytes", total)
		}
		if n := w.server.records.counts.cold.Load(); n != 40 {
			t.Errorf("%d cold reads", n)
		}
		w.end()
	})
}

// A cold read that is over after the log moved on is answered with the
// watermarks of now (I5), and not at all if leadership is gone.
func TestFetchColdIsCheckedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		w.log.put(tpT(0), 100)
		w.log.with(tpT(0), func(p *fakePartition) { p.cold, p.coldTime = true, 100*time.Millisecond })
		time.AfterFunc(50*time.Millisecond, func() { w.log.put(tpT(0), 100) })
		if a := answers(w.fetch(fetchOf(12, 0)))[0]; a.HighWatermark != 2 {
			t.Errorf("high watermark %d", a.HighWatermark)
		}
		time.AfterFunc(50*time.Millisecond, func() {
			w.log.with(tpT(0), func(p *fakePartition) { p.epoch = 1 })
		})
		m := fetchOf(12, 0)
		m.Topics[0].Partitions[0].CurrentLeaderEpoch = 0
		if a := answers(w.fetch(m))[0]; a.ErrorCode != kerr.FencedLeaderEpoch.Code || len(a.RecordBatches) != 0 {
			t.Errorf("%+v", a)
		}
	})
}

// Hostile and odd numbers do no harm.
func FuzzFetch(f *testing.F) {
	f.Add(uint64(1), int32(500), int32(1), int32(1<<20), int32(0))
	f.Add(uint64(2), int32(-1), int32(-1), int32(-1), int32(-1))
	f.Fuzz(func(t *testing.T, seed uint64, wait, minBytes, maxBytes, epoch int32) {
		synctest.Test(t, func(t *testing.T) {
			w := newDataWorld(t)
			rng := rand.New(rand.NewPCG(seed, 1))
			for i := range int32(8) {
				for range rng.IntN(3) {
					w.log.put(tpT(i), 1+rng.IntN(100))
				}
				w.log.with(tpT(i), func(p *fakePartition) {
					p.cold, p.coldTime = rng.IntN(3) == 0, time.Duration(rng.IntN(2000))*time.Millisecond
				})
			}
			session := int32(0)
			for range 4 {
				m := fetchOf(int16(7+rng.IntN(12)), int32(rng.IntN(10)), int32(rng.IntN(10)-1))
				m.MaxWaitMillis, m.MinBytes, m.MaxBytes = min(wait, 60_000), minBytes, maxBytes
				m.SessionID, m.SessionEpoch = session, epoch
				for i := range m.Topics[0].Partitions {
					p := &m.Topics[0].Partitions[i]
					p.FetchOffset, p.PartitionMaxBytes = int64(rng.IntN(4)-1), int32(rng.IntN(200)-10)
				}
				r := w.fetch(m)
				if session = r.SessionID; session != 0 {
					epoch = nextEpoch(max(epoch, 0))
				}
			}
			w.end()
		})
	})
}
