package coordinator

import (
	"context"
	"fmt"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/record"
)

// Delays between loads of a partition that fail.
const (
	retryDelay    = 100 * time.Millisecond
	retryDelayMax = 10 * time.Second
)

// readBytes is how much of a partition is in memory at once while it is loaded,
// for each load; a larger batch is read whole.
const readBytes = 1 << 20

// enqueue puts a shard in the queue of those to be loaded.
func (r *Runtime[M]) enqueue(s *shard[M]) {
	r.mu.Lock()
	r.push(s)
	r.mu.Unlock()
	r.look()
}

// push is enqueue, by who holds mu.
func (r *Runtime[M]) push(s *shard[M]) {
	s.queued = true
	if s.wanted {
		r.wants = append(r.wants, s)
		return
	}
	r.queue = append(r.queue, s)
}

// want lets a shard be loaded before those that nobody asks for.
func (r *Runtime[M]) want(s *shard[M]) {
	r.mu.Lock()
	jump := !s.wanted && s.queued
	s.wanted = true
	if jump {
		r.wants = append(r.wants, s) // it stays in queue, too, and is skipped there
	}
	r.mu.Unlock()
	if jump {
		r.look()
	}
}

// next takes the shard that is to be loaded next out of the queue. The caller
// holds mu.
func (r *Runtime[M]) next() *shard[M] {
	for _, q := range []*[]*shard[M]{&r.wants, &r.queue} {
		for len(*q) > 0 {
			s := (*q)[0]
			(*q)[0] = nil
			*q = (*q)[1:]
			if s.queued && r.shards[int32(s.id.Partition)] == s {
				s.queued = false
				return s
			}
		}
		*q = nil
	}
	return nil
}

// startLoads starts as many loads as may run; each reports to loaded.
func (r *Runtime[M]) startLoads(ctx context.Context, loaded chan<- struct{}) {
	for r.running < r.cfg.Loads {
		r.mu.Lock()
		s := r.next()
		r.mu.Unlock()
		if s == nil {
			return
		}
		r.running++
		go func() { // waited for through loaded
			r.load(ctx, s)
			loaded <- struct{}{} // never blocks: as many places as loads
		}()
	}
}

// ended notes that a load has ended.
func (r *Runtime[M]) ended() { r.running-- }

// load loads a shard, or has it tried again later.
func (r *Runtime[M]) load(ctx context.Context, s *shard[M]) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !s.begin(cancel) {
		return
	}
	began := time.Now()
	m := r.deps.New(int32(s.id.Partition))
	records, err := r.replay(ctx, s, m)
	if err != nil {
		if ctx.Err() != nil {
			return // the shard has ended, or the incarnation
		}
		delay := s.failed()
		r.counts.failures.Add(1)
		r.logger.Warn("cannot load a partition's state, trying again", "topic", r.cfg.Topic, "partition", s.id.Partition, "err", err, "in", delay)
		r.schedule(s, time.Now().Add(delay))
		return
	}
	took := time.Since(began)
	r.counts.loads.Add(1)
	r.counts.loaded.Add(uint64(records))
	r.counts.loadNanos.Add(uint64(took))
	s.activate(m)
	r.logger.Debug("loaded", "topic", r.cfg.Topic, "partition", s.id.Partition, "records", records, "took", took)
}

func backoff(attempt int) time.Duration {
	return min(retryDelay<<min(attempt, 16), retryDelayMax)
}

// replay feeds a machine the whole partition, up to its high watermark.
func (r *Runtime[M]) replay(ctx context.Context, s *shard[M], m M) (records int64, err error) {
	if s.after != nil {
		select {
		case <-s.after.Done():
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	var buf []byte
	for next := r.log.LogStart(s.id); ; {
		read, err := r.log.Read(ctx, s.id, engine.ReadRequest{
			Offset: next, MaxBytes: readBytes, AtLeastOne: true, CurrentEpoch: s.epoch, LastFetched: karst.NoEpoch,
		})
		if err != nil {
			return records, fmt.Errorf("read at offset %d: %w", next, err)
		}
		buf = buf[:0]
		for _, part := range read.Parts {
			buf = append(buf, part...)
		}
		end := read.HighWatermark
		read.Release()
		if next >= end {
			return records, nil
		}
		from := next
		for b, err := range record.Batches(buf) {
			if err != nil {
				return records, fmt.Errorf("batch at offset %d: %w", next, err)
			}
			n, err := r.feed(m, b, from)
			records += n
			if err != nil {
				return records, fmt.Errorf("batch at offset %d: %w", b.Info.Base, err)
			}
			next = b.Info.Next()
		}
		if next == from {
			return records, fmt.Errorf("nothing is at offset %d, and the high watermark is %d", next, end)
		}
	}
}

// feed gives a machine the records of a batch from an offset on. Markers of
// transactions are no records.
func (r *Runtime[M]) feed(m M, b record.Batch, from karst.Offset) (n int64, err error) {
	if b.Info.Attributes.Control() {
		return 0, nil
	}
	for rec, err := range r.deps.Decoder.Records(b.Bytes) {
		if err != nil {
			return n, err
		}
		if rec.Offset < from {
			continue
		}
		if err := m.Replay(Record{Key: rec.Key, Value: rec.Value}); err != nil {
			return n, fmt.Errorf("record at offset %d: %w", rec.Offset, err)
		}
		n++
	}
	return n, nil
}
