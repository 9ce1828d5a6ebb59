package sim

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
)

// consumer reads every partition from the start, in a fetch session with each
// broker that leads some, and goes on for as long as it runs.
type consumer struct {
	*client
	version int16
	at      map[karst.TopicPartition]*position

	sessions map[*link]*fetchSession
	pause    time.Duration // mean time between fetches
	bytes    int32         // most in one fetch
	keep     func(tp karst.TopicPartition, s stored)
}

type position struct {
	topic *topic
	next  int64
	high  int64 // last seen
}

// fetchSession is a fetch session with one broker.
type fetchSession struct {
	at    *link
	id    int32 // 0: none
	epoch int32
	told  map[karst.TopicPartition]told // what the session knows
}

func (s *fetchSession) forget() {
	s.id, s.epoch = 0, 0
	clear(s.told)
}

// told is what a session was told of a partition.
type told struct {
	next  int64
	epoch int32
}

func (w *World) newConsumer(seed uint64) *consumer {
	c := &consumer{client: w.newClient("consumer", 5000+seed), at: map[karst.TopicPartition]*position{}, sessions: map[*link]*fetchSession{}}
	c.version = []int16{12, 13, 16, 17}[c.rng.IntN(4)]
	c.pause = time.Duration(c.rng.IntN(300)) * time.Millisecond
	c.bytes = []int32{1 << 10, 64 << 10, 1 << 20}[c.rng.IntN(3)]
	return c
}

// watch adds the partitions of every living topic.
func (c *consumer) watch() {
	for _, t := range c.w.living() {
		if c.version < 13 && t.name[0] == 'c' {
			continue // a name may become another topic
		}
		for p := range t.count() {
			tp := karst.TopicPartition{Topic: t.id, Partition: karst.Partition(p)}
			if c.at[tp] == nil {
				c.at[tp] = &position{topic: t}
			}
		}
	}
	for tp, at := range c.at {
		if at.topic.isDoomed() {
			delete(c.at, tp)
		}
	}
}

// run consumes until ctx ends.
func (c *consumer) run(ctx context.Context) {
	defer c.hangUp()
	for ctx.Err() == nil {
		c.watch()
		if err := c.poll(ctx); err != nil {
			rest(ctx, time.Duration(50+c.rng.IntN(400))*time.Millisecond)
		} else if c.pause > 0 {
			rest(ctx, time.Duration(c.rng.Int64N(int64(2*c.pause))))
		}
		if c.rng.IntN(100) == 0 {
			c.hangUp()
		}
	}
}

// catchUp reads until every partition is at its watermark, or ctx ends: then it
// says who is not.
func (c *consumer) catchUp(ctx context.Context) (behind []string) {
	defer c.hangUp()
	ends := map[karst.TopicPartition]int64{}
	for {
		c.watch()
		behind = nil
		for tp, at := range c.at {
			end, ok := ends[tp]
			if !ok {
				offset, code, err := c.offset(ctx, at.topic, int32(tp.Partition), -1)
				if err == nil && code == 0 {
					end, ok = offset, true
					ends[tp] = end
				}
			}
			if !ok || at.next < end {
				behind = append(behind, fmt.Sprintf("%s-%d (%s) at %d of %d", at.topic.name, tp.Partition, tp.Topic, at.next, end))
			}
		}
		if len(behind) == 0 || ctx.Err() != nil {
			return behind
		}
		if err := c.poll(ctx); err != nil {
			rest(ctx, 100*time.Millisecond)
		}
	}
}

// fetch is one request to one leader.
type fetch struct {
	*fetchSession
	call *call
	sent Tick
}

// poll fetches once from every leader, at the same time. It returns an error if
// something is to be tried again, a little later.
func (c *consumer) poll(ctx context.Context) error {
	fetches, err := c.ask(ctx)
	for _, f := range fetches {
		if e := f.call.wait(ctx, requestTimeout); e != nil {
			c.drop(f.at)
			err = e
		} else if e := c.answered(ctx, f); e != nil {
			err = e
		}
	}
	return err
}

