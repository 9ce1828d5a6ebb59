package sim

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/broker"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
)

// objectStore is a bucket whose writes take 30 ms (p50) and 150 ms (p99).
func objectStore() []faults.Rule { return faults.ObjectStore() }

// big gives a world the default settings of a broker.
func big(w *World) {
	cfg, _ := defaults()
	cfg.MemoryBytes, cfg.WALBatchBytes, cfg.FlushBytes, cfg.FlushInterval = 1<<30, 8<<20, 64<<20, time.Minute
	cfg.SessionTimeout, cfg.PlacementDelay = 6*time.Second, 2*time.Second
	cfg.WALStallTimeout, cfg.RetentionCheck, cfg.SweepInterval = 30*time.Second, 5*time.Minute, 6*time.Hour
	w.Config, w.Tuning = cfg, broker.Tuning{}
}

// ready makes a topic on a fresh broker.
func ready(w *World, partitions int32, rules ...faults.Rule) (*Process, *topic) {
	p := w.Start(1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a := &admin{w.newClient("admin", 1)}
	t := a.create(ctx, "p", partitions, nil)
	a.hangUp()
	for _, r := range rules {
		p.Store.Add(r)
	}
	return p, t
}

// encoded is one produce request of one batch.
func (w *World) encoded(t *topic, partition int32, pid int64, sequence, records, size int) *kmsg.ProduceRequest {
	b := record.NewBuilder(w.codecs)
	if pid >= 0 {
		b.Producer, b.ProducerEpoch, b.BaseSequence = karst.ProducerID(pid), 0, karst.Sequence(sequence)
	}
	value := make([]byte, size)
	for range records {
		b.Append(karst.Timestamp(time.Now().UnixMilli()), nil, value)
	}
	bytes, err := b.Bytes()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 13, -1, 30_000
	rt := kmsg.NewProduceRequestTopic()
	rt.TopicID = t.id
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, bytes
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

func producedOK(c *call) error {
	if c.err != nil {
		return c.err
	}
	if code := c.resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		return fmt.Errorf("code %d", code)
	}
	return nil
}

// percentiles of durations.
func percentiles(all []time.Duration) (p50, p99, most time.Duration) {
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100], all[len(all)-1]
}

// openLoop produces 16 KiB requests at 2 MB/s, spread over the partitions, for a
// time, and returns the latencies from when each was due.
func (w *World) openLoop(t *topic, d time.Duration) (all []time.Duration, failed int) {
	const rate, size = 2_000_000, 16 << 10
	const links = 16
	var mu sync.Mutex
	var wg sync.WaitGroup
	n := int(d.Seconds() * rate / size)
	gap := time.Duration(float64(time.Second) * size / rate)
	start := time.Now()
	for k := range links {
		wg.Go(func() {
			l, err := w.connect(address(1))
			if err != nil {
				panic("BUG: " + err.Error())
			}
			var calls sync.WaitGroup
			for i := k; i < n; i += links {
				due := start.Add(time.Duration(i) * gap)
				time.Sleep(time.Until(due))
				c := l.send(w.encoded(t, int32(i)%t.count(), -1, 0, 1, size))
				calls.Go(func() {
					<-c.done
					took, err := time.Since(due), producedOK(c)
					mu.Lock()
					defer mu.Unlock()
					if all = append(all, took); err != nil {
						failed++
					}
				})
			}
			calls.Wait()
			l.close()
		})
	}
	wg.Wait()
	return all, failed
}

// TestAcknowledgementLatency is P4: 2 MB/s on the 30/150 ms store, T = 25 ms.
func TestAcknowledgementLatency(t *testing.T) {
	const p50Put, p99Put = 30 * time.Millisecond, 150 * time.Millisecond
	for _, partitions := range []int32{1, 8, 100} {
		for _, interval := range []time.Duration{25 * time.Millisecond, 100 * time.Millisecond} {
			bubble(t, 1, func(w *World) {
				big(w)
				w.Config.WALMinInterval = interval
				p, topic := ready(w, partitions, objectStore()...)
				w.openLoop(topic, 5*time.Second) // let the hedger learn
				before := p.Store.Requests(store.OpCreate, store.CallerWAL)
				const d = 20 * time.Second
				all, failed := w.openLoop(topic, d)
				puts := float64(p.Store.Requests(store.OpCreate, store.CallerWAL)-before) / d.Seconds()
				p50, p99, most := percentiles(all)
				t.Logf("%3d partitions, T = %v: acknowledgement p50 %v, p99 %v, max %v, %d failed; %.1f PUT/s", partitions, interval, p50.Round(time.Millisecond), p99.Round(time.Millisecond), most.Round(time.Millisecond), failed, puts)
				most50, most99 := interval/2+p50Put*14/10, interval+p99Put
				if interval == 25*time.Millisecond {
					most50, most99 = p50Put*18/10, p99Put*11/10
					if puts > 50 {
						t.Errorf("P4: %.1f PUT/s, at most 50", puts)
					}
				}
				if p50 > most50 || p99 > most99 || failed > 0 {
					t.Errorf("P4: p50 %v (at most %v), p99 %v (at most %v)", p50, most50, p99, most99)
				}
				_ = p.Stop()
			})
		}
	}
}

