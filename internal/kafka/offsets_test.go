package kafka

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
)

// answered applies a request and returns its response.
func answered[R kmsg.Response](w *dataWorld, apply func(*Server, context.Context, *Request) (Pending, error), m kmsg.Request) R {
	w.t.Helper()
	p, err := apply(w.server, context.Background(), &Request{Body: m, Version: m.GetVersion(), Received: time.Now()})
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := p.Wait(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	e := &Encoding{}
	resp.Encode(e)
	out := m.ResponseKind()
	if err := out.ReadFrom(joined(e)); err != nil {
		w.t.Fatal(err)
	}
	r, ok := out.(R)
	if !ok {
		w.t.Fatalf("got a %T", out)
	}
	return r
}

func listOf(version int16, times ...karst.Timestamp) *kmsg.ListOffsetsRequest {
	m := kmsg.NewPtrListOffsetsRequest()
	m.Version = version
	t := kmsg.ListOffsetsRequestTopic{Topic: "t"}
	for i, at := range times {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = int32(i), int64(at)
		t.Partitions = append(t.Partitions, p)
	}
	m.Topics = append(m.Topics, t)
	return m
}

// Trap 89: each special timestamp from its version on.
func TestListOffsetsSpecial(t *testing.T) {
	w := newDataWorld(t)
	since := map[karst.Timestamp]int16{-1: 1, -2: 1, -3: 7, -4: 8, -5: 9, -6: 11, -7: 99}
	for version := int16(1); version <= 11; version++ {
		for at, from := range since {
			a := answered[*kmsg.ListOffsetsResponse](w, applyListOffsets, listOf(version, at)).Topics[0].Partitions[0]
			want := int16(0)
			if version < from {
				want = kerr.UnsupportedVersion.Code
			}
			if a.ErrorCode != want {
				t.Errorf("%d in version %d: %v", at, version, kerr.ErrorForCode(a.ErrorCode))
			}
			if want != 0 && (a.Offset != -1 || a.Timestamp != -1) {
				t.Errorf("%+v", a)
			}
		}
	}
}

// Traps 84, 89, 91, 92.
func TestListOffsets(t *testing.T) {
	w := newDataWorld(t)
	for range 4 {
		w.log.put(tpT(0), 10)
	}
	w.log.with(tpT(0), func(p *fakePartition) { p.start, p.stable, p.epoch = 1, 2, 3 })
	one := func(m *kmsg.ListOffsetsRequest) kmsg.ListOffsetsResponseTopicPartition {
		t.Helper()
		return answered[*kmsg.ListOffsetsResponse](w, applyListOffsets, m).Topics[0].Partitions[0]
	}
	if a := one(listOf(7, engine.Latest)); a.Offset != 4 {
		t.Errorf("latest: %+v", a)
	}
	m := listOf(7, engine.Latest)
	m.IsolationLevel = 1
	if a := one(m); a.Offset != 2 {
		t.Errorf("latest committed: %+v", a)
	}
	if a := one(listOf(7, engine.Earliest)); a.Offset != 1 || a.Timestamp != -1 {
		t.Errorf("earliest: %+v", a)
	}
	for epoch, want := range map[int32]*kerr.Error{2: kerr.FencedLeaderEpoch, 4: kerr.UnknownLeaderEpoch} {
		m := listOf(7, engine.Latest)
		m.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
		if a := one(m); a.ErrorCode != want.Code || a.Offset != -1 {
			t.Errorf("epoch %d: %+v", epoch, a)
		}
	}
	m = listOf(7, engine.Latest, engine.Latest, engine.Latest)
	m.Topics[0].Partitions[2].Partition = 0
	all := answered[*kmsg.ListOffsetsResponse](w, applyListOffsets, m).Topics[0].Partitions
	if all[0].ErrorCode != kerr.InvalidRequest.Code || all[1].ErrorCode != 0 || all[2].ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("twice: %+v", all)
	}
	m = listOf(7, engine.Latest)
	m.Topics[0].Topic = "nowhere"
	if a := one(m); a.ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("unknown topic: %+v", a)
	}
}

