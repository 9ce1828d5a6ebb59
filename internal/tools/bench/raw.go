package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceVersion is spoken by every broker since Kafka 2.4 and names topics.
const produceVersion = 9

// Raw replays batches that were encoded once: the client does as little as it
// can, so that the broker is what is measured.
func Raw(ctx context.Context, s Settings, progress io.Writer) (*Report, error) {
	return withCluster(ctx, s, func(c *cluster, m *meter) (*Report, error) {
		b, err := encodeSetting(s)
		if err != nil {
			return nil, err
		}
		r := begin(s, progress)
		rep, err := r.during(ctx, m, func(send context.Context) error { return replay(ctx, send, r, c, c.topic, b) })
		if rep != nil {
			rep.Workload = "raw"
			rep.Notes = append(rep.Notes, fmt.Sprintf("one batch of %d records, %d bytes, per request", b.records, len(b.bytes)))
			noteUnacknowledged(rep, s)
		}
		return rep, err
	})
}

func noteUnacknowledged(rep *Report, s Settings) {
	if s.Acks == "0" {
		rep.Notes = append(rep.Notes, "acks 0: bytes and latency end at the client's socket")
	}
}

// withCluster connects, runs f, and deletes what is to be deleted.
func withCluster(ctx context.Context, s Settings, f func(*cluster, *meter) (*Report, error)) (*Report, error) {
	m, err := newMeter(s.BrokerPIDs)
	if err != nil {
		return nil, err
	}
	c, err := connect(ctx, s)
	if err != nil {
		return nil, err
	}
	rep, err := f(c, m)
	if cerr := c.close(ctx); cerr != nil && rep != nil {
		rep.Notes = append(rep.Notes, cerr.Error())
	}
	return rep, err
}

func encodeSetting(s Settings) (batch, error) {
	comp, _, err := compressor(s.Codec)
	if err != nil {
		return batch{}, err
	}
	return encodeBatch(newText(s.Payload, int(s.RecordSize)), int(s.RecordSize), int(s.BatchBytes), comp, time.Now()), nil
}

// replay sends from all connections until send ends, and waits for the answers
// at most as long as ctx and --timeout allow.
func replay(ctx, send context.Context, r *run, c *cluster, topic string, b batch) error {
	s := r.settings
	all, err := c.leaders(ctx, topic)
	if err != nil {
		return err
	}
	if s.Connections < len(all) {
		return fmt.Errorf("--connections %d is less than the %d brokers that lead partitions", s.Connections, len(all))
	}
	var g sync.WaitGroup
	for n := range s.Connections {
		mine := batch{slices.Clone(b.bytes), b.records, b.payload} // each connection patches its own
		p := &replayer{run: r, cluster: c, topic: topic, batch: mine, index: n}
		if rate := s.bytesPerSecond(); rate > 0 {
			p.pace = &pacer{queue: s.Queue, grace: s.Timeout, schedule: schedule{start: r.began, rate: rate, size: b.payload, first: int64(n), step: int64(s.Connections)}}
		}
		g.Go(func() { p.work(ctx, send) })
	}
	g.Wait()
	return nil
}

// replayer is one connection of raw.
type replayer struct {
	run     *run
	cluster *cluster
	topic   string
	batch   batch
	index   int
	pace    *pacer // nil in a closed loop
	turn    int
}

// partitionFrame is the encoded request of one partition. The batch inside is
// patched before each sending if the producer is idempotent.
type partitionFrame struct {
	frame    []byte
	batch    []byte // inside frame
	sequence int32
}

// unanswered is a request in flight.
type unanswered struct {
	due         time.Time
	correlation int32
}

// work keeps a session up until send ends. A broker that fails is an error that
// is counted, and tried again.
func (p *replayer) work(ctx, send context.Context) {
	for send.Err() == nil {
		all, err := p.cluster.leaders(ctx, p.topic)
		if err == nil {
			err = p.session(ctx, send, share(all, p.index, p.run.settings.Connections))
		}
		if err != nil {
			p.run.errors.add(err)
			sleepUntil(send, time.Now().Add(100*time.Millisecond))
		}
	}
	if p.pace != nil {
		now := time.Now()
		p.pace.unsent(now, func(due time.Time) { p.run.abandoned("unsent", due, now) })
		p.run.dropped.Add(p.pace.dropped)
	}
}

// session is one connection's life: this goroutine writes, another reads.
func (p *replayer) session(ctx, send context.Context, to leader) error {
	frames, err := p.frames(ctx, to.partitions)
	if err != nil {
		return err
	}
	s := p.run.settings
	conn, err := dial(ctx, to.addr, s.Timeout)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // what mattered was answered
	if s.Acks == "0" {
		return p.shout(send, conn, frames)
	}
	slots := make(chan struct{}, s.Inflight)
	waiting := make(chan unanswered, s.Inflight) // never full: who has a slot has a place
	alive, kill := context.WithCancel(ctx)
	defer kill()
	read := make(chan error, 1)
	go func() {
		err := p.read(conn, waiting, slots)
		if err != nil { // the writer waits for a slot, or for the socket
			kill()
			_ = conn.SetWriteDeadline(time.Now()) // fails only on a closed connection
		}
		read <- err
	}()
	werr := p.write(alive, send, conn, frames, waiting, slots)
	close(waiting)
	if rerr := <-read; rerr != nil {
		now := time.Now()
		for u := range waiting {
			p.run.abandoned("unanswered", u.due, now)
		}
		return rerr
	}
	return werr
}

