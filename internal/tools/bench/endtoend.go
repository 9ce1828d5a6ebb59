package bench

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// EndToEnd produces by the clock and reads the tail: two latencies of the same
// records, to their acknowledgement and to the application that consumes them.
func EndToEnd(ctx context.Context, s Settings, progress io.Writer) (*Report, error) {
	if s.Rate.N == 0 {
		return nil, errors.New("e2e is an open loop: give a --rate")
	}
	if s.Acks == "0" {
		s.Verify = false // nothing is promised
	}
	return withCluster(ctx, s, func(c *cluster, m *meter) (*Report, error) {
		_, end, err := c.offsets(ctx, c.topic)
		if err != nil {
			return nil, err
		}
		e := &endToEnd{cluster: c, from: end, verifier: newVerifier()}
		e.run = begin(s, progress)
		if e.producing, err = newProducing(e.run, c); err != nil {
			return nil, err
		}
		defer e.producing.close()
		if s.Verify {
			e.producing.verify = e.verifier
		}
		rep, err := e.run.during(ctx, m, func(send context.Context) error { return e.load(ctx, send) })
		if rep != nil {
			rep.Workload = "e2e"
			if s.Verify {
				rep.Verify = e.verifier.verdict()
			}
		}
		return rep, err
	})
}

type endToEnd struct {
	run       *run
	cluster   *cluster
	producing *producing
	verifier  *verifier
	from      map[int32]int64
}

// load ends when the first consumer has everything, or after --timeout.
func (e *endToEnd) load(ctx, send context.Context) error {
	s := e.run.settings
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var g sync.WaitGroup
	errs := make([]error, s.Consumers)
	for n := range s.Consumers {
		g.Go(func() {
			errs[n] = poll(reading, e.run, e.cluster, e.from, func(rec *kgo.Record, now time.Time) { e.consumed(n, rec, now) })
		})
	}
	err := e.producing.produce(ctx, send)
	give := time.Now().Add(s.Timeout)
	if !s.Verify {
		give = time.Now().Add(2 * time.Second) // what is late is in the tail of the latencies
	}
	for time.Now().Before(give) && (!s.Verify || !e.verifier.complete()) {
		if !sleepUntil(ctx, time.Now().Add(50*time.Millisecond)) {
			break
		}
	}
	stop()
	g.Wait()
	return errors.Join(append(errs, err)...) //nolint:makezero // one for each consumer, then one more
}

func (e *endToEnd) consumed(n int, rec *kgo.Record, now time.Time) {
	if n == 0 && e.run.settings.Verify {
		h, err := e.verifier.read(rec.Topic, rec.Partition, rec.Value)
		if err == nil && h.run == e.producing.id {
			e.run.latency(&e.run.endToEnd, h.due, now)
		}
		return
	}
	if h, err := parseHeader(rec.Value); err == nil && h.run == e.producing.id {
		e.run.latency(&e.run.endToEnd, h.due, now)
	}
}
