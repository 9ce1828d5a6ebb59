package sim

import (
	"context"
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
				err := w.produceOnce(ctx, topic, p)
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
func (w *World) produceOnce(ctx context.Context, topic *topic, p int32) error {
	img := w.alive()[int(p)%len(w.alive())].Broker.Image()
	s, _ := img.Partition(karst.TopicPartition{Topic: topic.id, Partition: karst.Partition(p)})
	b, ok := img.Broker(s.Leader)
	if !ok {
		return errElsewhere
	}
	l, err := w.connect(address(b.ID))
	if err != nil {
		return err
	}
	defer l.close()
	call := l.send(w.encoded(topic, p, -1, 0, 1, 100))
	select {
	case <-call.done:
		return producedOK(call)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestFailoverTime is P7 on a store whose writes take 30 ms (p50) and 150 ms (p99):
// one of three brokers is killed, the controller in every other run; until every
// partition is writable again it takes less than 1 s (p50) and 2 s (p99).
func TestFailoverTime(t *testing.T) {
	runs := setting(t, "KARST_TEST_SIM_FAILOVERS", 20)
	for _, of := range []struct {
		who        string
		controller bool
	}{{"a broker that is not the controller", false}, {"the controller", true}} {
		var took []time.Duration
		for seed := range runs {
			bubble(t, seed+1, func(w *World) {
				big(w)
				all, topic := w.cluster(t, 3, 12, objectStore()...)
				w.openLoop(topic, 2*time.Second)
				for _, p := range all {
					if p.Broker.Controls() == of.controller {
						p.Crash()
						break
					}
				}
				took = append(took, w.writable(t, topic))
				for _, p := range all {
					if p.Alive() {
						p.Crash()
					}
				}
			})
		}
		p50, p99, most := percentiles(took)
		t.Logf("%s is killed: all partitions writable after p50 %v, p99 %v, max %v", of.who, p50, p99, most)
		if p50 >= time.Second || p99 >= 2*time.Second {
			t.Errorf("P7: p50 < 1s and p99 < 2s wanted")
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
