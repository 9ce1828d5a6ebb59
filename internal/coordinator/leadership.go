package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// Apply takes a newer image and what changed (metadata.Listener): shards end and
// begin with the leadership of their partitions. The first call looks at the
// whole image. Images that are older than the one there is count for what
// changed only.
func (r *Runtime[M]) Apply(img *metadata.Image, d *metadata.Delta) {
	r.mu.Lock()
	first := r.image == nil
	if first || img.Position().Compare(r.image.Position()) > 0 {
		r.image = img
	}
	ended := r.reconcile(first || d.Reset, d.Partitions)
	r.mu.Unlock()
	for _, s := range ended {
		s.end()
	}
	r.look()
}

// reconcile makes the shards those of the image. It returns the ones that are to
// end. The caller holds mu.
func (r *Runtime[M]) reconcile(all bool, changed []karst.TopicPartition) (ended []*shard[M]) {
	if r.over {
		return nil
	}
	t, ok := r.image.Topic(r.cfg.Topic)
	if !ok || t.ID != r.topic {
		for _, s := range r.shards {
			ended = append(ended, s)
		}
		clear(r.shards)
		r.topic = karst.TopicID{}
	}
	if !ok {
		return ended
	}
	if r.topic != t.ID || all {
		r.topic = t.ID
		for p := range r.image.PartitionsOf(t.ID) {
			ended = r.settle(p.ID, ended)
		}
		return ended
	}
	for _, tp := range changed {
		if tp.Topic == t.ID {
			ended = r.settle(tp, ended)
		}
	}
	return ended
}

// settle makes the shard of one partition what the image says. The caller holds
// mu.
func (r *Runtime[M]) settle(tp karst.TopicPartition, ended []*shard[M]) []*shard[M] {
	at := int32(tp.Partition)
	p, ok := r.image.Partition(tp)
	lead := ok && p.Leader == r.cfg.Self
	if s := r.shards[at]; s != nil {
		if lead && s.epoch == p.Epoch {
			return ended
		}
		delete(r.shards, at)
		ended = append(ended, s)
	}
	if lead {
		s := r.newShard(tp, p.Epoch, nil)
		r.shards[at] = s
		r.push(s)
	}
	return ended
}

func (r *Runtime[M]) newShard(tp karst.TopicPartition, epoch karst.Epoch, after Commit) *shard[M] {
	return &shard[M]{
		r: r, id: tp, epoch: epoch, after: after,
		calls: make(map[Ticket]*Call), changed: make(map[string]uint64),
	}
}

// again loads the state of a shard that failed anew, if its partition is still
// led.
func (r *Runtime[M]) again(s *shard[M], why error) {
	r.counts.failures.Add(1)
	s.mu.Lock()
	after, attempt := s.last, s.attempt
	s.mu.Unlock()
	r.mu.Lock()
	at := int32(s.id.Partition)
	led := r.shards[at] == s
	delay := backoff(attempt)
	if led {
		n := r.newShard(s.id, s.epoch, after)
		n.attempt = attempt + 1
		r.shards[at] = n
		r.due.set(n, time.Now().Add(delay))
	}
	r.mu.Unlock()
	if led {
		r.look()
		level := slog.LevelWarn
		if errors.Is(why, karst.NotLeader.Err()) {
			level = slog.LevelDebug // the incarnation is over, and soon the runtime
		}
		r.logger.Log(context.Background(), level, "a partition's state is loaded anew", "topic", r.cfg.Topic, "partition", s.id.Partition, "err", why, "in", delay)
	}
}
