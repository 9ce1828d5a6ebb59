package coordinator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/metadata"
)

// bubble runs f in a world of its own, and checks that nothing is left behind.
func bubble(t *testing.T, cfg Config, partitions int, load bool, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cfg, partitions, load)
		f(t, w)
		w.end()
		w.idle()
	})
}

func TestOneBatchForEachPartitionAndGather(t *testing.T) {
	bubble(t, Config{}, 3, true, func(t *testing.T, w *world) {
		var all []*waiting
		for k := range 10 {
			for p := range int32(2) {
				all = append(all, w.do(p, false, add(fmt.Sprint("k", k), 1)))
			}
		}
		if n := w.log.count(); n != 0 {
			t.Fatalf("%d batches before the first gather", n)
		}
		w.Gather()
		w.Gather()
		if n := w.log.count(); n != 2 {
			t.Fatalf("%d batches, want one for each partition with records", n)
		}
		for _, a := range all {
			w.expect("before it is durable", a, "waits")
		}
		w.log.settle(-1, nil)
		for _, a := range all {
			w.expect("durable", a, 1)
		}
	})
}

// TestAnswersWaitForTheirKeyAlone: what is told of a key depends on its records,
// those before included, and on no other.
func TestAnswersWaitForTheirKeyAlone(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		a := w.do(0, false, add("a", 1))
		w.expect("another key", w.do(0, false, get("b")), 0)
		readA := w.do(0, false, get("a"))
		w.expect("the same key", readA, "waits")
		w.Gather()
		b := w.do(0, false, add("b", 1))
		again := w.do(0, false, add("a", 1))
		w.log.settle(1, nil)
		w.expect("first", a, 1)
		w.expect("read of the first", readA, 1)
		w.expect("in the open batch", b, "waits")
		w.expect("second of a key", again, "waits")
		w.store()
		w.expect("b", b, 1)
		w.expect("again", again, 2)
		w.expect("nothing is pending", w.do(0, false, get("a")), 2)
	})
}

func TestNudges(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		lazy := func(m *toy, _ time.Time, t Ticket) []Effect {
			e := m.set("lazy", 1)
			e.Lazy, e.Answers = true, []Answer{{t, 1}}
			return []Effect{e}
		}
		w.do(0, false, get("a"))
		w.do(0, false, lazy)
		w.do(0, false, add("a", 1))
		w.do(0, false, func(m *toy, now time.Time, t Ticket) []Effect { return append(lazy(m, now, t), m.set("a", 5)) })
		if got := fmt.Sprint(w.log.nudges); got != "[true false false]" {
			t.Errorf("nudges (lazy?) are %s", got)
		}
		w.store()
	})
}

func TestFreshAnswersWaitForAProof(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		a := w.do(0, true, get("a"))
		w.expect("without a proof", a, "waits")
		w.log.proved <- nil
		w.expect("proved", a, 0)
		b := w.do(0, true, get("a"))
		w.log.proved <- karst.NotLeader.Errorf("it is over")
		w.expect("disproved", b, karst.NotCoordinator)
		w.expect("not fresh", w.do(0, false, get("a")), 0)

		ctx, cancel := context.WithCancel(t.Context())
		c, err := w.Do(0, true, get("a"))
		if err != nil {
			t.Fatal(err)
		}
		given := w.wait(ctx, c)
		cancel()
		w.expect("given up while it is proved", given, context.Canceled)
	})
}

func TestProofsAreShared(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		var calls []*Call
		for range 3 {
			c, err := w.Do(0, true, get("a"))
			if err != nil {
				t.Fatal(err)
			}
			calls = append(calls, c)
		}
		first := w.wait(t.Context(), calls[0])
		late := w.do(0, true, get("a")) // came while the first one was proved
		w.log.proved <- nil
		w.log.proved <- nil
		w.expect("the first", first, 0)
		w.expect("another that came with it", w.wait(t.Context(), calls[1]), 0)
		w.expect("the late one", late, 0)
		if w.log.proofs != 2 {
			t.Errorf("%d proofs were asked for, want 2", w.log.proofs)
		}

		w.log.set(func() { w.log.started = 5 })
		a, err := w.Do(0, true, get("a"))
		if err != nil {
			t.Fatal(err)
		}
		w.log.set(func() { w.log.started, w.log.durable = 6, 5 })
		open := w.do(0, true, get("a"))
		w.expect("while nothing was created that was attempted later", open, "waits")
		w.log.set(func() { w.log.durable = 6 })
		w.expect("by a create that was attempted later", w.wait(t.Context(), a), 0)
		w.expect("one that came when that was attempted", open, "waits")
		w.log.proved <- nil
		w.expect("and is proved", open, 0)
	})
}