// ask sends the requests. An error is about partitions that have no leader.
func (c *consumer) ask(ctx context.Context) (fetches []fetch, err error) {
	led := map[*link]map[karst.TopicPartition]bool{}
	for tp := range c.at {
		l, e := c.leader(ctx, spotID{tp.Topic, int32(tp.Partition)})
		if e != nil {
			err = e
			continue
		}
		if led[l] == nil {
			led[l] = map[karst.TopicPartition]bool{}
		}
		led[l][tp] = true
	}
	maps.DeleteFunc(c.sessions, func(l *link, _ *fetchSession) bool { return c.links[l.at] != l })
	for l, mine := range led {
		s := c.sessions[l]
		if s == nil {
			s = &fetchSession{at: l, told: map[karst.TopicPartition]told{}}
			c.sessions[l] = s
		}
		req := c.request(s, mine)
		f := fetch{fetchSession: s, sent: c.w.tick()}
		f.call = l.send(req)
		fetches = append(fetches, f)
	}
	if len(fetches) == 0 {
		err = errElsewhere // nothing to read
	}
	return fetches, err
}

// answered takes an answer in.
func (c *consumer) answered(ctx context.Context, f fetch) error {
	answered := c.w.tick()
	r := f.call.resp.(*kmsg.FetchResponse)
	if r.ErrorCode != 0 {
		c.w.event("fetch error " + kerr.TypedErrorForCode(r.ErrorCode).Message)
		f.forget()
		return nil
	}
	if f.id == 0 {
		f.id = r.SessionID
	}
	f.epoch++
	if f.id != 0 && f.epoch > 1 {
		c.w.event("incremental fetch")
	}
	return c.take(ctx, r, f, answered)
}

