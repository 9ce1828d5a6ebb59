package broker

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/balance"
)

// Load is measured over loadEvery at least, and of the loadHot busiest partitions
// one by one.
const (
	loadEvery = 2 * time.Second
	loadHot   = 256
)

// loads turns the counters of an incarnation into rates.
type loads struct {
	mu   sync.Mutex
	at   time.Time
	last balance.Load
}

// load is what the incarnation did lately, per second.
func (l *life) load() balance.Load {
	x := &l.loads
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	if x.at.IsZero() {
		x.at = now
	}
	took := now.Sub(x.at)
	if took < loadEvery {
		return x.last
	}
	next := balance.Load{Hot: map[karst.TopicPartition]float64{}}
	for tp, c := range l.engine.Traffic() {
		in, out := float64(c.In)/took.Seconds(), float64(c.Out)/took.Seconds()
		next.BytesIn += in
		next.BytesOut += out
		next.Requests += float64(c.Requests) / took.Seconds()
		next.Hot[tp] = in + out
	}
	if len(next.Hot) > loadHot {
		busiest := slices.SortedFunc(maps.Keys(next.Hot), func(a, b karst.TopicPartition) int { return cmp.Compare(next.Hot[b], next.Hot[a]) })
		for _, tp := range busiest[loadHot:] {
			delete(next.Hot, tp)
		}
	}
	x.at, x.last = now, next
	return next
}
