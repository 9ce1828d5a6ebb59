package wal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
)

// lazily is the configuration of an object store.
func lazily(c Config) Config {
	c.LazyInterval = 250 * time.Millisecond
	return c
}

// outside is a coordinator with one batch that is open outside the WAL.
type outside struct {
	*running
	mu      sync.Mutex
	open    int // records in it
	next    karst.Offset
	calls   int
	commits []*Commit
}

// gather makes a batch of what is open.
func (o *outside) gather() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls++
	if o.open == 0 {
		return
	}
	o.commits = append(o.commits, o.Append(batch(9, o.next, 100+o.open)))
	o.next++
	o.open = 0
}

// add puts one record into the open batch.
func (o *outside) add(lazy bool) {
	o.hold()
	o.Nudge(lazy)
}

// hold is add without a nudge.
func (o *outside) hold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open++
}

func runOutside(t *testing.T, log Log, c Config) *outside {
	t.Helper()
	o := &outside{}
	c.Gather = func() { o.gather() }
	o.running = run(t, log, c)
	synctest.Wait()
	return o
}

// told are the durable segments: number, then each slice's partition and batches.
func (r *running) told() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, s := range r.durable {
		var parts []string
		for _, sl := range s.Slices {
			parts = append(parts, fmt.Sprintf("%d×%d", sl.Partition.Partition, len(sl.Entries)))
		}
		lines = append(lines, fmt.Sprintf("%d: %s", s.Number, strings.Join(parts, " ")))
	}
	return lines
}

// TestNudges is a transcript: what is nudged and appended, at which millisecond,
// and at which one the segments are durable, on a store that takes no time.
func TestNudges(t *testing.T) {
	type step struct {
		at int // ms
		do string
	}
	for name, c := range map[string]struct {
		config Config
		steps  []step
		want   []string // when: number: partition×batches
	}{
		"after a quiet time a lazy nudge goes at once": {
			lazily(quick),
			[]step{{0, "lazy"}},
			[]string{"2ms 1: 9×1"},
		},
		"many lazy nudges are one batch": {
			lazily(quick),
			[]step{{0, "lazy"}, {1, "lazy"}, {1, "lazy"}},
			[]string{"2ms 1: 9×1"},
		},
		"the next lazy one waits for the interval": {
			lazily(quick),
			[]step{{0, "lazy"}, {10, "lazy"}, {100, "lazy"}, {260, "lazy"}},
			[]string{"2ms 1: 9×1", "252ms 2: 9×1", "502ms 3: 9×1"},
		},
		"the interval counts from any segment": {
			lazily(quick),
			[]step{{0, "append"}, {100, "append"}, {110, "lazy"}},
			[]string{"2ms 1: 0×1", "102ms 2: 0×1", "352ms 3: 9×1"},
		},
		"a lazy one goes with an append": {
			lazily(quick),
			[]step{{0, "lazy"}, {10, "lazy"}, {100, "append"}},
			[]string{"2ms 1: 9×1", "102ms 2: 0×1 9×1"},
		},
		"a lazy one goes with an urgent one": {
			lazily(quick),
			[]step{{0, "lazy"}, {10, "lazy"}, {100, "urgent"}, {101, "lazy"}},
			[]string{"2ms 1: 9×1", "102ms 2: 9×1"},
		},
		"an urgent one is spaced as an append": {
			lazily(quick),
			[]step{{0, "urgent"}, {5, "urgent"}, {6, "urgent"}, {60, "urgent"}},
			[]string{"2ms 1: 9×1", "27ms 2: 9×1", "62ms 3: 9×1"},
		},
		"without an interval no nudge is lazy": {
			quick,
			[]step{{0, "lazy"}, {10, "lazy"}},
			[]string{"2ms 1: 9×1", "27ms 2: 9×1"},
		},
		"a folder does not wait": {
			Config{MinInterval: 0, BatchBytes: 1 << 20, Inflight: 2, StallTimeout: time.Minute},
			[]step{{0, "lazy"}, {1, "append"}, {2, "urgent"}},
			[]string{"0s 1: 9×1", "1ms 2: 0×1", "2ms 3: 9×1"},
		},
		"nothing to add makes no segment": {
			lazily(quick),
			[]step{{0, "lie"}, {10, "lie"}, {100, "append"}, {110, "lie"}},
			[]string{"102ms 1: 0×1"},
		},
		"what is not nudged goes along": {
			lazily(quick),
			[]step{{0, "silent"}, {50, "append"}},
			[]string{"52ms 1: 0×1 9×1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := runOutside(t, logOn(mem.New("")), c.config)
				begin, offset := time.Now(), karst.Offset(0)
				var got []string
				watch := func(until time.Duration) {
					for time.Since(begin) < until {
						synctest.Wait()
						for _, l := range o.told()[len(got):] {
							got = append(got, fmt.Sprintf("%v %s", time.Since(begin), l))
						}
						time.Sleep(time.Millisecond)
					}
				}
				for _, s := range c.steps {
					watch(time.Duration(s.at) * time.Millisecond)
					synctest.Wait()
					switch s.do {
					case "lazy", "urgent":
						o.add(s.do == "lazy")
					case "append":
						o.Append(batch(0, offset, 100))
						offset++
					case "lie":
						o.Nudge(true)
						o.Nudge(false)
					case "silent":
						o.hold()
					}
				}
				watch(time.Since(begin) + time.Second)
				if !slices.Equal(got, c.want) {
					t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
				}
				if err := o.end(t); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestOffsetCommitsCostFewRequests is P12 of the goals, the WAL's part: 5,000
// lazy records a second and nothing else.
func TestOffsetCommitsCostFewRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New(""), 42, faults.ObjectStore()...)
		o := runOutside(t, logOn(st), lazily(quick))
		for range 10_000 {
			o.add(true)
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		if puts := st.Requests(store.OpCreate, store.CallerWAL); puts > 50 || puts < 39 {
			t.Errorf("%d PUTs in 10 s, want 4/s", puts)
		}
		if err := o.end(t); err != nil {
			t.Error(err)
		}
		for _, c := range o.commits {
			if err := outcome(t, c); err != nil {
				t.Error(err)
			}
		}
		if n := len(o.commits); n != len(o.durable) {
			t.Errorf("%d batches in %d segments", n, len(o.durable))
		}
	})
}

// TestGatheredOncePerSegment: uploads that wait for a slot, groups that wait
// behind full ones.
func TestGatheredOncePerSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New(""), 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(30 * time.Millisecond), Ops: []store.Op{store.OpCreate}})
		c := lazily(quick)
		c.Inflight, c.BatchBytes = 2, 10_000
		o := runOutside(t, logOn(st), c)
		for i := range karst.Offset(100) {
			o.Append(batch(0, i, 5000))
			o.add(i%2 == 0)
			synctest.Wait()
		}
		time.Sleep(10 * time.Second)
		o.mu.Lock()
		before := o.calls
		o.mu.Unlock()
		if err := o.end(t); err != nil {
			t.Error(err)
		}
		if n := int(o.Started()); before != n {
			t.Errorf("gathered %d times for %d segments", before, n)
		}
		if o.open > 0 || len(o.commits) == 0 {
			t.Errorf("%d records are still outside, %d batches", o.open, len(o.commits))
		}
		for _, s := range o.durable {
			for _, sl := range s.Slices {
				if sl.Partition.Partition == 9 && len(sl.Entries) > 4 {
					t.Errorf("segment %d holds %d gathered batches", s.Number, len(sl.Entries))
				}
			}
		}
	})
}

