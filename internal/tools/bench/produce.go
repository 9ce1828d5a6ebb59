package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Produce measures an ordinary client. In a closed loop its latency includes the
// wait in the client's own buffer, of --queue records.
func Produce(ctx context.Context, s Settings, progress io.Writer) (*Report, error) {
	return withCluster(ctx, s, func(c *cluster, m *meter) (*Report, error) {
		r := begin(s, progress)
		p, err := newProducing(r, c)
		if err != nil {
			return nil, err
		}
		defer p.close()
		rep, err := r.during(ctx, m, func(send context.Context) error { return p.produce(ctx, send) })
		if rep != nil {
			rep.Workload = "produce"
			noteUnacknowledged(rep, s)
		}
		return rep, err
	})
}

// producing is a load of franz-go producers. The records carry their own due
// time, so an answer needs nothing else to be timed.
type producing struct {
	run     *run
	cluster *cluster
	id      uint32
	text    text
	clients []*kgo.Client
	acked   func(due, now time.Time) // in place of the run's own histogram, if set
	verify  *verifier                // nil: do not verify
	silent  bool                     // leaves the run's bytes to others
}

func newProducing(r *run, c *cluster) (*producing, error) {
	s := r.settings
	if s.RecordSize < headerBytes {
		return nil, fmt.Errorf("--record-size %d: this workload needs %d bytes to note when a record was due", s.RecordSize, headerBytes)
	}
	p := &producing{run: r, cluster: c, id: rand.Uint32(), text: newText(s.Payload, int(s.RecordSize))} //nolint:gosec // not a secret
	for range s.Producers {
		client, err := kgo.NewClient(p.options()...)
		if err != nil {
			p.close()
			return nil, err
		}
		p.clients = append(p.clients, client)
	}
	return p, nil
}

func (p *producing) options() []kgo.Opt {
	s := p.run.settings
	_, codec, err := compressor(s.Codec)
	if err != nil {
		panic("BUG: codec was checked: " + err.Error())
	}
	acks := map[string]kgo.Acks{"all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}[s.Acks]
	opts := []kgo.Opt{
		kgo.SeedBrokers(s.Brokers...), kgo.ClientID(clientID), kgo.DefaultProduceTopic(p.cluster.topic),
		kgo.RequiredAcks(acks), kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(int32(s.BatchBytes)),
		kgo.MaxBufferedRecords(int(s.Queue)), kgo.ProducerLinger(s.Linger),
		kgo.ProduceRequestTimeout(s.Timeout), kgo.RecordDeliveryTimeout(2 * s.Timeout),
		kgo.BrokerMaxWriteBytes(max(100<<20, 2*int32(min(s.BatchBytes, 512<<20)))),
		kgo.WithHooks(writtenBatches{p}),
	}
	if !s.Idempotent {
		// An idempotent one always has up to five in flight.
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(s.Inflight))
	}
	if s.Partitioner == "roundrobin" {
		return append(opts, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	}
	return append(opts, kgo.RecordPartitioner(kgo.StickyPartitioner()))
}

// writtenBatches counts bytes as the client encoded them.
type writtenBatches struct{ p *producing }

var _ kgo.HookProduceBatchWritten = writtenBatches{}

// OnProduceBatchWritten is called by the client.
func (w writtenBatches) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	if r := w.p.run; !w.p.silent && r.inside(time.Now()) {
		r.batches.Add(int64(m.CompressedBytes) + batchOverhead)
	}
}

func (p *producing) close() {
	for _, c := range p.clients {
		c.Close()
	}
}

// produce sends until send ends and waits for the answers, for --timeout at most.
func (p *producing) produce(ctx, send context.Context) error {
	var g sync.WaitGroup
	for n, client := range p.clients {
		q := &queue{producing: p, client: client, index: uint32(n), free: make(chan *kgo.Record, min(p.run.settings.Queue, 1<<16))}
		g.Go(func() { q.send(ctx, send) })
	}
	g.Wait()
	return nil
}

// queue is one producer: it makes records, and takes the answered ones back.
type queue struct {
	producing *producing
	client    *kgo.Client
	index     uint32
	sequence  int64
	free      chan *kgo.Record
}

func (q *queue) send(ctx, send context.Context) {
	p := q.producing
	s := p.run.settings
	if rate := s.bytesPerSecond(); rate > 0 {
		q.sendByTheClock(ctx, send, &pacer{queue: s.Queue, grace: s.Timeout, schedule: schedule{
			start: p.run.began, rate: rate, size: int64(s.RecordSize), first: int64(q.index), step: int64(s.Producers),
		}})
	} else {
		for send.Err() == nil {
			q.client.Produce(ctx, q.record(time.Now()), q.answered) // waits while the buffer is full
		}
	}
	drain, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if err := q.client.Flush(drain); err != nil {
		p.run.errors.addKind("unanswered at the end", q.client.BufferedProduceRecords())
		_ = q.client.AbortBufferedRecords(ctx) // answers them, with an error and the age they have
	}
}

// sendByTheClock never waits for the client: a record for which its buffer has
// no room is dropped.
func (q *queue) sendByTheClock(ctx, send context.Context, pace *pacer) {
	r := q.producing.run
	for {
		due, ok := pace.wait(send)
		if !ok {
			break
		}
		q.client.TryProduce(ctx, q.record(due), q.answered)
	}
	now := time.Now()
	pace.unsent(now, func(due time.Time) {
		if q.producing.acked != nil {
			q.producing.acked(due, now)
			r.errors.addKind("unsent", 1)
			return
		}
		r.abandoned("unsent", due, now)
	})
	r.dropped.Add(pace.dropped)
}

func (q *queue) record(due time.Time) *kgo.Record {
	p := q.producing
	var rec *kgo.Record
	select {
	case rec = <-q.free:
		*rec = kgo.Record{Value: rec.Value}
	default:
		rec = &kgo.Record{Value: make([]byte, p.run.settings.RecordSize)}
	}
	p.text.fill(rec.Value, q.sequence)
	header{p.id, q.index, q.sequence, due}.put(rec.Value)
	q.sequence++
	return rec
}

func (q *queue) answered(rec *kgo.Record, err error) {
	p, now, due := q.producing, time.Now(), dueOf(rec.Value)
	defer func() {
		select {
		case q.free <- rec:
		default:
		}
	}()
	if errors.Is(err, kgo.ErrMaxBuffered) {
		if p.run.inside(due) {
			p.run.dropped.Add(1)
		}
		return
	}
	if p.acked != nil {
		p.acked(due, now)
	} else {
		p.run.latency(&p.run.ack, due, now)
	}
	if err != nil {
		p.run.errors.add(err)
		return
	}
	if p.verify != nil {
		h, herr := parseHeader(rec.Value)
		if herr != nil {
			panic("BUG: a record changed while it was sent: " + herr.Error())
		}
		p.verify.acknowledged(stream{p.id, q.index}, h.sequence)
	}
	if !p.silent {
		p.run.moved(now, 1, int64(len(rec.Value)), 0)
	}
}