// request asks for what has changed since the session was told, of the partitions
// that its broker leads.
func (c *consumer) request(s *fetchSession, mine map[karst.TopicPartition]bool) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = c.version, 500, 1, c.bytes
	req.ReplicaID = -1
	req.SessionID, req.SessionEpoch = s.id, s.epoch
	topics := map[karst.TopicID]int{}
	for tp := range mine {
		at := c.at[tp]
		epoch := c.leaders[spotID{tp.Topic, int32(tp.Partition)}].epoch
		now := told{at.next, epoch}
		if had, known := s.told[tp]; s.id != 0 && known && had == now {
			continue
		}
		s.told[tp] = now
		i, ok := topics[tp.Topic]
		if !ok {
			i = len(req.Topics)
			topics[tp.Topic] = i
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = at.topic.name, tp.Topic
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.CurrentLeaderEpoch, p.PartitionMaxBytes = int32(tp.Partition), at.next, epoch, 64<<10
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	for tp := range s.told {
		if mine[tp] {
			continue
		}
		delete(s.told, tp)
		if s.id == 0 {
			continue
		}
		f := kmsg.NewFetchRequestForgottenTopic()
		f.TopicID, f.Partitions = tp.Topic, []int32{int32(tp.Partition)}
		if t := c.w.topicByID(tp.Topic); t != nil {
			f.Topic = t.name
		}
		req.ForgottenTopics = append(req.ForgottenTopics, f)
	}
	return req
}

// take notes what a response shows.
func (c *consumer) take(ctx context.Context, r *kmsg.FetchResponse, f fetch, answered Tick) error {
	stale := false
	for i := range r.Topics {
		t := &r.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			tp, at := c.find(t, p.Partition)
			if _, asked := f.told[tp]; at == nil || !asked {
				continue
			}
			if p.ErrorCode == 0 {
				c.records(tp, at, p, f, answered)
				continue
			}
			c.w.event("fetch error " + kerr.TypedErrorForCode(p.ErrorCode).Message)
			c.w.note("%s: fetch v%d of %s-%d from %d at %s: %v", c.name, c.version, at.topic.name, tp.Partition, at.next, f.at.to.Name, kerr.TypedErrorForCode(p.ErrorCode).Message)
			switch p.ErrorCode {
			case kerr.OffsetOutOfRange.Code:
				rest(ctx, 50*time.Millisecond)
				if err := c.reset(ctx, tp, at); err != nil {
					return err
				}
			case kerr.FencedLeaderEpoch.Code, kerr.UnknownLeaderEpoch.Code, kerr.NotLeaderForPartition.Code, kerr.UnknownTopicID.Code, kerr.UnknownTopicOrPartition.Code:
				stale = true
			case kerr.KafkaStorageError.Code, kerr.RequestTimedOut.Code, kerr.UnknownServerError.Code:
				c.stale = true
				rest(ctx, 100*time.Millisecond)
			default:
				c.w.reportf(Unexpected, "fetch of %s: %v", tp, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	}
	if stale {
		c.elsewhere(f.at)
		return errElsewhere
	}
	return nil
}

func (c *consumer) find(t *kmsg.FetchResponseTopic, index int32) (karst.TopicPartition, *position) {
	for tp, at := range c.at {
		if int32(tp.Partition) == index && (c.version >= 13 && tp.Topic == t.TopicID || c.version < 13 && at.topic.name == t.Topic) {
			return tp, at
		}
	}
	return karst.TopicPartition{}, nil
}

// records notes what a partition's answer holds.
func (c *consumer) records(tp karst.TopicPartition, at *position, p *kmsg.FetchResponseTopicPartition, f fetch, answered Tick) {
	at.high = p.HighWatermark
	at.topic.saw(int32(tp.Partition), p.HighWatermark)
	c.w.show(shown{
		tp: tp, epoch: f.told[tp].epoch, sent: f.sent, answered: answered, high: p.HighWatermark, logStart: p.LogStartOffset,
		source: c.name + " at " + f.at.to.Name,
	})
	for b, err := range record.Batches(p.RecordBatches) {
		if err != nil {
			break // cut off by the limit
		}
		if e := record.Check("fetched", 0, b.Bytes, b.Info); e != nil {
			c.w.reportf(Corrupt, "%s, offset %d: %v", tp, b.Info.Base, e)
			return
		}
		if b.Info.Last() < karst.Offset(at.next) {
			continue
		}
		for r, err := range c.w.decoder.Records(b.Bytes) {
			if err != nil {
				c.w.reportf(Corrupt, "%s, offset %d: %v", tp, b.Info.Base, err)
				return
			}
			offset := int64(r.Offset)
			if offset < at.next {
				continue
			}
			if offset != at.next {
				c.w.reportf(Skipped, "%s at %s: fetch of %s from %d returned %d", c.name, f.at.to.Name, tp, at.next, offset)
			}
			if offset >= p.HighWatermark {
				c.w.reportf(Unexpected, "%s: offset %d is returned with watermark %d", tp, offset, p.HighWatermark)
			}
			at.next = offset + 1
			c.w.read(tp, offset, r.Value, c.name+" at "+f.at.to.Name)
			if c.keep != nil {
				if id, ok := idOf(r.Value); ok {
					c.keep(tp, stored{offset: offset, epoch: int32(b.Info.Epoch), id: id})
				}
			}
		}
	}
}

// reset goes to the log start. Below it is the only right reason.
func (c *consumer) reset(ctx context.Context, tp karst.TopicPartition, at *position) error {
	start, code, err := c.offset(ctx, at.topic, int32(tp.Partition), -2)
	if err != nil || code != 0 {
		return err
	}
	if start <= at.next {
		end, code, err := c.offset(ctx, at.topic, int32(tp.Partition), -1)
		if err == nil && code == 0 && at.next <= end {
			return nil // it moved meanwhile
		}
		// Above the end: at a deposed leader, or something vanished; the end of
		// the run will tell.
		return errRefused
	}
	at.next = start
	return nil
}
