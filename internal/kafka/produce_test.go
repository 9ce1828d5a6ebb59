package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/record"
)

// batchOf encodes a batch of n records.
func batchOf(t *testing.T, n int, change func(b *record.Builder)) []byte {
	t.Helper()
	b := record.NewBuilder(record.NewCodecs(record.Limits{}))
	if change != nil {
		change(b)
	}
	for i := range n {
		b.Append(1000, nil, fmt.Appendf(nil, "value %d", i))
	}
	out, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// produceOf makes a request of one batch of topic t for each partition.
func produceOf(t *testing.T, version, acks int16, partitions ...int32) *kmsg.ProduceRequest {
	t.Helper()
	m := kmsg.NewPtrProduceRequest()
	m.Version, m.Acks, m.TimeoutMillis = version, acks, 1000
	topic := kmsg.ProduceRequestTopic{Topic: "t"}
	if version >= 13 {
		topic = kmsg.ProduceRequestTopic{TopicID: topicT}
	}
	for _, p := range partitions {
		topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{Partition: p, Records: batchOf(t, 2, nil)})
	}
	m.Topics = append(m.Topics, topic)
	return m
}

// produceCtx applies a request and waits for its answer, nil for none.
func (w *dataWorld) produceCtx(ctx context.Context, m *kmsg.ProduceRequest, clientID string) (*kmsg.ProduceResponse, error) {
	return w.produceOn(ctx, &Conn{server: w.server, gaps: gaps{}}, m, clientID)
}

