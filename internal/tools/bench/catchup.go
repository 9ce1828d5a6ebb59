package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Catchup holds a steady produce load and reads an old topic at full speed in
// every second phase: how much do readers of history cost writers?
func Catchup(ctx context.Context, s Settings, progress io.Writer) (*Report, error) {
	if s.Rate.N == 0 {
		return nil, errors.New("catchup needs the producer's --rate")
	}
	if s.Duration == 0 || s.Bytes != 0 {
		return nil, errors.New("catchup goes by --duration, which is the length of a phase")
	}
	phase := s.Duration
	s.Duration *= time.Duration(2 * s.Rounds)
	return withCluster(ctx, s, func(c *cluster, m *meter) (*Report, error) {
		if err := fillTopic(ctx, s, c, c.topic, progress); err != nil {
			return nil, err
		}
		start, end, err := c.offsets(ctx, c.topic)
		if err != nil {
			return nil, err
		}
		if sum(start) == sum(end) {
			return nil, fmt.Errorf("topic %s is empty: --fill SIZE produces data first", c.topic)
		}
		live := c.topic + "-live"
		if err := c.ensureTopic(ctx, live); err != nil {
			return nil, err
		}
		u := &catchup{cluster: c, meter: m, length: phase, what: fetchRange{from: start, to: end}, phases: make([]phaseCount, 2*s.Rounds)}
		history := c.topic
		c.topic = live // the producers' topic
		u.run = begin(s, progress)
		p, err := newProducing(u.run, c)
		c.topic = history
		if err != nil {
			return nil, err
		}
		p.acked = u.acked
		rep, err := u.run.during(ctx, m, func(send context.Context) error {
			reading := make(chan error, 1)
			go func() { reading <- u.readInTurns(send) }()
			return errors.Join(p.produce(ctx, send), <-reading)
		})
		p.close()
		if _, derr := c.admin.DeleteTopics(ctx, live); derr != nil && rep != nil {
			rep.Notes = append(rep.Notes, derr.Error())
		}
		if rep != nil {
			u.finish(rep)
		}
		return rep, err
	})
}

type catchup struct {
	run     *run
	cluster *cluster
	meter   *meter
	length  time.Duration
	what    fetchRange
	phases  []phaseCount
}

// phaseCount is what happened in one phase; odd ones read.
type phaseCount struct {
	ack    recorder
	read   atomic.Int64
	broker []Usage
}

// acked puts a latency into the phase in which its record was due.
func (u *catchup) acked(due, now time.Time) {
	n := int(due.Sub(u.run.from) / u.length)
	if due.Before(u.run.from) || n >= len(u.phases) {
		return
	}
	u.phases[n].ack.record(now.Sub(due))
	u.run.latency(&u.run.ack, due, now)
}

// readInTurns reads in the odd phases, from the start over and over.
func (u *catchup) readInTurns(ctx context.Context) error {
	for n := range u.phases {
		begin := u.run.from.Add(time.Duration(n) * u.length)
		if !sleepUntil(ctx, begin) {
			return nil
		}
		first, err := u.meter.mark()
		if err != nil {
			return err
		}
		// No deadline: connections would see it a moment before the context does,
		// and report the end of the phase as an error.
		phase, cancel := context.WithCancel(ctx)
		end := time.AfterFunc(time.Until(begin.Add(u.length-10*time.Millisecond)), cancel)
		if n%2 == 1 {
			err = u.readOver(phase, &u.phases[n])
		}
		<-phase.Done()
		end.Stop()
		cancel()
		if err != nil {
			return err
		}
		last, err := u.meter.mark()
		if err != nil {
			return err
		}
		if u.phases[n].broker, _, err = u.meter.usage(first, last, u.phases[n].read.Load()); err != nil {
			return err
		}
	}
	return nil
}

func (u *catchup) readOver(ctx context.Context, into *phaseCount) error {
	for ctx.Err() == nil {
		var err error
		if u.run.settings.Raw {
			err = fetchAll(ctx, u.run, u.cluster, u.cluster.topic, u.what, func(f fetched, _ time.Duration) { into.read.Add(f.bytes) })
		} else {
			err = u.pollOnce(ctx, into)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (u *catchup) pollOnce(ctx context.Context, into *phaseCount) error {
	pass, stop := context.WithCancel(ctx)
	defer stop()
	left := newRemaining(u.what)
	return poll(pass, u.run, u.cluster, u.what.from, func(rec *kgo.Record, _ time.Time) {
		into.read.Add(int64(len(rec.Key) + len(rec.Value)))
		if left.reached(rec) {
			stop()
		}
	})
}

// finish adds the phases, their sums, and the ratio that matters: the median
// over the rounds of p99 with reading ÷ p99 without.
func (u *catchup) finish(rep *Report) {
	rep.Workload = "catchup"
	var sums [2]Histogram
	var ratios []float64
	names := [2]string{"alone", "reading"}
	seconds := u.length.Seconds()
	for n := range u.phases {
		h := u.phases[n].ack.snapshot()
		sums[n%2].Merge(h)
		rep.Phases = append(rep.Phases, Phase{
			Name: names[n%2], Seconds: seconds, Ack: h.Summary(), Broker: u.phases[n].broker,
			ReadMBPS: float64(u.phases[n].read.Load()) / 1e6 / seconds,
		})
		if n%2 == 1 {
			if alone := rep.Phases[n-1].Ack.P99; alone > 0 {
				ratios = append(ratios, rep.Phases[n].Ack.P99/alone)
			}
		}
	}
	rep.Latency["ack alone"], rep.Latency["ack reading"] = sums[0].Summary(), sums[1].Summary()
	if len(ratios) > 0 {
		rep.Notes = append(rep.Notes, fmt.Sprintf("ack p99 while reading ÷ alone: median %.2f of %.2f", median(ratios), ratios))
	}
}

// median of a list that is not empty.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
