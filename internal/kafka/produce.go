package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
)

// Produce appends record batches.
//
// Versions 3 to 13; 0 to 2 are advertised and refused (KAFKA-18659).
//
//	v5  LogStartOffset          v8   RecordErrors, ErrorMessage (KIP-467)
//	v7  zstd                    v10  CurrentLeader, NodeEndpoints (KIP-951)
//	v11 TRANSACTION_ABORTABLE   v13  topic ids (KIP-516)
//
// Batches are appended when the request is applied, in order; only the wait for
// the store overlaps with later requests. acks=1 waits as acks=-1 does: nothing
// is acknowledged that is not in the bucket (I1). A timeout answers
// REQUEST_TIMED_OUT, an indefinite error: the append may still succeed, and the
// retry of an idempotent producer then shares its outcome.
//
// Different from Apache Kafka: a partition that is in a request twice is refused
// in both places (Kafka drops the first batch without a word).
func produceAPI() API {
	return API{Key: int16(kmsg.Produce), Min: 3, Max: 13, Advertised: 0, apply: applyProduce}
}

// What a transactional batch is answered with when its partition is not in the
// producer's transaction.
const transactionAbortableFrom = 11

// adminClient may write to internal topics, as in Kafka.
const adminClient = "__admin_client"

// produce is a Produce request being applied, and then waiting.
type produce struct {
	d        *records
	r        *Request
	req      *kmsg.ProduceRequest
	resp     *kmsg.ProduceResponse
	silent   bool // acks=0
	failed   bool
	deadline time.Time
	waits    []produceWait
	hints    []produceHint
}

// produceWait is a partition whose batch is on its way to the store.
type produceWait struct {
	commit    Commit
	topic     int // in resp
	partition int
	where     karst.TopicPartition
}

func applyProduce(s *Server, ctx context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.ProduceRequest)
	p := &produce{
		d: s.records, r: r, req: req, silent: req.Acks == 0,
		resp:     &kmsg.ProduceResponse{Version: r.Version, Topics: make([]kmsg.ProduceResponseTopic, len(req.Topics))},
		deadline: r.Received.Add(time.Duration(req.TimeoutMillis) * time.Millisecond),
	}
	all := p.refuseAll()
	if all == nil && len(req.Topics) > 0 {
		// An append waits where producers must be loaded first, or for room; not
		// for longer than the client does.
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, p.deadline.Add(appendGrace))
		defer cancel()
	}
	twice := partitionsTwice(req)
	for i := range req.Topics {
		t := &req.Topics[i]
		answers := make([]kmsg.ProduceResponseTopicPartition, len(t.Partitions))
		p.resp.Topics[i] = kmsg.ProduceResponseTopic{Topic: t.Topic, TopicID: t.TopicID, Partitions: answers}
		for j := range t.Partitions {
			a := &answers[j]
			a.Default()
			a.Partition = t.Partitions[j].Partition
			a.BaseOffset, a.LogAppendTime, a.LogStartOffset = -1, -1, -1
			if all != nil {
				p.fail(a, karst.TopicPartition{}, all)
				continue
			}
			where, err := p.d.find(r.Version >= 13, t.TopicID, t.Topic, a.Partition)
			called := producedTo{t.Topic, t.TopicID, a.Partition}
			switch {
			case err != nil:
				p.unknown(called, where, t.Partitions[j].Records, err)
			case twice[called]:
				err = karst.InvalidRequest.Errorf("partition %d is in the request twice", a.Partition)
			default:
				err = p.append(ctx, called, where, i, j)
			}
			if err != nil {
				p.fail(a, where, err)
			}
		}
	}
	p.req = nil // valid only until apply returns
	return p, nil
}

// appendGrace is how long an append may wait even for a client that does not:
// the first one to a partition has to load its producers.
const appendGrace = time.Second

// kafkaError is an error that no karst.Code stands for.
type kafkaError struct {
	code    int16
	message string
}

func (e kafkaError) Error() string { return e.message }

// refuseAll is what is wrong with the request as a whole: it then fails for
// every partition, and nothing is appended.
func (p *produce) refuseAll() error {
	if p.req.TransactionID == nil && p.hasTransactional() {
		return kafkaError{kerr.TransactionalIDAuthorizationFailed.Code, "a transactional batch without a transactional id"}
	}
	if a := p.req.Acks; a < -1 || a > 1 {
		return karst.InvalidRequiredAcks.Errorf("acks is %d; it may be -1, 0 or 1", a)
	}
	return nil
}