// produceOn is produceCtx on a connection.
func (w *dataWorld) produceOn(ctx context.Context, c *Conn, m *kmsg.ProduceRequest, clientID string) (*kmsg.ProduceResponse, error) {
	r := &Request{Body: m, Version: m.Version, ClientID: clientID, Conn: c, Received: time.Now()}
	p, err := applyProduce(w.server, ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := p.Wait(ctx)
	if resp == nil || err != nil {
		return nil, err
	}
	defer resp.Release()
	e := &Encoding{}
	resp.Encode(e)
	out := &kmsg.ProduceResponse{Version: m.Version}
	return out, out.ReadFrom(joined(e))
}

func (w *dataWorld) produce(m *kmsg.ProduceRequest) *kmsg.ProduceResponse {
	w.t.Helper()
	r, err := w.produceCtx(context.Background(), m, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// Traps 36, 45, 47 to 49, 62: what is refused, in which words, and that nothing
// of it was appended.
func TestProduceRefuses(t *testing.T) {
	records := func(m *kmsg.ProduceRequest) *[]byte { return &m.Topics[0].Partitions[0].Records }
	transactional := func(t *testing.T, m *kmsg.ProduceRequest) {
		*records(m) = batchOf(t, 1, func(b *record.Builder) { b.Transactional, b.Producer, b.ProducerEpoch, b.BaseSequence = true, 5, 0, 0 })
	}
	for name, c := range map[string]struct {
		version int16
		change  func(t *testing.T, m *kmsg.ProduceRequest)
		want    *kerr.Error
	}{
		"acks 2":       {9, func(_ *testing.T, m *kmsg.ProduceRequest) { m.Acks = 2 }, kerr.InvalidRequiredAcks},
		"acks -2":      {9, func(_ *testing.T, m *kmsg.ProduceRequest) { m.Acks = -2 }, kerr.InvalidRequiredAcks},
		"null":         {9, func(_ *testing.T, m *kmsg.ProduceRequest) { *records(m) = nil }, kerr.InvalidRecord},
		"no batch":     {9, func(_ *testing.T, m *kmsg.ProduceRequest) { *records(m) = []byte{} }, kerr.InvalidRecord},
		"two batches":  {9, func(_ *testing.T, m *kmsg.ProduceRequest) { *records(m) = append(*records(m), *records(m)...) }, kerr.InvalidRecord},
		"cut":          {9, func(_ *testing.T, m *kmsg.ProduceRequest) { *records(m) = (*records(m))[:70] }, kerr.InvalidRecord},
		"magic 1":      {9, func(_ *testing.T, m *kmsg.ProduceRequest) { (*records(m))[16] = 1 }, kerr.InvalidRecord},
		"tiny":         {9, func(_ *testing.T, m *kmsg.ProduceRequest) { binary.BigEndian.PutUint32((*records(m))[8:], 3) }, kerr.CorruptMessage},
		"negative":     {9, func(_ *testing.T, m *kmsg.ProduceRequest) { binary.BigEndian.PutUint32((*records(m))[8:], 1<<31) }, kerr.CorruptMessage},
		"zstd in v6":   {6, func(_ *testing.T, m *kmsg.ProduceRequest) { (*records(m))[22] |= 4 }, kerr.UnsupportedCompressionType},
		"topic":        {12, func(_ *testing.T, m *kmsg.ProduceRequest) { m.Topics[0].Topic = "nowhere" }, kerr.UnknownTopicOrPartition},
		"partition":    {12, func(_ *testing.T, m *kmsg.ProduceRequest) { m.Topics[0].Partitions[0].Partition = 8 }, kerr.UnknownTopicOrPartition},
		"id":           {13, func(_ *testing.T, m *kmsg.ProduceRequest) { m.Topics[0].TopicID = karst.TopicID{0xff} }, kerr.UnknownTopicID},
		"zero id":      {13, func(_ *testing.T, m *kmsg.ProduceRequest) { m.Topics[0].TopicID = karst.TopicID{} }, kerr.UnknownTopicID},
		"internal":     {12, func(_ *testing.T, m *kmsg.ProduceRequest) { m.Topics[0].Topic = "__consumer_offsets" }, kerr.InvalidTopicException},
		"no txn id":    {10, transactional, kerr.TransactionalIDAuthorizationFailed},
		"not in a txn": {10, func(t *testing.T, m *kmsg.ProduceRequest) { transactional(t, m); m.TransactionID = new(string) }, kerr.InvalidTxnState},
		"abortable":    {11, func(t *testing.T, m *kmsg.ProduceRequest) { transactional(t, m); m.TransactionID = new(string) }, kerr.TransactionAbortable},
	} {
		t.Run(name, func(t *testing.T) {
			w := newDataWorld(t)
			m := produceOf(t, c.version, -1, 0)
			c.change(t, m)
			a := w.produce(m).Topics[0].Partitions[0]
			if a.ErrorCode != c.want.Code || a.BaseOffset != -1 || a.LogAppendTime != -1 || a.LogStartOffset != -1 {
				t.Errorf("%v: %+v", kerr.ErrorForCode(a.ErrorCode), a)
			}
			if c.version >= 8 && (a.ErrorMessage == nil || *a.ErrorMessage == "") {
				t.Error("without a message")
			}
			if w.log.appends != 0 {
				t.Error("it was appended")
			}
		})
	}
}

// Trap 47: the admin client may write to internal topics.
func TestProduceInternalByAdmin(t *testing.T) {
	w := newDataWorld(t)
	m := produceOf(t, 12, -1, 0)
	m.Topics[0].Topic = "__consumer_offsets"
	r, err := w.produceCtx(context.Background(), m, "__admin_client")
	if err != nil || r.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Errorf("%v %+v", err, r)
	}
}

// Trap 48: one bad partition does not fail the others; answers come in the order
// of the request. A partition that is there twice is refused in both places.
func TestProducePartitions(t *testing.T) {
	w := newDataWorld(t)
	w.log.fail[tpT(1)] = &karst.Error{Code: karst.InvalidRecord, Message: "no", Records: []karst.RecordError{{Index: 1, Message: "no key"}}}
	w.log.put(tpT(0), 10)
	m := produceOf(t, 8, -1, 3, 1, 0, 4, 4)
	all := w.produce(m).Topics[0].Partitions
	for i, want := range []struct {
		index int32
		code  int16
		base  int64
	}{{3, 0, 0}, {1, kerr.InvalidRecord.Code, -1}, {0, 0, 1}, {4, kerr.InvalidRequest.Code, -1}, {4, kerr.InvalidRequest.Code, -1}} {
		if a := all[i]; a.Partition != want.index || a.ErrorCode != want.code || a.BaseOffset != want.base {
			t.Errorf("%d: %+v", i, a)
		}
	}
	if e := all[1].ErrorRecords; len(e) != 1 || e[0].RelativeOffset != 1 || *e[0].ErrorMessage != "no key" || *all[1].ErrorMessage != "no" {
		t.Errorf("trap 40: %+v", all[1])
	}
	if all[0].LogStartOffset != 0 || all[0].LogAppendTime != -1 || all[0].ErrorMessage != nil {
		t.Errorf("%+v", all[0])
	}
}

// I1, trap 45: acks=1 waits for the store as acks=-1 does.
func TestProduceWaitsForTheStore(t *testing.T) {
	for _, acks := range []int16{1, -1} {
		synctest.Test(t, func(t *testing.T) {
			w := newDataWorld(t)
			w.log.manual = true
			time.AfterFunc(300*time.Millisecond, func() { w.log.settle(nil) })
			start := time.Now()
			r := w.produce(produceOf(t, 9, acks, 0, 1, 2))
			if took := time.Since(start); took != 300*time.Millisecond {
				t.Errorf("acks=%d answered after %v", acks, took)
			}
			for _, a := range r.Topics[0].Partitions {
				if a.ErrorCode != 0 || a.BaseOffset != 0 {
					t.Errorf("%+v", a)
				}
			}
		})
	}
}

// Trap 46: a timeout is indefinite; what was durable by then is acknowledged.
func TestProduceTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDataWorld(t)
		w.log.manual = true
		time.AfterFunc(500*time.Millisecond, func() {
			w.log.mu.Lock()
			defer w.log.mu.Unlock()
			close(w.log.commits[1].done)
		})
		start := time.Now()
		all := w.produce(produceOf(t, 9, -1, 0, 1)).Topics[0].Partitions
		if took := time.Since(start); took != time.Second {
			t.Errorf("answered after %v", took)
		}
		if all[0].ErrorCode != kerr.RequestTimedOut.Code || all[0].BaseOffset != -1 || all[1].ErrorCode != 0 {
			t.Errorf("%+v", all)
		}
	})
}

