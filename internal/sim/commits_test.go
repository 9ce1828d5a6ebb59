package sim

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/store"
)

// commitLoop commits the offset of one partition 5,000 times a second, for 1,000
// groups in turn, and returns the latencies from when each was due.
func (w *World) commitLoop(t *topic, d time.Duration) (all []time.Duration, failed int) {
	const rate, links, groups = 5000, 50, 1000
	var mu sync.Mutex
	var wg sync.WaitGroup
	n := int(d.Seconds() * rate)
	start := time.Now()
	for k := range links {
		wg.Go(func() {
			l, err := w.connect(address(1))
			if err != nil {
				panic("BUG: " + err.Error())
			}
			var calls sync.WaitGroup
			for i := k; i < n; i += links {
				due := start.Add(time.Duration(i) * time.Second / rate)
				time.Sleep(time.Until(due))
				c := l.send(commitOf(t, fmt.Sprint("g", i%groups), int64(i)))
				calls.Go(func() {
					<-c.done
					took, ok := time.Since(due), c.err == nil && c.resp.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode == 0
					mu.Lock()
					defer mu.Unlock()
					if all = append(all, took); !ok {
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

func commitOf(t *topic, group string, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, group, -1
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic = t.name
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Offset = offset
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// TestOffsetCommits is the last clause of P12: 5,000 commits a second of 1,000
// groups on the 30/150 ms store are at most 5 PUTs a second by themselves, and
// none beside producers.
func TestOffsetCommits(t *testing.T) {
	for _, produce := range []bool{false, true} {
		bubble(t, 1, func(w *World) {
			big(w)
			p, topic := ready(w, 8, objectStore()...)
			found := w.newGroupClient("finder", 1)
			for found.connect(context.Background(), "g0") != nil { // it makes the internal topic
				time.Sleep(100 * time.Millisecond)
			}
			found.hangUp()
			w.openLoop(topic, 5*time.Second) // let the hedger learn
			var wg sync.WaitGroup
			before := p.Store.Requests(store.OpCreate, store.CallerWAL)
			const d = 5 * time.Second
			most := 5.0
			if produce {
				most = 50
				wg.Go(func() { w.openLoop(topic, d) })
			}
			all, failed := w.commitLoop(topic, d)
			wg.Wait()
			puts := float64(p.Store.Requests(store.OpCreate, store.CallerWAL)-before) / d.Seconds()
			p50, p99, longest := percentiles(all)
			t.Logf("producers %v: 5,000 commits/s p50 %v, p99 %v, max %v, %d failed; %.1f PUT/s", produce,
				p50.Round(time.Millisecond), p99.Round(time.Millisecond), longest.Round(time.Millisecond), failed, puts)
			if puts > most || failed > 0 {
				t.Errorf("P12: %.1f PUT/s, at most %.0f; %d failed", puts, most, failed)
			}
			if bound := 400 * time.Millisecond; p99 > bound { // the interval, and the p99 of a PUT
				t.Errorf("p99 of commits is %v, at most %v", p99, bound)
			}
			_ = p.Stop()
		})
	}
}