// write sends until send ends, and then what was due until then; nil if that is
// done or ctx ends.
func (p *replayer) write(ctx, send context.Context, conn *conn, frames []partitionFrame, waiting chan<- unanswered, slots chan<- struct{}) error {
	for correlation := int32(0); ; correlation++ {
		if p.pace != nil { // first by the clock, then by the slots: the wait for a slot is latency
			due, ok := p.pace.wait(send)
			if !ok || ctx.Err() != nil {
				if ok {
					p.run.abandoned("unsent", due, time.Now())
				}
				return nil
			}
			if !acquire(ctx, slots) {
				p.run.abandoned("unsent", due, time.Now())
				return nil
			}
			waiting <- unanswered{due, correlation}
		} else {
			if !acquire(ctx, slots) || send.Err() != nil {
				return nil
			}
			waiting <- unanswered{time.Now(), correlation}
		}
		if err := p.sendNext(conn, frames, correlation); err != nil {
			return err
		}
	}
}

func acquire(ctx context.Context, slots chan<- struct{}) bool {
	select {
	case slots <- struct{}{}:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func (p *replayer) sendNext(conn *conn, frames []partitionFrame, correlation int32) error {
	f := &frames[p.turn%len(frames)]
	p.turn++
	correlate(f.frame, correlation)
	if f.sequence >= 0 {
		sequence(f.batch, int64(binary.BigEndian.Uint64(f.batch[batchProducerAt:])), int16(binary.BigEndian.Uint16(f.batch[batchEpochAt:])), f.sequence)
		f.sequence = int32((int64(f.sequence) + p.batch.records) & 0x7fffffff) // wraps to 0 after 2³¹−1
	}
	_, err := conn.Write(f.frame)
	return err
}

// read takes the answers in the order of the requests.
func (p *replayer) read(conn *conn, waiting <-chan unanswered, slots <-chan struct{}) error {
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(produceVersion)
	for u := range waiting {
		_ = conn.SetReadDeadline(time.Now().Add(p.run.settings.Timeout)) // fails only on a closed connection
		b, err := conn.read()
		now := time.Now()
		if err == nil {
			err = parse(b, u.correlation, resp)
		}
		if err != nil {
			p.run.abandoned("unanswered", u.due, now)
			return err
		}
		<-slots
		p.run.latency(&p.run.ack, u.due, now)
		if code := produceCode(resp); code != 0 {
			err := kerr.ErrorForCode(code)
			if fatal(err) {
				return err
			}
			p.run.errors.add(err)
			continue
		}
		p.run.moved(now, p.batch.records, p.batch.payload, int64(len(p.batch.bytes)))
	}
	return nil
}

// fatal says whether a session must begin anew: with other leaders, or with a
// new producer id, for later sequence numbers are refused too.
func fatal(err error) bool {
	for _, e := range []error{
		kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable, kerr.FencedLeaderEpoch,
		kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch, kerr.DuplicateSequenceNumber,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func produceCode(r *kmsg.ProduceResponse) int16 {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return p.ErrorCode
			}
		}
	}
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		return kerr.UnknownServerError.Code
	}
	return 0
}

// shout is acks=0: what the socket took is all there is to know.
func (p *replayer) shout(ctx context.Context, conn *conn, frames []partitionFrame) error {
	for correlation := int32(0); ; correlation++ {
		due := time.Now()
		if p.pace != nil {
			var ok bool
			if due, ok = p.pace.wait(ctx); !ok {
				return nil
			}
		} else if ctx.Err() != nil {
			return nil
		}
		_ = conn.SetWriteDeadline(time.Now().Add(p.run.settings.Timeout)) // fails only on a closed connection
		if err := p.sendNext(conn, frames, correlation); err != nil {
			return err
		}
		now := time.Now()
		p.run.latency(&p.run.ack, due, now)
		p.run.moved(now, p.batch.records, p.batch.payload, int64(len(p.batch.bytes)))
	}
}

// frames encodes one request per partition.
func (p *replayer) frames(ctx context.Context, partitions []int32) ([]partitionFrame, error) {
	s := p.run.settings
	producer, epoch, first := int64(-1), int16(-1), int32(-1)
	if s.Idempotent {
		var err error
		if producer, epoch, err = p.cluster.producerID(ctx); err != nil {
			return nil, fmt.Errorf("producer id: %w", err)
		}
		first = 0
	}
	acks := int16(-1)
	if s.Acks != "all" {
		n, err := strconv.ParseInt(s.Acks, 10, 16)
		if err != nil {
			panic("BUG: acks were checked: " + err.Error())
		}
		acks = int16(n)
	}
	var all []partitionFrame
	for _, partition := range partitions {
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = partition, p.batch.bytes
		sequence(part.Records, producer, epoch, first)
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic, topic.Partitions = p.topic, append(topic.Partitions, part)
		req := kmsg.NewPtrProduceRequest()
		req.SetVersion(produceVersion)
		req.Acks, req.TimeoutMillis, req.Topics = acks, int32(s.Timeout.Milliseconds()), append(req.Topics, topic)
		f := partitionFrame{frame: frame(req), sequence: first}
		// After the records come the tags of partition, topic and request, all empty.
		end := len(f.frame) - 3
		f.batch = f.frame[end-len(p.batch.bytes) : end]
		all = append(all, f)
	}
	return all, nil
}
