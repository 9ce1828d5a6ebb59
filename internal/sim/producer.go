package sim

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
)

// inflightMax is how many produce requests a producer has on a connection.
const inflightMax = 5

// Load is what a producer sends.
type Load struct {
	Idempotent bool
	Rate       time.Duration // mean time between batches
	Records    int           // most in a batch
	ValueBytes int           // most of a record's padding
	LargeEvery int           // one in so many batches has LargeBytes; 0: none
	LargeBytes int
	GiveUp     time.Duration // a batch that is so old is given up; 0: never
	Silent     bool          // acks=0
	ByName     bool          // version 12: by topic name
}

// producer sends records and retries as Kafka's producers do: with the same
// sequences, in order, after a reconnect or a retriable error.
type producer struct {
	*client
	Load
	id int32

	n        int64 // records made
	pid      int64
	pidEpoch int16
	run      int64
	boxes    map[karst.TopicPartition]*outbox
	flights  map[*link][]*flight // in the order in which they are answered
	backoff  time.Time           // send nothing before
}

// outbox is what a producer has for one partition.
type outbox struct {
	topic     *topic
	partition int32
	sequence  int64
	pending   []*batch // in order; the first inFlight of them are on their way
	inFlight  int
	at        *link          // where those went: what follows goes there, too
	acked     int32          // the latest epoch in which a batch can have been acknowledged; -1: none was
	owed      map[*link]bool // see acknowledged
	broken    bool           // wait for all that is on its way, then send again
	closed    bool           // the topic is gone
}

// batch is one record batch until its outcome is known.
type batch struct {
	records  []*sent
	bytes    []byte
	made     time.Time
	doubt    bool // some attempt may have had an effect
	attempts int
	back     []*link // that sent it back
	after    int     // batches of the partition that were sent since
}

// flight is one request on its way.
type flight struct {
	to   *link
	call *call
	sent []part
	at   time.Time
}

// part is one batch of a request.
type part struct {
	box  *outbox
	b    *batch
	head bool  // nothing before it was unacknowledged when it was sent
	from int32 // the earliest epoch in which it can be answered; -1 if not known
}

func (w *World) newProducer(l Load) *producer {
	w.mu.Lock()
	w.ids++
	id := w.ids
	w.mu.Unlock()
	return &producer{client: w.newClient("producer", 1000+uint64(id)), Load: l, id: id, pid: -1, pidEpoch: -1, boxes: map[karst.TopicPartition]*outbox{}, flights: map[*link][]*flight{}}
}

// runUntil produces until make ends, then drains until ctx ends. It reports
// whether everything has an outcome that the producer waited for.
func (p *producer) runUntil(ctx, producing context.Context) bool {
	defer func() {
		for l := range p.flights {
			l.close()
		}
		p.hangUp()
	}()
	due := time.Now()
	for {
		busy := p.outstanding()
		if producing.Err() != nil && !busy {
			return true
		}
		if ctx.Err() != nil {
			p.abandonAll()
			return !busy
		}
		if err := p.prepare(ctx); err != nil {
			p.giveUp()
			rest(ctx, time.Duration(50+p.rng.IntN(500))*time.Millisecond)
			continue
		}
		if now := time.Now(); producing.Err() == nil && !due.After(now) {
			p.make()
			due = now.Add(time.Duration(p.rng.ExpFloat64() * float64(p.Rate)))
		}
		p.sendAll(ctx)
		p.wait(ctx, producing, due)
	}
}

func (p *producer) outstanding() bool {
	for _, b := range p.boxes {
		if len(b.pending) > 0 {
			return true
		}
	}
	return false
}

// prepare learns who leads, if that is in doubt, and gets a producer id.
func (p *producer) prepare(ctx context.Context) error {
	if p.stale {
		if err := p.refresh(ctx); err != nil {
			return err
		}
	}
	if !p.Idempotent || p.pid >= 0 {
		return nil
	}
	l, err := p.any(ctx)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.ProducerID, req.ProducerEpoch = 4, -1, -1
	resp, err := p.do(ctx, l, req)
	if err != nil {
		return err
	}
	r := resp.(*kmsg.InitProducerIDResponse)
	if r.ErrorCode != 0 {
		return kerr.ErrorForCode(r.ErrorCode)
	}
	p.pid, p.pidEpoch = r.ProducerID, r.ProducerEpoch
	p.w.mu.Lock()
	p.w.runs++
	p.run = p.w.runs
	p.w.mu.Unlock()
	for _, b := range p.boxes {
		b.sequence = 0
	}
	return nil
}