// A lookup that the store does not answer ends with the client's time, and keeps
// no other one back (O11).
func TestListOffsetsSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDataWorld(t)
		w.log.with(tpT(0), func(p *fakePartition) { p.block = make(chan struct{}) })
		m := listOf(10, 100, 100, engine.Latest)
		m.TimeoutMillis = 700
		start := time.Now()
		all := answered[*kmsg.ListOffsetsResponse](w, applyListOffsets, m).Topics[0].Partitions
		if took := time.Since(start); took != 700*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if all[0].ErrorCode != kerr.RequestTimedOut.Code || all[1].ErrorCode != 0 || all[2].ErrorCode != 0 {
			t.Errorf("%+v", all)
		}
	})
}

// Trap 85.
func TestOffsetForLeaderEpoch(t *testing.T) {
	w := newDataWorld(t)
	w.log.put(tpT(0), 10)
	w.log.with(tpT(0), func(p *fakePartition) { p.epoch = 3 })
	for _, c := range []struct {
		topic                string
		partition            int32
		current, want        int32
		code                 int16
		answerEpoch, answerE int64
	}{
		{"t", 0, -1, 3, 0, 3, 1},
		{"t", 0, 3, 3, 0, 3, 1},
		{"t", 0, 3, 4, 0, -1, -1},
		{"t", 0, 2, 2, kerr.FencedLeaderEpoch.Code, -1, -1},
		{"t", 0, 4, 2, kerr.UnknownLeaderEpoch.Code, -1, -1},
		{"t", 8, -1, 2, kerr.UnknownTopicOrPartition.Code, -1, -1},
		{"nowhere", 0, -1, 2, kerr.UnknownTopicOrPartition.Code, -1, -1},
	} {
		for version := int16(2); version <= 4; version++ {
			m := kmsg.NewPtrOffsetForLeaderEpochRequest()
			m.Version = version
			m.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: c.topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{
				{Partition: c.partition, CurrentLeaderEpoch: c.current, LeaderEpoch: c.want},
			}}}
			a := answered[*kmsg.OffsetForLeaderEpochResponse](w, applyOffsetForLeaderEpoch, m).Topics[0].Partitions[0]
			if a.ErrorCode != c.code || int64(a.LeaderEpoch) != c.answerEpoch || a.EndOffset != c.answerE {
				t.Errorf("%+v: %+v", c, a)
			}
		}
	}
}

func deleteOf(topic string, offset int64) *kmsg.DeleteRecordsRequest {
	m := kmsg.NewPtrDeleteRecordsRequest()
	m.Version, m.TimeoutMillis = 2, 1000
	m.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: offset}}}}
	return m
}

// Trap 93.
func TestDeleteRecords(t *testing.T) {
	for name, c := range map[string]struct {
		topic  string
		offset int64
		code   int16
		low    int64
	}{
		"to an offset":   {"t", 2, 0, 2},
		"to the end":     {"t", -1, 0, 3},
		"beyond the end": {"t", 4, kerr.OffsetOutOfRange.Code, -1},
		"negative":       {"t", -2, kerr.OffsetOutOfRange.Code, -1},
		"internal":       {"__consumer_offsets", 0, kerr.InvalidTopicException.Code, -1},
		"compacted":      {"c", 0, kerr.PolicyViolation.Code, -1},
		"unknown":        {"nowhere", 0, kerr.UnknownTopicOrPartition.Code, -1},
	} {
		w := newDataWorld(t)
		for range 3 {
			w.log.put(tpT(0), 10)
		}
		a := answered[*kmsg.DeleteRecordsResponse](w, applyDeleteRecords, deleteOf(c.topic, c.offset)).Topics[0].Partitions[0]
		if a.ErrorCode != c.code || a.LowWatermark != c.low {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestDeleteRecordsWaits(t *testing.T) {
	for delay, want := range map[time.Duration]int16{400 * time.Millisecond: 0, 2 * time.Second: kerr.RequestTimedOut.Code} {
		synctest.Test(t, func(t *testing.T) {
			w := newDataWorld(t)
			w.log.put(tpT(0), 10)
			w.log.manual = true
			time.AfterFunc(delay, func() { w.log.settle(nil) })
			start := time.Now()
			a := answered[*kmsg.DeleteRecordsResponse](w, applyDeleteRecords, deleteOf("t", 1)).Topics[0].Partitions[0]
			if took := time.Since(start); a.ErrorCode != want || took != min(delay, time.Second) {
				t.Errorf("%v: %+v after %v", delay, a, took)
			}
		})
	}
}