func (p *produce) hasTransactional() bool {
	for i := range p.req.Topics {
		for j := range p.req.Topics[i].Partitions {
			if b := p.req.Topics[i].Partitions[j].Records; len(b) >= record.HeaderSize && attributes(b).Transactional() {
				return true
			}
		}
	}
	return false
}

// attributes are those of the batch at the start of b, which holds its header.
func attributes(b []byte) record.Attributes {
	return record.Attributes(binary.BigEndian.Uint16(b[21:]))
}

// checkBatch holds for every batch that may be produced in the version of the
// request, whatever its topic: one batch of magic 2, of a codec that readers of
// that age know.
func checkBatch(version int16, b []byte) error {
	if len(b) < 17 {
		return karst.InvalidRecord.Errorf("a produce request must have exactly one record batch for each partition, this has none")
	}
	if magic := b[16]; magic != 2 {
		return karst.InvalidRecord.Errorf("record batches must be of magic 2, this is of %d", magic)
	}
	length := int64(int32(binary.BigEndian.Uint32(b[8:])))
	switch size := 12 + length; {
	case size < record.HeaderSize:
		return karst.CorruptRecord.Errorf("a record batch claims to have %d bytes", size)
	case size > int64(len(b)):
		return karst.InvalidRecord.Errorf("a record batch claims to have %d bytes, there are %d", size, len(b))
	case size < int64(len(b)):
		return karst.InvalidRecord.Errorf("a produce request must have exactly one record batch for each partition, this has more")
	}
	if version < 7 && attributes(b).Codec() == record.Zstd {
		return karst.UnsupportedCompression.Errorf("zstd needs version 7 of Produce")
	}
	return nil
}

// unknown notes a batch for a partition that this broker does not know, perhaps
// not yet: what is in flight behind it must not be taken for the first one.
func (p *produce) unknown(called producedTo, where karst.TopicPartition, b []byte, err error) {
	if checkBatch(p.r.Version, b) != nil {
		return
	}
	if info, bad := record.Parse(b); bad == nil {
		p.r.Conn.gaps.refused(p.d, called, where, info, err)
	}
}

// append puts one partition's batch into the log.
func (p *produce) append(ctx context.Context, called producedTo, where karst.TopicPartition, topic, partition int) error {
	b := p.req.Topics[topic].Partitions[partition].Records
	if err := checkBatch(p.r.Version, b); err != nil {
		return err
	}
	if t, ok := p.d.images.Image().TopicByID(where.Topic); ok && t.Internal && p.r.ClientID != adminClient {
		return karst.InvalidTopic.Errorf("topic %q is internal", t.Name)
	}
	if attributes(b).Transactional() {
		return notInTransaction(p.r.Version)
	}
	info, err := record.Parse(b)
	if err != nil {
		return err
	}
	if err := p.r.Conn.gaps.check(ctx, p.d, called, where, info); err != nil {
		return asNamed(p.r.Version >= 13, err)
	}
	done, err := p.d.log.Append(ctx, where, b, p.r.Frame)
	if err != nil {
		p.r.Conn.gaps.refused(p.d, called, where, info, err)
		return asNamed(p.r.Version >= 13, err)
	}
	a := &p.resp.Topics[topic].Partitions[partition]
	a.BaseOffset, a.LogAppendTime, a.LogStartOffset = int64(done.Base), int64(done.Timestamp), int64(done.LogStart)
	if done.Commit != nil && !p.silent {
		p.waits = append(p.waits, produceWait{done.Commit, topic, partition, where})
	}
	return nil
}

// notInTransaction is the answer to every transactional batch: no coordinator
// can have added its partition to a transaction. Here its verification goes
// (KIP-890).
func notInTransaction(version int16) error {
	if version >= transactionAbortableFrom {
		return kafkaError{kerr.TransactionAbortable.Code, "the partition is not in the producer's transaction"}
	}
	return karst.InvalidTxnState.Errorf("the partition is not in the producer's transaction")
}