// pendingMax bounds the batches of one partition that wait.
const pendingMax = 20

// make makes one batch for some partition.
func (p *producer) make() {
	living := p.w.living()
	if len(living) == 0 {
		return
	}
	t := living[p.rng.IntN(len(living))]
	if p.ByName && t.name[0] == 'c' {
		return // a name may be another topic by the time of a retry
	}
	index := p.rng.Int32N(t.count())
	tp := karst.TopicPartition{Topic: t.id, Partition: karst.Partition(index)}
	box := p.boxes[tp]
	if box == nil {
		box = &outbox{topic: t, partition: index, acked: -1, owed: map[*link]bool{}}
		p.boxes[tp] = box
	}
	if box.closed || len(box.pending) >= pendingMax {
		return
	}
	b := &batch{made: time.Now()}
	builder := record.NewBuilder(p.w.codecs)
	if p.Idempotent {
		builder.Producer, builder.ProducerEpoch, builder.BaseSequence = karst.ProducerID(p.pid), karst.ProducerEpoch(p.pidEpoch), karst.Sequence(box.sequence)
	}
	if p.rng.IntN(6) == 0 {
		builder.Codec = record.Codec(p.rng.IntN(5))
	}
	count := 1 + p.rng.IntN(p.Records)
	size := p.rng.IntN(p.ValueBytes + 1)
	if p.LargeEvery > 0 && p.rng.IntN(p.LargeEvery) == 0 {
		size, count = p.LargeBytes, 1
	}
	for range count {
		p.n++
		r := &sent{id: ID{p.id, p.n}, tp: tp, run: p.run, sequence: box.sequence, offset: -1}
		if !p.Idempotent {
			r.run = 0
		}
		box.sequence++
		builder.Append(karst.Timestamp(time.Now().UnixMilli()), nil, r.id.value(size))
		b.records = append(b.records, r)
	}
	var err error
	if b.bytes, err = builder.Bytes(); err != nil {
		panic("BUG: " + err.Error())
	}
	p.w.send(b.records)
	box.pending = append(box.pending, b)
}

// backOff sends nothing for a little while.
func (p *producer) backOff() {
	p.backoff = time.Now().Add(time.Duration(50+p.rng.IntN(200)) * time.Millisecond)
}

// sendAll sends what may be sent.
func (p *producer) sendAll(ctx context.Context) {
	for !time.Now().Before(p.backoff) {
		f := p.load(ctx)
		if len(f.sent) == 0 {
			return
		}
		p.post(f)
	}
}

// load takes up what may be sent to one broker.
func (p *producer) load(ctx context.Context) *flight {
	f := &flight{}
	for tp, box := range p.boxes {
		if box.closed || box.broken && box.inFlight > 0 || box.inFlight == len(box.pending) {
			continue
		}
		l := p.routeOf(ctx, tp, box)
		if l == nil || f.to != nil && f.to != l || len(p.flights[l]) >= inflightMax {
			continue
		}
		f.to, box.at, box.broken = l, l, false
		b := box.pending[box.inFlight]
		if b.attempts == 0 {
			for _, earlier := range box.pending[:box.inFlight] {
				earlier.after++
			}
		}
		f.sent = append(f.sent, part{box: box, b: b, head: box.inFlight == 0, from: l.to.atLeast(aboutPartition(tp))})
		box.inFlight++
		b.attempts++
		if b.attempts > 1 {
			p.w.event("batch retried")
		}
		if p.rng.IntN(2) == 0 {
			break
		}
	}
	return f
}

// routeOf is where a partition's next batch goes; nil if that is not known. While
// batches are on their way it is where they went: two leaders would be two orders.
func (p *producer) routeOf(ctx context.Context, tp karst.TopicPartition, box *outbox) *link {
	if box.inFlight > 0 {
		return box.at
	}
	l, err := p.leader(ctx, spotID{tp.Topic, int32(tp.Partition)})
	switch {
	case err == nil:
		return l
	case box.topic.isDoomed() && p.leaders[spotID{tp.Topic, int32(tp.Partition)}].at == "":
		box.closed = true // it was gone before its leader was heard of
	default:
		p.backOff()
	}
	return nil
}

