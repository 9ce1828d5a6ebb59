package sim

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store/faults"
)

// cluster starts brokers and makes a topic on them, whose partitions are spread.
func (w *World) cluster(t *testing.T, brokers int, partitions int32, rules ...faults.Rule) ([]*Process, *topic) {
	t.Helper()
	var all []*Process
	for n := range brokers {
		all = append(all, w.Start(karst.BrokerID(n+1), rules...))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, p := range all {
		for p.Broker.Image() == nil {
			if !rest(ctx, 10*time.Millisecond) {
				t.Fatalf("%s does not serve", p.Name)
			}
		}
	}
	a := &admin{w.newClient("admin", 1)}
	topic := a.create(ctx, "p", partitions, nil)
	a.hangUp()
	if topic == nil {
		t.Fatal("no topic")
	}
	rest(ctx, 5*time.Second) // spread
	return all, topic
}

// writable waits until every partition has taken a record that was sent from now
// on, and says how long that took: as a client that never rests, and asks who is
// there.
func (w *World) writable(t *testing.T, topic *topic) time.Duration {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan error, topic.count())
	for p := range topic.count() {
		go func() {
			for {
				err := w.produceOnce(ctx, topic, p, 100)
				if err == nil || !rest(ctx, 10*time.Millisecond) {
					done <- err
					return
				}
			}
		}()
	}
	for range topic.count() {
		if err := <-done; err != nil {
			t.Errorf("a partition is not writable: %v", err)
		}
	}
	return time.Since(began)
}