// fail makes a the answer for a partition that was refused, or whose outcome is
// not known.
func (p *produce) fail(a *kmsg.ProduceResponseTopicPartition, where karst.TopicPartition, err error) {
	p.failed = true
	partition := a.Partition
	a.Default()
	a.Partition = partition
	a.BaseOffset, a.LogAppendTime, a.LogStartOffset = -1, -1, -1
	a.ErrorCode, a.ErrorMessage = produceCode(err), text(err)
	if a.ErrorMessage == nil {
		m := err.Error()
		a.ErrorMessage = &m
	}
	p.r.Note(a.ErrorCode)
	if k, ok := errors.AsType[*karst.Error](err); ok {
		for _, e := range k.Records {
			a.ErrorRecords = append(a.ErrorRecords, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: e.Index, ErrorMessage: &e.Message})
		}
	}
	if a.ErrorCode == kerr.NotLeaderForPartition.Code && p.resp.Version >= 10 {
		_, behind := errors.AsType[kafkaError](err)
		p.hints = append(p.hints, produceHint{a, where, behind})
	}
}

func produceCode(err error) int16 {
	if k, ok := errors.AsType[kafkaError](err); ok {
		return k.code
	}
	return Code(err)
}

// produceHint is an answer that is to name the next leader.
type produceHint struct {
	answer *kmsg.ProduceResponseTopicPartition
	where  karst.TopicPartition
	behind bool // a batch before it is to come again: the partition may well be led here
}

// hint tells the client who leads the partition.
func (p *produce) hint(ctx context.Context, until time.Time, a *kmsg.ProduceResponseTopicPartition, where karst.TopicPartition) {
	l, ok := p.d.nextLeader(ctx, until, where, 0)
	if !ok {
		return
	}
	a.CurrentLeader.LeaderID, a.CurrentLeader.LeaderEpoch = int32(l.node), int32(l.epoch)
	for i := range p.resp.Brokers {
		if p.resp.Brokers[i].NodeID == int32(l.node) {
			return
		}
	}
	p.resp.Brokers = append(p.resp.Brokers, kmsg.ProduceResponseBroker{
		NodeID: int32(l.node), Host: l.host, Port: l.port, Rack: rackOf(l.rack),
	})
}

// Wait waits until every batch is durable or the client's time is over.
func (p *produce) Wait(ctx context.Context) (Response, error) {
	if p.silent {
		if p.failed {
			// The client hears of it in no other way, and refreshes its metadata.
			return nil, karst.InvalidRequest.Errorf("a batch sent with acks=0 was refused")
		}
		return nil, nil
	}
	var late <-chan time.Time
	var last Commit
	var err error
	for i := range p.waits {
		w := &p.waits[i]
		if w.commit != last {
			last = w.commit
			select {
			case <-last.Done():
			default:
				if late == nil {
					t := time.NewTimer(time.Until(p.deadline))
					defer t.Stop()
					late = t.C
				}
				select {
				case <-last.Done():
				case <-late:
					late = expired
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			err = outcome(last)
		}
		if err != nil {
			p.fail(&p.resp.Topics[w.topic].Partitions[w.partition], w.where, err)
		}
	}
	until := time.Now().Add(handOverMax)
	for _, h := range p.hints {
		if h.behind {
			p.hint(ctx, time.Time{}, h.answer, h.where)
			continue
		}
		p.hint(ctx, until, h.answer, h.where)
	}
	return Message(p.resp), nil
}

// expired is the channel of a timer that has fired and been read.
var expired = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// outcome is what became of c by now.
func outcome(c Commit) error {
	select {
	case <-c.Done():
		return c.Err()
	default:
		return karst.TimedOut.Errorf("not durable in time; it may become so")
	}
}

// producedTo is a partition as a request names it.
type producedTo struct {
	topic string
	id    [16]byte
	index int32
}

// partitionsTwice are the partitions that are in a request more than once; nil
// for none, which is cheap to find out for one partition.
func partitionsTwice(req *kmsg.ProduceRequest) map[producedTo]bool {
	if len(req.Topics) == 1 && len(req.Topics[0].Partitions) == 1 {
		return nil
	}
	var twice map[producedTo]bool
	seen := make(map[producedTo]struct{}, len(req.Topics))
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			k := producedTo{t.Topic, t.TopicID, t.Partitions[j].Partition}
			if _, again := seen[k]; again {
				if twice == nil {
					twice = make(map[producedTo]bool)
				}
				twice[k] = true
			}
			seen[k] = struct{}{}
		}
	}
	return twice
}