// post sends one request.
func (p *producer) post(f *flight) {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 13, -1, 8000
	if p.ByName {
		req.Version = 12
	}
	for _, s := range f.sent {
		t := kmsg.NewProduceRequestTopic()
		t.Topic, t.TopicID = s.box.topic.name, s.box.topic.id
		q := kmsg.NewProduceRequestTopicPartition()
		q.Partition, q.Records = s.box.partition, s.b.bytes
		for i := range req.Topics {
			if req.Topics[i].TopicID == t.TopicID {
				req.Topics[i].Partitions = append(req.Topics[i].Partitions, q)
				t.Topic = ""
				break
			}
		}
		if t.Topic != "" {
			t.Partitions = append(t.Partitions, q)
			req.Topics = append(req.Topics, t)
		}
	}
	if p.Silent {
		req.Acks = 0
		_ = f.to.post(req)
		for _, s := range f.sent {
			p.done(s, unknown, -1)
		}
		return
	}
	f.call, f.at = f.to.send(req), time.Now()
	p.flights[f.to] = append(p.flights[f.to], f)
}

// wait waits until there is something to do.
func (p *producer) wait(ctx, producing context.Context, due time.Time) {
	until := time.Second
	if d := time.Until(p.backoff); d > 0 {
		until = d
	}
	var stop <-chan struct{}
	if producing.Err() == nil {
		until = min(until, max(0, time.Until(due)))
		stop = producing.Done()
	}
	t := time.NewTimer(until)
	defer t.Stop()
	select {
	case <-p.wake:
		p.answers()
	case <-t.C:
		p.answers()
		p.giveUp()
	case <-stop:
	case <-ctx.Done():
	}
}

// answers takes in all answers that are there.
func (p *producer) answers() {
	for l := range p.flights {
		for len(p.flights[l]) > 0 && p.flights[l][0].answered() {
			f := p.flights[l][0]
			if f.call.err != nil {
				p.disconnected(l)
				break
			}
			p.flights[l] = p.flights[l][1:]
			p.answered(f)
		}
		if len(p.flights[l]) > 0 {
			continue
		}
		delete(p.flights, l)
		if p.links[l.at] != l {
			l.close()
		}
	}
}

func (f *flight) answered() bool {
	select {
	case <-f.call.done:
		return true
	default:
		return false
	}
}

// answered takes an answer in.
func (p *producer) answered(f *flight) {
	resp := f.call.resp.(*kmsg.ProduceResponse)
	for _, s := range f.sent {
		r, ok := answerOf(resp, s, p.ByName)
		if !ok {
			p.w.reportf(Unexpected, "a produce answer leaves out partition %d of %s", s.box.partition, s.box.topic.name)
			continue
		}
		p.settle(f.to, s, r)
	}
}

func answerOf(resp *kmsg.ProduceResponse, s part, byName bool) (*kmsg.ProduceResponseTopicPartition, bool) {
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if byName && t.Topic != s.box.topic.name || !byName && t.TopicID != s.box.topic.id {
			continue
		}
		for j := range t.Partitions {
			if t.Partitions[j].Partition == s.box.partition {
				return &t.Partitions[j], true
			}
		}
	}
	return nil, false
}

// settle does what Kafka's producers do with an answer.
func (p *producer) settle(from *link, s part, r *kmsg.ProduceResponseTopicPartition) {
	switch r.ErrorCode {
	case 0:
		p.acknowledged(from, s, r.BaseOffset)
		return
	case kerr.DuplicateSequenceNumber.Code:
		p.acknowledged(from, s, -1)
		return
	}
	if indefinite(r.ErrorCode) {
		s.b.doubt = true
	}
	s.b.back = append(s.b.back, from)
	s.box.inFlight--
	s.box.broken = true
	p.backOff()
	p.stale = true
	if r.ErrorMessage != nil {
		p.w.note("producer %d: %s-%d sequence %d at %s: %s", p.id, s.box.topic.name, s.box.partition, s.b.records[0].sequence, from.to.Name, *r.ErrorMessage)
	}
	p.w.event("produce error " + kerr.TypedErrorForCode(r.ErrorCode).Message)
	switch r.ErrorCode {
	case kerr.OutOfOrderSequenceNumber.Code, kerr.UnknownProducerID.Code, kerr.InvalidProducerEpoch.Code:
		// Right if something before it failed; or at a leader of an earlier epoch than
		// one in which something before it was acknowledged, which it need not know; or
		// if so much was sent and acknowledged behind it, after an attempt of which
		// nothing is known, that a leader does not remember it any more. Kafka's
		// producers start anew then.
		if s.box.owed[from] {
			p.w.event("asked for what another broker has")
			p.retire(from)
		} else if s.head && s.b.after >= inflightMax {
			p.w.event("older than what is remembered")
			p.forget()
		} else if s.head && s.from >= 0 && s.from >= s.box.acked && !s.box.topic.isDoomed() {
			msg := ""
			if r.ErrorMessage != nil {
				msg = *r.ErrorMessage
			}
			p.w.reportf(Unexpected, "%s, for sequence %d of producer %d in %s-%d, everything before it being acknowledged (%s)",
				kerr.TypedErrorForCode(r.ErrorCode).Message, s.b.records[0].sequence, p.pid, s.box.topic.name, s.box.partition, msg)
			p.forget()
		} else if s.head {
			p.elsewhere(from)
		}
	case kerr.UnknownTopicID.Code, kerr.UnknownTopicOrPartition.Code:
		if s.box.topic.isDoomed() {
			s.box.closed = true
			return
		}
		p.elsewhere(from)
	case kerr.NotLeaderForPartition.Code:
		p.elsewhere(from)
	case kerr.RequestTimedOut.Code, kerr.NotEnoughReplicas.Code, kerr.KafkaStorageError.Code, kerr.UnknownServerError.Code:
	default:
		p.w.reportf(Unexpected, "produce to %s-%d: %v", s.box.topic.name, s.box.partition, kerr.ErrorForCode(r.ErrorCode))
	}
	if !p.Idempotent { // a retry could double it
		p.drop(s.box, s.b)
	}
	if s.box.closed && s.box.inFlight == 0 {
		p.abandon(s.box)
	}
}