// T6: an incarnation that ended before it wrote answers NOT_LEADER, with a hint
// from version 10 on (trap 26).
func TestProduceNotLeader(t *testing.T) {
	for version, want := range map[int16]int32{9: -1, 10: 2, 12: 2} {
		synctest.Test(t, func(t *testing.T) {
			w := newDataWorld(t)
			w.log.manual = true
			time.AfterFunc(time.Millisecond, func() { w.log.settle(karst.NotLeader.Err()) })
			m := produceOf(t, version, -1, 0)
			m.Topics[0].Topic = "u"
			r := w.produce(m)
			a := r.Topics[0].Partitions[0]
			if a.ErrorCode != kerr.NotLeaderForPartition.Code || a.BaseOffset != -1 || a.CurrentLeader.LeaderID != want {
				t.Errorf("version %d: %+v", version, a)
			}
			if want == 2 && (len(r.Brokers) != 1 || r.Brokers[0].Host != "two") {
				t.Errorf("version %d: %+v", version, r.Brokers)
			}
		})
	}
}

// A broker that hands a partition over points nowhere until it has, then to the
// new leader, at the address of the listener that the client came through.
func TestProduceWhileHandingOver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		w.log.fail[tpT(0)] = karst.NotLeader.Err()
		r := w.produce(produceOf(t, 12, -1, 0))
		if a := r.Topics[0].Partitions[0]; a.ErrorCode != kerr.NotLeaderForPartition.Code || a.CurrentLeader.LeaderID != -1 || len(r.Brokers) != 0 {
			t.Errorf("handing over: %+v, %+v", a, r.Brokers)
		}
		w.move(0, otherInc)
		w.server.records.listener = "OUT"
		r = w.produce(produceOf(t, 12, -1, 0))
		if a := r.Topics[0].Partitions[0]; a.CurrentLeader.LeaderID != 2 || a.CurrentLeader.LeaderEpoch != 1 || len(r.Brokers) != 1 || r.Brokers[0].Host != "two.out" || r.Brokers[0].Port != 1 {
			t.Errorf("handed over: %+v, %+v", a, r.Brokers)
		}
	})
}

