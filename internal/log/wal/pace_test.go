package wal

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/hedge"
	"github.com/karst-io/karst/internal/store/mem"
)

// TestOpenLoopLatency is P4 of the goals, the WAL's part: 2 MB/s on the
// lognormal store of 30/150 ms, hedged.
func TestOpenLoopLatency(t *testing.T) {
	for _, interval := range []time.Duration{25 * time.Millisecond, 100 * time.Millisecond} {
		t.Run(interval.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { openLoop(t, interval) })
		})
	}
}

func openLoop(t *testing.T, interval time.Duration) {
	const (
		appends = 4000 // of 4 KiB every 2 ms: 33 s
		putP50  = 30 * time.Millisecond
		putP99  = 150 * time.Millisecond
	)
	slow := faults.New(mem.New(""), 42, faults.ObjectStore()...)
	hedged := hedge.New(slow, hedge.Config{})
	c := quick
	c.MinInterval = interval
	r := run(t, logOn(hedged), c)
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range appends {
		start := time.Now()
		commit := r.Append(batch(0, karst.Offset(i), 1<<10))
		wg.Go(func() {
			if err := outcome(t, commit); err != nil {
				t.Error(err)
			}
			if i < appends/10 {
				return // the hedger learns
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(start))
		})
		time.Sleep(2 * time.Millisecond)
	}
	lasted := time.Since(begin)
	wg.Wait()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	hedged.Close()
	slices.Sort(took)
	p50, p99 := took[len(took)/2], took[len(took)*99/100]
	puts := float64(slow.Requests(store.OpCreate, store.CallerWAL)) / lasted.Seconds()
	t.Logf("T %v: p50 %v, p99 %v, max %v, %.1f PUT/s", interval, p50, p99, took[len(took)-1], puts)
	limit50, limit99 := interval/2+putP50*14/10, interval+putP99
	if interval == 25*time.Millisecond {
		limit50, limit99 = putP50*18/10, putP99*11/10
		if puts > 50 {
			t.Errorf("%.1f PUT/s, at most 50", puts)
		}
	}
	if p50 > limit50 {
		t.Errorf("p50 %v, at most %v", p50, limit50)
	}
	if p99 > limit99 {
		t.Errorf("p99 %v, at most %v", p99, limit99)
	}
}

// TestClosedLoopThroughput is P5 of the goals, the WAL's part: one producer with
// five requests in flight keeps at least 80 % of five requests per put.
func TestClosedLoopThroughput(t *testing.T) {
	for name, c := range map[string]struct {
		size  int
		put   time.Duration
		apart time.Duration // first requests; 17 ms start the loop split in halves
		gap   time.Duration // requests of a burst come so far apart
	}{
		"16KiB":       {16 << 10, 30 * time.Millisecond, 0, 200 * time.Microsecond},
		"16KiB split": {16 << 10, 30 * time.Millisecond, 7 * time.Millisecond, 200 * time.Microsecond},
		"slower put":  {16 << 10, 45 * time.Millisecond, 11 * time.Millisecond, 200 * time.Microsecond},
		"1MiB":        {1 << 20, 30 * time.Millisecond, 0, 3 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := closedLoop(t, c.size, c.put, c.apart, c.gap)
				bound := 5 / c.put.Seconds()
				t.Logf("%.1f requests/s, %.0f %% of the bound", got, 100*got/bound)
				if got < bound*8/10 {
					t.Errorf("%.1f requests/s, bound %.1f", got, bound)
				}
			})
		})
	}
}

func closedLoop(t *testing.T, size int, put, apart, gap time.Duration) float64 {
	st := faults.New(mem.New(""), 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(put), Ops: []store.Op{store.OpCreate}})
	r := run(t, logOn(st), quick)
	var mu sync.Mutex
	var next karst.Offset
	var lastSent time.Time
	requests := 1000
	if size > 1<<19 {
		requests = 100
	}
	rng := rand.New(rand.NewPCG(1, 1))
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * apart)
			for {
				// The producer sends one after the other.
				mu.Lock()
				at := lastSent.Add(gap/2 + time.Duration(rng.Int64N(int64(gap))))
				if now := time.Now(); at.Before(now) {
					at = now
				}
				lastSent = at
				mu.Unlock()
				time.Sleep(time.Until(at))
				mu.Lock()
				base := next
				next++
				commit := r.Append(batch(0, base, size))
				mu.Unlock()
				if base >= karst.Offset(requests) {
					return
				}
				if err := outcome(t, commit); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	rate := float64(requests) / time.Since(begin).Seconds()
	r.stop(nil)
	<-r.done
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.durable {
		for i := range s.Slices {
			s.Slices[i].Hold.Release()
		}
	}
	r.durable = nil
	return rate
}