// acknowledged ends a batch that was acknowledged.
//
// A connection that sent a batch back takes nothing that follows until the batch
// comes there again (kafka/gaps.go), which it never does if another broker has
// acknowledged it: that is owed. It is what the broker does, and a client that
// keeps the connection would be stuck; here it makes another one.
func (p *producer) acknowledged(by *link, s part, base int64) {
	delete(s.box.owed, by)
	for _, l := range s.b.back {
		if l != by {
			s.box.owed[l] = true
		}
	}
	s.box.acked = max(s.box.acked, by.to.atMost(aboutPartition(s.b.records[0].tp)))
	p.done(s, acknowledged, base)
}

// done ends a batch with an outcome.
func (p *producer) done(s part, o outcome, base int64) {
	s.box.inFlight--
	p.w.settle(s.b.records, o, base)
	remove(s.box, s.b)
}

func remove(box *outbox, b *batch) {
	for i, x := range box.pending {
		if x == b {
			box.pending = append(box.pending[:i], box.pending[i+1:]...)
			return
		}
	}
}

// drop ends a batch that is not tried again.
func (p *producer) drop(box *outbox, b *batch) {
	o := refused
	if b.doubt {
		o = unknown
	}
	p.w.settle(b.records, o, -1)
	remove(box, b)
}

// retire sends nothing more over a connection, and ends it after the last answer.
func (p *producer) retire(l *link) {
	if p.links[l.at] == l {
		delete(p.links, l.at)
	}
}

// disconnected makes everything in flight on a connection uncertain.
func (p *producer) disconnected(l *link) {
	for _, f := range p.flights[l] {
		for _, s := range f.sent {
			s.b.doubt = true
			s.box.inFlight--
			s.box.broken = true
			if !p.Idempotent {
				p.drop(s.box, s.b)
			}
		}
	}
	delete(p.flights, l)
	p.client.drop(l)
}

// giveUp gives up everything if something is too old, and goes on as another
// producer: what follows a lost sequence would be refused.
func (p *producer) giveUp() {
	late := false
	for _, box := range p.boxes {
		if box.closed && box.inFlight == 0 {
			p.abandon(box)
		}
		for _, b := range box.pending {
			late = late || p.GiveUp > 0 && time.Since(b.made) > p.GiveUp
		}
	}
	if late {
		p.w.event("delivery timed out")
		p.forget()
	}
	for l, all := range p.flights {
		if time.Since(all[0].at) > requestTimeout && !all[0].answered() { // a connection that says nothing
			p.disconnected(l)
		}
	}
}

// forget gives up all batches and the producer id.
func (p *producer) forget() {
	for l := range p.flights {
		p.disconnected(l)
	}
	p.abandonAll()
	p.pid = -1
}

func (p *producer) abandonAll() {
	for _, box := range p.boxes {
		p.abandon(box)
	}
}

func (p *producer) abandon(box *outbox) {
	for len(box.pending) > 0 {
		b := box.pending[0]
		if box.inFlight > 0 {
			b.doubt = true
		}
		p.drop(box, b)
	}
}