func TestLoading(t *testing.T) {
	bubble(t, Config{Loads: 1}, 5, false, func(t *testing.T, w *world) {
		for p := range int32(5) {
			if got := w.refused(p, get("a")); got != karst.CoordinatorLoading {
				t.Fatalf("while partition %d is loaded: %v", p, got)
			}
			if p == 0 {
				synctest.Wait()
			}
		}
		if n := len(w.log.readOf()); n != 1 {
			t.Fatalf("%d partitions are read at once", n)
		}
		if got := w.refused(9, get("a")); got != karst.NotCoordinator {
			t.Fatalf("a partition that is not there: %v", got)
		}
		if w.Each(func(*toy) { t.Error("a machine before it is loaded") }) {
			t.Error("Each says that all are loaded")
		}
		told := func(m *toy, _ time.Time) []Effect { return []Effect{m.set("told", m.counters["told"]+1)} }
		w.Tell(told) // nobody is there
		close(w.log.hold)
		synctest.Wait()
		w.Tell(told)
		n := 0
		if !w.Each(func(m *toy) {
			n++
			if !m.started || m.counters["told"] != 1 {
				t.Errorf("a loaded machine: %+v", m)
			}
		}) || n != 5 {
			t.Errorf("%d machines are loaded", n)
		}
	})
}

// TestLoaded: what is to be done once a machine is loaded comes before all else,
// and is durable as everything is.
func TestLoaded(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		w.do(0, false, add("a", 1))
		w.store()
		w.end()
		w.loaded = func(m *toy, _ time.Time) []Effect {
			if !m.started {
				t.Error("before Start")
			}
			return []Effect{m.set("a", m.counters["a"]+10)}
		}
		w.restart(w.cfg)
		w.Apply(w.img, &metadata.Delta{})
		synctest.Wait()
		got := w.do(0, false, get("a"))
		w.expect("not durable", got, "waits")
		w.store()
		w.expect("durable", got, 11)
	})
}

func TestWantedPartitionsAreLoadedFirst(t *testing.T) {
	bubble(t, Config{Loads: 1}, 5, false, func(t *testing.T, w *world) {
		w.refused(4, get("a"))
		w.refused(4, get("a"))
		w.refused(2, get("a"))
		close(w.log.hold)
		synctest.Wait()
		want := []karst.TopicPartition{part(0), part(4), part(2), part(1), part(3)}
		if got := w.log.readOf(); !slices.Equal(got, want) {
			t.Errorf("loaded in the order %v, want %v", got, want)
		}
	})
}

func TestFailedLoadsAreTriedAgain(t *testing.T) {
	bubble(t, Config{}, 2, false, func(t *testing.T, w *world) {
		w.log.set(func() { w.log.broken[part(1)] = karst.StorageError.Errorf("no") })
		close(w.log.hold)
		synctest.Wait()
		w.expect("its neighbour", w.do(0, false, get("a")), 0)
		time.Sleep(time.Minute)
		if n := len(w.log.readOf()); n < 10 || n > 20 {
			t.Errorf("%d reads in a minute of failures", n)
		}
		if got := w.refused(1, get("a")); got != karst.CoordinatorLoading {
			t.Errorf("while it fails: %v", got)
		}
		w.log.set(func() { delete(w.log.broken, part(1)) })
		time.Sleep(retryDelayMax)
		w.expect("healed", w.do(1, false, get("a")), 0)
	})
}