// produceOnce produces where some process that runs says that the leader is.
func (w *World) produceOnce(ctx context.Context, topic *topic, p int32, size int) error {
	img := w.alive()[int(p)%len(w.alive())].Broker.Image()
	s, _ := img.Partition(karst.TopicPartition{Topic: topic.id, Partition: karst.Partition(p)})
	b, ok := img.Broker(s.Leader)
	if !ok {
		return errElsewhere
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	l, err := dial(ctx, w.Network, "prober", address(b.ID), nil)
	if err != nil {
		return err
	}
	defer l.close()
	call := l.send(w.encoded(topic, p, -1, 0, 1, size))
	select {
	case <-call.done:
		return producedOK(call)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestFailoverTime is P7 on a store whose writes take 30 ms (p50) and 150 ms (p99).
// One of three brokers is killed: until every partition is writable again it takes
// less than 1 s (p50) and 2 s (p99). The host of one says nothing any more: at most
// the session timeout and 2 s. Each with the controller, and without.
func TestFailoverTime(t *testing.T) {
	runs := setting(t, "KARST_TEST_SIM_FAILOVERS", 20)
	kill := func(_ *World, p *Process) { p.Crash() }
	silence := func(w *World, p *Process) {
		p.Store.Add(faults.Rule{Kind: faults.Slow, Delay: faults.Constant(time.Hour)})
		w.Network.Freeze(p.Host, true)
		p.doom() // so that nobody is sent there who knows better
	}
	for _, of := range []struct {
		what       string
		happens    func(*World, *Process)
		controller bool
		p50, p99   time.Duration
	}{
		{"a broker is killed", kill, false, time.Second, 2 * time.Second},
		{"the controller is killed", kill, true, time.Second, 2 * time.Second},
		{"a broker's host is silent", silence, false, 8 * time.Second, 8 * time.Second},
		{"the controller's host is silent", silence, true, 8 * time.Second, 8 * time.Second},
	} {
		var took []time.Duration
		for seed := range runs {
			bubble(t, seed+1, func(w *World) {
				big(w)
				all, topic := w.cluster(t, 3, 12, objectStore()...)
				for _, p := range all {
					if p.Broker.Controls() == of.controller {
						of.happens(w, p)
						break
					}
				}
				took = append(took, w.writable(t, topic))
				w.Network.Heal()
				for _, p := range all {
					p.Crash()
				}
			})
		}
		p50, p99, most := percentiles(took)
		t.Logf("%s: all partitions writable after p50 %v, p99 %v, max %v", of.what, p50, p99, most)
		if p50 >= of.p50 || p99 >= of.p99 {
			t.Errorf("P7: p50 < %v and p99 < %v wanted", of.p50, of.p99)
		}
	}
}

// TestIdleCluster is P11 for three brokers: fewer than 100 store requests an hour
// each.
func TestIdleCluster(t *testing.T) {
	bubble(t, 1, func(w *World) {
		big(w)
		all, topic := w.cluster(t, 3, 100)
		w.writable(t, topic)
		time.Sleep(10 * time.Minute) // flush, snapshot, the first sweep
		var before int64
		for _, p := range all {
			before += p.requests()
		}
		time.Sleep(time.Hour)
		var n int64
		for _, p := range all {
			n += p.requests()
		}
		t.Logf("%d store requests of three brokers in an idle hour", n-before)
		if n-before >= 300 {
			t.Errorf("P11: %d store requests in an idle hour, fewer than 100 a broker wanted", n-before)
		}
		for _, p := range all {
			_ = p.Stop()
		}
	})
}

// TestGrowthOfBrokers is P13: a broker's store requests per batch do not depend on
// how many other brokers there are.
func TestGrowthOfBrokers(t *testing.T) {
	var one float64
	for _, brokers := range []int{1, 10, 50} {
		bubble(t, 1, func(w *World) {
			big(w)
			w.Config.FlushInterval = 5 * time.Second // so that commits are in the figure
			all, topic := w.cluster(t, brokers, int32(2*brokers), objectStore()...)
			before := w.requestsOf(all)
			const rounds = 40
			var wg sync.WaitGroup
			for p := range topic.count() {
				wg.Go(func() {
					for range rounds { // 16 KiB, ten times a second, one after the other
						if err := w.produceOnce(context.Background(), topic, p, 16<<10); err != nil {
							t.Errorf("partition %d: %v", p, err)
						}
						time.Sleep(100 * time.Millisecond)
					}
				})
			}
			wg.Wait()
			time.Sleep(6 * time.Second)
			per := float64(w.requestsOf(all)-before) / float64(rounds*int(topic.count()))
			if brokers == 1 {
				one = per
			}
			t.Logf("%d brokers, %d partitions: %.3f store requests a batch, %.2f of those of one broker", brokers, topic.count(), per, per/one)
			if per > 1.1*one {
				t.Errorf("P13: %.3f store requests a batch with %d brokers, %.3f with one", per, brokers, one)
			}
			for _, p := range all {
				p.Crash()
			}
		})
	}
}

func (w *World) requestsOf(all []*Process) (n int64) {
	for _, p := range all {
		n += p.requests()
	}
	return n
}

// TestMetadataLog says what the metadata log does on a store whose writes take
// 30 ms (p50) and 150 ms (p99): what waits during one create goes into the next.
func TestMetadataLog(t *testing.T) {
	bubble(t, 1, func(w *World) {
		big(w)
		all, _ := w.cluster(t, 3, 3, objectStore()...)
		const clients, lasts = 32, 5 * time.Second
		first := all[0].Broker.Image().Position()
		began := time.Now()
		var mu sync.Mutex
		var took []time.Duration
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				a := &admin{w.newClient("admin", uint64(c))}
				defer a.hangUp()
				for n := 0; time.Since(began) < lasts; n++ {
					from := time.Now()
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					if a.create(ctx, fmt.Sprintf("m%d-%d", c, n), 1, nil) == nil {
						t.Error("a topic was not created")
					}
					cancel()
					mu.Lock()
					took = append(took, time.Since(from))
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		last := all[0].Broker.Image().Position()
		p50, p99, most := percentiles(took)
		t.Logf("%d changes a second in %.1f commits a second; a change takes p50 %v, p99 %v, max %v, through any of three brokers",
			int(float64(len(took))/lasts.Seconds()), float64(last.Number-first.Number)/lasts.Seconds(), p50, p99, most)
		if p50 > 300*time.Millisecond {
			t.Errorf("a change takes %v", p50)
		}
		for _, p := range all {
			p.Crash()
		}
	})
}
