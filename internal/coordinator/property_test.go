package coordinator

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/proptest"
)

// TestWhatWasAnsweredIsWhatAReloadSees changes counters at random, with gathers,
// commits, refusals and crashes between; a crash loses what is not durable. What
// was answered, of a change or of a look, was durable then: each counter only
// grows, so no later load may see less.
func TestWhatWasAnsweredIsWhatAReloadSees(t *testing.T) {
	proptest.Run(t, 150, func(t *testing.T, r *rand.Rand) {
		synctest.Test(t, func(t *testing.T) { reloads(t, r) })
	})
}

type asked struct {
	*waiting
	at  string // partition and key
	run int
}

func reloads(t *testing.T, r *rand.Rand) {
	const partitions, keys = 3, 3
	w := newWorld(t, Config{BatchBytes: int64(50 + r.IntN(400))}, partitions, true)
	told := map[string]int{} // the most that was answered
	var calls []asked
	answers := 0
	take := func() {
		synctest.Wait()
		open := calls[:0]
		for _, c := range calls {
			switch n := c.state().(type) {
			case int:
				answers++
				told[c.at] = max(told[c.at], n)
			case string:
				open = append(open, c)
			}
		}
		calls = open
	}
	crash := func() {
		take()
		w.end()
		take()
		if len(calls) > 0 {
			t.Fatalf("%d calls wait after the end", len(calls))
		}
		w.log.set(func() {
			w.log.flights, w.log.refuse = nil, false
			for _, p := range w.log.parts {
				for len(p.batches) > 0 && p.batches[len(p.batches)-1].Info.Base >= p.hw {
					p.batches = p.batches[:len(p.batches)-1]
				}
				p.next = p.hw
			}
		})
		w.restart(w.cfg)
		w.Apply(w.img, &metadata.Delta{})
		synctest.Wait()
		for p := range int32(partitions) {
			for k := range keys {
				key := fmt.Sprint("k", k)
				if got, want := w.do(p, false, get(key)).state(), told[fmt.Sprint(p, key)]; got.(int) < want {
					t.Fatalf("partition %d, %s: %v after a reload, %d was answered", p, key, got, want)
				}
			}
		}
	}
	for range 200 {
		p, key := r.Int32N(partitions), fmt.Sprint("k", r.IntN(keys))
		switch x := r.IntN(100); {
		case x < 60:
			op := add(key, 1)
			if x < 20 {
				op = get(key)
			}
			if c, err := w.Do(p, false, op); err == nil {
				calls = append(calls, asked{w.wait(t.Context(), c), fmt.Sprint(p, key), 0})
			}
		case x < 75:
			w.Gather()
		case x < 90:
			w.log.mu.Lock()
			n := len(w.log.flights)
			w.log.mu.Unlock()
			w.log.settle(r.IntN(n+1), nil)
			take()
		case x < 94:
			w.log.set(func() { w.log.refuse = !w.log.refuse })
		case x < 97:
			w.log.set(func() { w.log.refuse = false })
			time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
		default:
			crash()
		}
	}
	crash()
	w.end()
	w.idle()
	if answers == 0 {
		t.Log("nothing was answered")
	}
}