// TestALoadReadsAll goes over many reads, batches in the middle of which a read
// begins, and control batches.
func TestALoadReadsAll(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		for k := range 50 {
			w.do(0, false, add("a", 1))
			w.do(0, false, add(fmt.Sprint(k), k))
			w.store()
		}
		p := w.log.part(part(0))
		marker := record.EncodeMarker(record.CommitMarker, 1, 1, 1, 1)
		record.Stamp(marker, p.next, 0)
		i, err := record.Parse(marker)
		if err != nil {
			t.Fatal(err)
		}
		p.batches = append(p.batches, record.Batch{Info: i, Bytes: marker})
		p.next, p.hw = i.Next(), i.Next()
		w.end()
		w.restart(w.cfg)
		w.Apply(w.img, &metadata.Delta{})
		synctest.Wait()
		w.expect("a", w.do(0, false, get("a")), 50)
		w.expect("49", w.do(0, false, get("49")), 49)
		if s := w.Stats(); s.Loaded != 100 || s.Loads != 1 {
			t.Errorf("%d records in %d loads", s.Loaded, s.Loads)
		}
		// A log that ends before its high watermark is not taken for the whole.
		w.log.set(func() { p.hw++ })
		w.end()
		w.restart(w.cfg)
		w.Apply(w.img, &metadata.Delta{})
		time.Sleep(time.Second)
		if got := w.refused(0, get("a")); got != karst.CoordinatorLoading {
			t.Errorf("with records missing: %v", got)
		}
	})
}

func TestNothingIsAppendedBehindARefusal(t *testing.T) {
	bubble(t, Config{}, 2, true, func(t *testing.T, w *world) {
		kept := w.do(0, false, add("a", 1))
		w.Gather()
		lost := w.do(0, false, add("a", 1))
		parked := w.do(0, false, park("a"))
		other := w.do(1, false, add("a", 1))
		w.log.set(func() { w.log.refuse = true })
		w.Gather()
		w.expect("in the refused batch", lost, karst.NotCoordinator)
		w.expect("parked", parked, karst.NotCoordinator)
		w.expect("before it: unknown", kept, karst.NotCoordinator)
		w.expect("another partition", other, karst.NotCoordinator)
		if got := w.refused(0, add("a", 1)); got != karst.CoordinatorLoading {
			t.Errorf("after the refusal: %v", got)
		}
		w.log.set(func() { w.log.refuse = false })
		time.Sleep(time.Second)
		if got := w.refused(0, get("a")); got != karst.CoordinatorLoading {
			t.Errorf("while the outcome of an append is unknown: %v", got)
		}
		w.log.settle(-1, nil)
		synctest.Wait()
		w.expect("what was durable", w.do(0, false, get("a")), 1)
		w.expect("and was not", w.do(1, false, get("a")), 0)
	})
}

func TestFailedCommitsEndTheShard(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		a := w.do(0, false, add("a", 1))
		b := w.do(0, false, get("a"))
		w.Gather()
		w.log.settle(-1, karst.TimedOut.Errorf("not known"))
		w.expect("the change", a, karst.NotCoordinator)
		w.expect("what was read of it", b, karst.NotCoordinator)
	})
}

func TestLeadershipChanges(t *testing.T) {
	bubble(t, Config{}, 2, true, func(t *testing.T, w *world) {
		a := w.do(0, false, add("a", 1))
		w.store()
		w.expect("a", a, 1)
		p, _ := w.img.Partition(part(0))
		waits := w.do(0, false, add("a", 1))
		other := w.do(1, false, add("b", 1))
		// The same leader at a higher epoch: what was open belongs to the old one.
		w.change(&metadata.CommitRequest{Incarnation: 1, Request: 1, Ranges: []metadata.Range{{Partition: part(0), Epoch: p.Epoch, NewLeader: 1}}})
		w.expect("of the old epoch", waits, karst.NotCoordinator)
		w.expect("loaded anew", w.do(0, false, get("a")), 1)
		c := w.do(0, false, add("a", 1))
		w.store()
		w.expect("at the new epoch", c, 2)
		w.expect("not concerned", other, 1)

		w.change(&metadata.RegisterBroker{Incarnation: 2, Registration: metadata.Registration{ID: 2}})
		p, _ = w.img.Partition(part(0))
		parked := w.do(0, false, park("a"))
		w.change(&metadata.CommitRequest{Incarnation: 1, Request: 2, Ranges: []metadata.Range{{Partition: part(0), Epoch: p.Epoch, NewLeader: 2}}})
		w.expect("lost", parked, karst.NotCoordinator)
		if got := w.refused(0, get("a")); got != karst.NotCoordinator {
			t.Errorf("led by another: %v", got)
		}
		w.change(&metadata.DeleteTopic{ID: toyTopic})
		if got := w.refused(1, get("a")); got != karst.NotCoordinator {
			t.Errorf("deleted: %v", got)
		}
	})
}