// TestStuckUpload is the last sentence of P4: one attempt that hangs for 5 s
// holds nothing up for longer than 2 × PUT p99.
func TestStuckUpload(t *testing.T) {
	bubble(t, 1, func(w *World) {
		big(w)
		p, topic := ready(w, 8, objectStore()...)
		w.openLoop(topic, 10*time.Second)
		p.Store.Add(faults.Rule{Kind: faults.Slow, Delay: faults.Constant(5 * time.Second), Ops: []store.Op{store.OpCreate}, Callers: []store.Caller{store.CallerWAL}, Skip: 20, Times: 1})
		all, failed := w.openLoop(topic, 10*time.Second)
		p50, p99, most := percentiles(all)
		t.Logf("one attempt stuck for 5 s: p50 %v, p99 %v, max %v, %d failed", p50, p99, most, failed)
		if most > 2*150*time.Millisecond+150*time.Millisecond || failed > 0 {
			t.Errorf("P4: an acknowledgement took %v", most)
		}
		_ = p.Stop()
	})
}

// TestOneProducer is P5: five requests in flight, constant PUT of 30 ms.
func TestOneProducer(t *testing.T) {
	for _, size := range []int{16 << 10, 1000 << 10} {
		bubble(t, 1, func(w *World) {
			big(w)
			p, topic := ready(w, 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(30 * time.Millisecond)})
			l, err := w.connect(address(1))
			if err != nil {
				panic("BUG: " + err.Error())
			}
			const d = 5 * time.Second
			var flights []*call
			start, sequence, done := time.Now(), 0, 0
			for time.Since(start) < d {
				for len(flights) < inflightMax {
					flights = append(flights, l.send(w.encoded(topic, 0, 7, sequence, 1, size-200)))
					sequence++
				}
				<-flights[0].done
				if err := producedOK(flights[0]); err != nil {
					t.Fatal(err)
				}
				flights = flights[1:]
				done++
			}
			took := time.Since(start)
			l.close()
			got := float64(done) * float64(size) / took.Seconds()
			bound := 5 * float64(size) / 0.030
			t.Logf("%4d KiB requests: %.2f MB/s, %.0f %% of the bound of %.2f MB/s", size>>10, got/1e6, 100*got/bound, bound/1e6)
			if got < 0.8*bound {
				t.Errorf("P5: %.0f %% of the bound, at least 80", 100*got/bound)
			}
			_ = p.Stop()
		})
	}
}

// TestOutage: a store that is away for ten minutes ends nothing, loses nothing,
// and everything goes on by itself.
func TestOutage(t *testing.T) {
	w := bubble(t, 1, func(w *World) {
		w.Tuning.TermCommits, w.Tuning.SnapshotCommits = 0, 0
		p := w.Start(1, objectStore()...)
		ctx, end := context.WithCancel(context.Background())
		defer end()
		a := &admin{w.newClient("admin", 1)}
		a.create(ctx, "s0", 3, nil)
		a.hangUp()
		producing, stop := context.WithTimeout(ctx, 12*time.Minute)
		defer stop()
		drain, stopDrain := context.WithCancel(ctx)
		var busy sync.WaitGroup
		drained := make([]bool, 3)
		for i := range drained {
			pr := w.newProducer(Load{Idempotent: true, Rate: time.Second, Records: 5, ValueBytes: 200})
			busy.Go(func() { drained[i] = pr.runUntil(drain, producing) })
		}
		c := w.newConsumer(0)
		c.pause = time.Second
		reading, stopReading := context.WithCancel(ctx)
		var readers sync.WaitGroup
		readers.Go(func() { c.run(reading) })
		time.Sleep(30 * time.Second)
		for _, r := range faults.Outage(0, 0) {
			p.Store.Add(r)
		}
		before := w.Acknowledged()
		time.Sleep(10 * time.Minute)
		during := w.Acknowledged() - before
		p.Store.Heal()
		healed := time.Now()
		for w.Acknowledged() == before+during && time.Since(healed) < 5*time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("first acknowledgement %v after the store came back; %d during the outage", time.Since(healed).Round(time.Millisecond), during)
		timer := time.AfterFunc(10*time.Minute, stopDrain)
		busy.Wait()
		timer.Stop()
		stopDrain()
		for i, ok := range drained {
			if !ok {
				t.Errorf("producer %d is stuck", i+1)
			}
		}
		stopReading()
		readers.Wait()
		w.catchUp([]*consumer{c})
		if !p.Alive() {
			t.Errorf("the broker ended: %v", p.err)
		}
		w.finish()
	})
	for _, f := range w.Findings() {
		t.Error(f)
	}
	t.Logf("%d records acknowledged; %v", w.Acknowledged(), w.Events())
}