// While a partition is handed over an answer waits until it can name the next
// leader: a client that is told nothing asks for metadata too early. It does not
// wait for ever.
func TestHandOverNamesTheNextLeader(t *testing.T) {
	ask := map[string]func(w *dataWorld) int32{
		"produce": func(w *dataWorld) int32 {
			return w.produce(produceOf(w.t, 12, -1, 0)).Topics[0].Partitions[0].CurrentLeader.LeaderID
		},
		"fetch": func(w *dataWorld) int32 { return answers(w.fetch(fetchOf(17, 0)))[0].CurrentLeader.LeaderID },
	}
	for name, ask := range ask {
		inBubble(t, func(t *testing.T, w *dataWorld) {
			w.log.fail[tpT(0)] = karst.NotLeader.Err()
			began := time.Now()
			if id := ask(w); id != -1 || time.Since(began) > time.Second {
				t.Errorf("%s: points to %d after %v", name, id, time.Since(began))
			}
			const takes = 100 * time.Millisecond
			time.AfterFunc(takes, func() { w.move(0, otherInc) })
			began = time.Now()
			if id := ask(w); id != 2 || time.Since(began) > takes+handOverLook {
				t.Errorf("%s: points to %d after %v", name, id, time.Since(began))
			}
		})
	}
}

// Whoever asks the wrong broker about a partition is told so.
func TestNotLedHere(t *testing.T) {
	w := newDataWorld(t)
	u := karst.TopicPartition{Topic: topicU}
	w.log.fail[u] = karst.NotLeader.Err()
	list := listOf(7, engine.Latest)
	list.Topics[0].Topic = "u"
	list.Topics[0].Partitions[0].Partition = 0
	epoch := kmsg.NewPtrOffsetForLeaderEpochRequest()
	epoch.Version = 4
	epoch.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "u", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{CurrentLeaderEpoch: -1}}}}
	for name, code := range map[string]int16{
		"ListOffsets":          answered[*kmsg.ListOffsetsResponse](w, applyListOffsets, list).Topics[0].Partitions[0].ErrorCode,
		"OffsetForLeaderEpoch": answered[*kmsg.OffsetForLeaderEpochResponse](w, applyOffsetForLeaderEpoch, epoch).Topics[0].Partitions[0].ErrorCode,
		"DeleteRecords":        answered[*kmsg.DeleteRecordsResponse](w, applyDeleteRecords, deleteOf("u", 0)).Topics[0].Partitions[0].ErrorCode,
	} {
		if code != kerr.NotLeaderForPartition.Code {
			t.Errorf("%s: code %d", name, code)
		}
	}
}

// Trap 14: acks=0 is not answered; an error closes the connection.
func TestProduceWithoutAcks(t *testing.T) {
	w := newDataWorld(t)
	w.log.manual = true // it does not wait either
	if r, err := w.produceCtx(context.Background(), produceOf(t, 9, 0, 0), ""); r != nil || err != nil {
		t.Errorf("%v %v", r, err)
	}
	if w.log.appends != 1 {
		t.Error("not appended")
	}
	if r, err := w.produceCtx(context.Background(), produceOf(t, 9, 0, 0, 99), ""); r != nil || err == nil {
		t.Errorf("%v %v", r, err)
	}
}

// A connection that closes ends the wait.
func TestProduceConnectionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDataWorld(t)
		w.log.manual = true
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := w.produceCtx(ctx, produceOf(t, 9, -1, 0), ""); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}