func TestAbandonedCalls(t *testing.T) {
	bubble(t, Config{CallsMax: 2}, 1, true, func(t *testing.T, w *world) {
		for _, op := range []toyOp{park("a"), add("a", 1)} {
			ctx, cancel := context.WithCancel(t.Context())
			c, err := w.Do(0, false, op)
			if err != nil {
				t.Fatal(err)
			}
			a := w.wait(ctx, c)
			cancel()
			w.expect("abandoned", a, context.Canceled)
		}
		w.idleCalls()
		w.expect("another", w.do(0, false, unpark("b")), 0)
		again := w.do(0, false, unpark("a"))
		w.store()
		w.expect("the abandoned one is answered", again, 0)
	})
}

func (w *world) idleCalls() {
	w.t.Helper()
	if n := w.Stats().Calls; n != 0 {
		w.t.Errorf("%d calls are left", n)
	}
}

func TestDeadlines(t *testing.T) {
	bubble(t, Config{}, 3, true, func(t *testing.T, w *world) {
		in := func(d time.Duration) toyOp {
			return func(m *toy, now time.Time, t Ticket) []Effect {
				m.at = now.Add(d)
				return []Effect{{Answers: []Answer{{t, 0}}}}
			}
		}
		expired := func() (n [3]int) {
			synctest.Wait()
			k := 0
			w.Each(func(m *toy) { n[k] = m.counters["expired"]; k++ })
			slices.Sort(n[:])
			return n
		}
		w.do(0, false, in(3*time.Second))
		w.do(1, false, in(time.Second))
		w.do(2, false, in(2*time.Second))
		w.do(2, false, in(10*time.Second)) // put off
		w.do(0, false, in(2*time.Second))  // brought forward
		for _, c := range []struct {
			at   time.Duration
			want [3]int
		}{{999 * time.Millisecond, [3]int{}}, {time.Second, [3]int{0, 0, 1}}, {2 * time.Second, [3]int{0, 1, 1}}, {9 * time.Second, [3]int{0, 1, 1}}, {10 * time.Second, [3]int{1, 1, 1}}} {
			time.Sleep(c.at - time.Since(w.t0()))
			if got := expired(); got != c.want {
				t.Errorf("after %s: %v, want %v", c.at, got, c.want)
			}
		}
		w.store()
	})
}

// TestDeadlineIsNotPutOffByOneThatComesLate: of two steps the first one's later
// deadline reaches the queue after the second one's.
func TestDeadlineIsNotPutOffByOneThatComesLate(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		w.do(0, false, func(m *toy, now time.Time, t Ticket) []Effect {
			m.at = now.Add(3 * time.Second)
			return []Effect{{Answers: []Answer{{t, 0}}}}
		})
		w.schedule(w.shards[0], time.Now().Add(45*time.Second))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		w.Each(func(m *toy) {
			if m.counters["expired"] != 1 {
				t.Error("the earlier deadline was not looked at")
			}
		})
		w.store()
	})
}

// TestParkedCallsLeavePlaces: what may wait for ever cannot take every place.
func TestParkedCallsLeavePlaces(t *testing.T) {
	bubble(t, Config{CallsMax: 4}, 1, true, func(t *testing.T, w *world) {
		var parked []*waiting
		for range 3 {
			c, err := w.DoParked(0, false, park("a"))
			if err != nil {
				t.Fatal(err)
			}
			parked = append(parked, w.wait(t.Context(), c))
		}
		if _, err := w.DoParked(0, false, park("a")); codeOf(err) != karst.CoordinatorNotAvailable {
			t.Errorf("a fourth call: %v", err)
		}
		w.expect("one that goes on", w.do(0, false, add("b", 1)), "waits")
		w.store()
		w.expect("unpark", w.do(0, false, unpark("a")), 0)
		for _, a := range parked {
			w.expect("unparked", a, 0)
		}
	})
}