func TestDrainGathers(t *testing.T) {
	for _, busy := range []bool{false, true} {
		t.Run(fmt.Sprint("busy=", busy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := faults.New(mem.New(""), 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(time.Second), Ops: []store.Op{store.OpCreate}})
				o := runOutside(t, logOn(st), lazily(quick))
				o.add(true)
				time.Sleep(10 * time.Millisecond) // in flight
				if !busy {
					time.Sleep(5 * time.Second)
				}
				o.add(true)
				if err := o.end(t); err != nil {
					t.Error(err)
				}
				if got := o.told(); !slices.Equal(got, []string{"1: 9×1", "2: 9×1"}) {
					t.Errorf("drained: %v", got)
				}
				calls := o.calls
				o.add(false)
				time.Sleep(time.Minute)
				if o.calls != calls {
					t.Error("gathered after the end")
				}
				o.gather()
				if err := outcome(t, o.commits[2]); !errors.Is(err, karst.NotLeader.Err()) {
					t.Errorf("gathered after the end: %v", err)
				}
			})
		})
	}
}

// TestNudgesWhileDraining: a coordinator that goes on does not keep the WAL from
// its end, and what it adds is refused.
func TestNudgesWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New(""), 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(time.Second), Ops: []store.Op{store.OpCreate}})
		o := runOutside(t, logOn(st), lazily(quick))
		o.add(false)
		time.Sleep(10 * time.Millisecond)
		o.stop(nil)
		synctest.Wait()
		o.add(false)
		synctest.Wait()
		o.add(true)
		<-o.done
		if len(o.commits) != 3 || !errors.Is(o.commits[1].Err(), karst.NotLeader.Err()) || o.commits[0].Err() != nil {
			t.Errorf("%d batches were gathered", len(o.commits))
		}
		if err := o.end(t); err != nil {
			t.Error(err)
		}
	})
}
