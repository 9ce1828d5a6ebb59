package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Consume reads a topic from its start or its tail.
func Consume(ctx context.Context, s Settings, progress io.Writer) (*Report, error) {
	if s.From == "start" {
		// The read itself ends the window: there is nothing to warm up for but
		// the broker's own caches, which are what is measured.
		s.Warmup = 0
	}
	return withCluster(ctx, s, func(c *cluster, m *meter) (*Report, error) {
		if err := fillTopic(ctx, s, c, c.topic, progress); err != nil {
			return nil, err
		}
		start, end, err := c.offsets(ctx, c.topic)
		if err != nil {
			return nil, err
		}
		what := fetchRange{from: start, to: end}
		if s.From == "tail" {
			what = fetchRange{from: end}
		} else if sum(end) == sum(start) {
			return nil, fmt.Errorf("topic %s is empty: --fill SIZE produces data first", c.topic)
		}
		r := begin(s, progress)
		v := newVerifier()
		rep, err := r.during(ctx, m, func(read context.Context) error { return consumePasses(read, r, c, what, v) })
		if rep != nil {
			rep.Workload = "consume"
			if s.Verify && !s.Raw {
				rep.Verify = v.verdict()
			}
			if s.Raw {
				rep.Notes = append(rep.Notes, "fetched without decoding: throughput counts batches")
			}
		}
		return rep, err
	})
}

func sum(m map[int32]int64) int64 {
	var n int64
	for _, v := range m {
		n += v
	}
	return n
}

func consumePasses(ctx context.Context, r *run, c *cluster, what fetchRange, v *verifier) error {
	for range r.settings.Passes {
		if ctx.Err() != nil {
			return nil
		}
		if r.settings.Raw {
			err := fetchAll(ctx, r, c, c.topic, what, func(f fetched, took time.Duration) {
				now := time.Now()
				r.latency(&r.fetch, now.Add(-took), now)
				r.moved(now, f.records, 0, f.bytes)
			})
			if err != nil {
				return err
			}
			continue
		}
		if err := consumeDecoded(ctx, r, c, what, v); err != nil {
			return err
		}
	}
	return nil
}

// consumeDecoded reads with ordinary clients, each everything. The first one verifies.
func consumeDecoded(ctx context.Context, r *run, c *cluster, what fetchRange, v *verifier) error {
	var g sync.WaitGroup
	errs := make([]error, r.settings.Consumers)
	for n := range r.settings.Consumers {
		g.Go(func() {
			left := newRemaining(what)
			done, stop := context.WithCancel(ctx)
			defer stop()
			errs[n] = poll(done, r, c, what.from, func(rec *kgo.Record, now time.Time) {
				r.moved(now, 1, int64(len(rec.Key)+len(rec.Value)), 0)
				if r.settings.Verify && n == 0 {
					if _, err := v.read(rec.Topic, rec.Partition, rec.Value); err != nil && !errors.Is(err, errForeign) {
						r.errors.addKind("corrupt record", 1)
					}
				}
				if left.reached(rec) {
					stop()
				}
			})
		})
	}
	g.Wait()
	return errors.Join(errs...)
}

// remaining is the set of partitions whose end was not read yet.
type remaining map[int32]int64

// newRemaining is nil for a range without an end.
func newRemaining(what fetchRange) remaining {
	if what.to == nil {
		return nil
	}
	left := remaining{}
	for p, to := range what.to {
		if to > what.from[p] {
			left[p] = to
		}
	}
	return left
}

// reached notes a record; true if it was the last one of all partitions.
func (r remaining) reached(rec *kgo.Record) bool {
	if to, ok := r[rec.Partition]; !ok || rec.Offset+1 < to {
		return false
	}
	delete(r, rec.Partition)
	return len(r) == 0
}

// poll runs one client from the offsets given until ctx ends.
func poll(ctx context.Context, r *run, c *cluster, from map[int32]int64, on func(*kgo.Record, time.Time)) error {
	s := r.settings
	at := map[int32]kgo.Offset{}
	for p, o := range from {
		at[p] = kgo.NewOffset().At(o)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(s.Brokers...), kgo.ClientID(clientID),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.topic: at}),
		kgo.FetchMaxBytes(int32(s.FetchBytes)), kgo.FetchMaxPartitionBytes(max(int32(s.FetchBytes)/int32(len(at)), 1<<20)),
		kgo.BrokerMaxReadBytes(max(100<<20, 2*int32(min(s.FetchBytes, 512<<20)))), kgo.FetchMaxWait(500*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		now := time.Now()
		if ctx.Err() != nil {
			return nil
		}
		fetches.EachError(func(_ string, _ int32, err error) { r.errors.add(err) })
		fetches.EachRecord(func(rec *kgo.Record) { on(rec, now) })
	}
}

// fillTopic produces --fill bytes of batches as fast as it can.
func fillTopic(ctx context.Context, s Settings, c *cluster, topic string, progress io.Writer) error {
	if s.Fill == 0 {
		return nil
	}
	s.Rate, s.Acks, s.Bytes, s.Duration, s.Warmup = Rate{}, "all", s.Fill, 0, 0
	b, err := encodeSetting(s)
	if err != nil {
		return err
	}
	all, err := c.leaders(ctx, topic)
	if err != nil {
		return err
	}
	s.Connections = max(s.Connections, len(all))
	r := begin(s, progress)
	send, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-r.full:
			stop()
		case <-send.Done():
		}
	}()
	r.logf("filling %s with %v", topic, s.Fill)
	if err := replay(ctx, send, r, c, topic, b); err != nil {
		return err
	}
	if kinds := r.errors.counts(); len(kinds) > 0 {
		r.logf("errors while filling: %v", kinds)
	}
	took := time.Since(r.began)
	r.logf("filled with %.1f MB in %.1f s, %.1f MB/s", float64(r.payload.Load())/1e6, took.Seconds(), float64(r.payload.Load())/1e6/took.Seconds())
	return ctx.Err()
}