// t0 is when every bubble begins.
func (w *world) t0() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

func TestBounds(t *testing.T) {
	bubble(t, Config{CallsMax: 3, PendingBytes: 100}, 1, true, func(t *testing.T, w *world) {
		var parked []*waiting
		for range 3 {
			parked = append(parked, w.do(0, false, park("a")))
		}
		if got := w.refused(0, park("a")); got != karst.CoordinatorNotAvailable {
			t.Errorf("a fourth call: %v", got)
		}
		_ = w.shards[0].each(func(m *toy) { m.parked = map[string][]Ticket{} })
		w.change(&metadata.DeleteTopic{ID: toyTopic})
		for _, a := range parked {
			w.expect("ended", a, karst.NotCoordinator)
		}
	})
	bubble(t, Config{PendingBytes: 100}, 1, true, func(t *testing.T, w *world) {
		long := w.do(0, false, add(strings.Repeat("k", 100), 1))
		if got := w.refused(0, get("a")); got != karst.CoordinatorNotAvailable {
			t.Errorf("with too many bytes that wait for the store: %v", got)
		}
		w.store()
		w.expect("long", long, 1)
		w.expect("after that", w.do(0, false, get("a")), 0)
	})
}

func TestFullBatchesAreAppendedAtOnce(t *testing.T) {
	bubble(t, Config{BatchBytes: 300}, 1, true, func(t *testing.T, w *world) {
		var all []*waiting
		for k := range 10 {
			all = append(all, w.do(0, false, add(strings.Repeat("k", 100+k), 1)))
		}
		if n := w.log.count(); n != 4 {
			t.Errorf("%d batches before the gather, want 4", n)
		}
		w.log.settle(1, nil)
		w.expect("in the first", all[1], 1)
		w.expect("in the second", all[2], "waits")
		// What belongs together stays together, however large.
		w.do(0, false, func(m *toy, _ time.Time, t Ticket) []Effect {
			e := Effect{Key: "many", Answers: []Answer{{t, 0}}}
			for k := range 20 {
				e.Records = append(e.Records, m.set(strings.Repeat("m", 100+k), 1).Records...)
			}
			return []Effect{e}
		})
		w.store()
		p := w.log.part(part(0))
		if last := p.batches[len(p.batches)-1]; last.Info.Count != 20 {
			t.Errorf("the large effect is in batches of up to %d", last.Info.Count)
		}
	})
}

func TestAPanicLoadsAnew(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		kept := w.do(0, false, add("a", 1))
		w.store()
		w.expect("kept", kept, 1)
		waits := w.do(0, false, park("a"))
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_, _ = w.Do(0, false, func(m *toy, _ time.Time, _ Ticket) []Effect {
				m.counters["a"] = 99
				panic("half way")
			})
		}()
		w.expect("waits", waits, karst.NotCoordinator)
		time.Sleep(time.Second)
		w.expect("what was durable", w.do(0, false, get("a")), 1)
	})
}

func TestRunEndsEverything(t *testing.T) {
	bubble(t, Config{}, 5, false, func(t *testing.T, w *world) {
		w.end() // loads are under way
		if got := w.refused(0, get("a")); got != karst.NotCoordinator {
			t.Errorf("after the end: %v", got)
		}
		w.Apply(w.img, &metadata.Delta{Reset: true})
		if got := w.refused(0, get("a")); got != karst.NotCoordinator {
			t.Errorf("after the end and a commit: %v", got)
		}
	})
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		a := w.do(0, false, park("a"))
		w.end()
		w.expect("waits at the end", a, karst.NotCoordinator)
	})
}

func TestNoTopicCostsNothing(t *testing.T) {
	bubble(t, Config{}, 0, true, func(t *testing.T, w *world) {
		time.Sleep(24 * time.Hour)
		if n := len(w.log.readOf()); n != 0 {
			t.Errorf("%d reads", n)
		}
		if !w.Each(func(*toy) {}) {
			t.Error("something is being loaded")
		}
	})
}
