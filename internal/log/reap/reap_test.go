package reap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/object"
	"github.com/karst-io/karst/internal/store/probe"
)

// run runs reapers for d of virtual time.
func run(t *testing.T, d time.Duration, rs ...*Reaper) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	for _, r := range rs {
		go func() { done <- r.Run(ctx) }()
	}
	time.Sleep(d)
	synctest.Wait()
	cancel()
	for range rs {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestGarbageGoesAfterItsGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.reaper(Config{SweepDelay: time.Hour * 1000}, 1)
		w.segment(walObject(1, 1))
		w.segment(segObject(1, 1))
		w.must(commit(1, 1, 1, 1, rng(w, at(0), src(segObject(1, 1), 0, 1)))) // trims WAL 1
		run(t, 59*time.Second, r)
		w.want(walObject(1, 1).Name(), segObject(1, 1).Name())
		run(t, 2*time.Second, r)
		w.want(segObject(1, 1).Name())
		w.must(&metadata.DeleteTopic{ID: topic})
		run(t, 61*time.Second, r)
		w.want()
		if s := r.Stats(); s.Deleted != 2 || s.Failures != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// O28, walgc.py trimmedonly: a trimmed WAL object that the manifest uses stays.
func TestTrimmedButReferencedStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.reaper(Config{}, 1)
		w.segment(walObject(1, 1))
		w.must(commit(1, 1, 0, 1, rng(w, at(0), src(walObject(1, 1), 0, 1))))
		run(t, 12*time.Hour, r)
		w.want(walObject(1, 1).Name())
		w.must(&metadata.DeleteTopic{ID: topic})
		run(t, time.Hour, r)
		w.want()
	})
}

// O4: an upload that is not committed yet stays, however old it is.
func TestUploadInFlightStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.reaper(Config{}, 1)
		w.must(commit(1, 1, 3, 0))
		w.segment(segObject(1, 3)) // settled: left by a plan that was given up
		w.segment(segObject(1, 4)) // may still be committed
		w.segment(segObject(9, 1)) // of an incarnation newer than the image
		w.segment(walObject(1, 1)) // durable, not flushed
		w.segment(walObject(9, 1))
		run(t, 1000*time.Hour, r)
		w.want(segObject(1, 4).Name(), segObject(9, 1).Name(), walObject(1, 1).Name(), walObject(9, 1).Name())
		rep := r.LastReport()
		if rep.Found != 4 || rep.Kept[Unsettled] != 4 || rep.Garbage != 0 {
			t.Errorf("report %+v", rep)
		}
	})
}

// Merely fenced is not enough; adopted is; the tombstone and what is referenced
// stay for ever.
func TestAdoptedWALGoesButItsTombstone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.must(&metadata.RegisterBroker{Incarnation: 2, Registration: metadata.Registration{ID: 1}})
		r := w.reaper(Config{SweepDelay: 1000 * time.Hour}, 2)
		for n := range karst.Number(3) {
			w.segment(walObject(1, n+1))
		}
		w.segment(walObject(1, 6)) // above the end: never acknowledged
		w.segment(segObject(1, 1))
		tomb, stray := walObject(1, 4).Name(), walObject(1, 5).Name()
		w.put(tomb, object.Tombstone, 0)
		w.put(stray, object.Tombstone, 0)
		before := w.names()
		w.must(&metadata.FenceIncarnation{Incarnation: 1})
		run(t, 999*time.Hour, r)
		w.want(before...)
		w.must(&metadata.CommitRequest{Incarnation: 1, Adopt: true, WALEnd: 4, Ranges: []metadata.Range{rng(w, at(0), src(walObject(1, 2), 0, 1))}})
		run(t, 2*time.Hour, r)
		w.want(tomb, stray, walObject(1, 2).Name(), segObject(1, 1).Name()) // the segment waits for a sweep
		w.must(&metadata.DeleteTopic{ID: topic})
		run(t, 2000*time.Hour, r)
		w.want(tomb, stray)
	})
}

// A header that says tombstone, or that cannot be read, keeps an object even if
// the image would let it go and its size does not give it away.
func TestTombstoneByItsHeaderStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.must(&metadata.RegisterBroker{Incarnation: 2, Registration: metadata.Registration{ID: 1}}, &metadata.FenceIncarnation{Incarnation: 1})
		r := w.reaper(Config{}, 2)
		w.put(walObject(1, 3).Name(), object.Tombstone, 7)
		if err := w.data.Put(t.Context(), walObject(1, 4).Name(), store.Bytes(make([]byte, 200))); err != nil {
			t.Fatal(err)
		}
		w.segment(walObject(1, 5))
		w.must(&metadata.CommitRequest{Incarnation: 1, Adopt: true, WALEnd: 1})
		run(t, 100*time.Hour, r)
		w.want(walObject(1, 3).Name(), walObject(1, 4).Name())
	})
}

// O5: the image is asked again right before the delete.
func TestImageIsAskedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.reaper(Config{}, 1)
		w.segment(segObject(1, 1))
		r.observe(w.img, &metadata.Delta{Unreferenced: []metadata.ObjectID{segObject(1, 1)}})
		w.must(commit(1, 1, 1, 0, rng(w, at(0), src(segObject(1, 1), 0, 1))))
		run(t, time.Hour, r)
		w.want(segObject(1, 1).Name())
	})
}

func TestMetadataObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t) // at term 5
		r := w.reaper(Config{}, 1)
		bad := metadata.Position{Term: 5, Number: 1}
		r.d.SnapshotReadable = func(_ context.Context, at metadata.Position) error {
			if at == bad {
				return errors.New("unreadable")
			}
			return nil
		}
		log := func(k, n int) string { return fmt.Sprintf("meta/log/%020d/%020d", k, n) }
		snap := func(k, n int) string { return fmt.Sprintf("meta/snapshot/%020d-%020d", k, n) }
		keep := []string{
			"cluster", "meta/term/00000000000000000001", "meta/term/00000000000000000005", "what/is/this",
			log(2, 9), log(3, 1), log(3, 2), log(4, 1), snap(3, 2), snap(4, 1), snap(5, 1), snap(6, 1),
		}
		for _, n := range keep {
			w.put(n, object.Commit, 10)
		}
		w.put(log(2, 9), object.Tombstone, 0)
		for _, n := range []string{log(1, 1), log(2, 8), snap(1, 1), snap(3, 1)} {
			w.put(n, object.Commit, 10)
		}
		run(t, time.Hour, r)
		w.want(keep...)
		r.d.SnapshotReadable = nil
	})
}

func TestOneReadableSnapshotKeepsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.reaper(Config{}, 1)
		r.d.SnapshotReadable = func(context.Context, metadata.Position) error { return nil }
		w.put("meta/log/00000000000000000001/00000000000000000001", object.Commit, 10)
		w.put("meta/snapshot/00000000000000000004-00000000000000000001", object.Snapshot, 10)
		all := w.names()
		run(t, time.Hour, r)
		w.want(all...)
	})
}

func TestIdleBrokerAsksForAlmostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.reaper(Config{}, 1)
		w.segment(walObject(1, 1))
		st := faults.New(w.data, 1)
		r.d.Data = st
		run(t, 24*time.Hour, r)
		var n int64
		for op := range store.OpCount {
			n += st.Requests(op, store.CallerReap)
		}
		if n == 0 || n > 24 {
			t.Errorf("%d requests in a day", n)
		}
	})
}

func TestStoreFailuresAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.reaper(Config{}, 1)
		r.d.Data = faults.New(w.data, 1, faults.Rule{Kind: faults.Before, Ops: []store.Op{store.OpDelete}, Times: 2})
		w.segment(walObject(1, 1))
		w.must(commit(1, 1, 0, 1))
		run(t, time.Hour, r)
		w.want()
		if s := r.Stats(); s.Failures != 2 {
			t.Errorf("stats %+v", s)
		}
	})
}

// O18: candidates are bounded; what does not fit is found by a sweep.
func TestTooManyCandidatesAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.reaper(Config{CandidatesMax: 10, SweepDelay: 1000 * time.Hour}, 1)
		for n := range karst.Number(35) {
			w.segment(walObject(1, n+1))
		}
		w.must(commit(1, 1, 0, 35))
		run(t, time.Hour, r)
		w.want()
	})
}

// O2: two brokers sweep an emptied cluster; only the tombstone is left.
func TestEmptiedClusterDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.must(&metadata.RegisterBroker{Incarnation: 2, Registration: metadata.Registration{ID: 1}}, &metadata.RegisterBroker{Incarnation: 3, Registration: metadata.Registration{ID: 2}})
		a, b := w.reaper(Config{}, 2), w.reaper(Config{}, 3)
		for n := range karst.Number(5) {
			w.segment(walObject(1, n+1))
			w.segment(segObject(1, n+1))
		}
		w.must(commit(1, 1, 1, 2, rng(w, at(0), src(segObject(1, 1), 0, 1)), rng(w, at(1), src(walObject(1, 2), 0, 1))))
		w.put(walObject(1, 6).Name(), object.Tombstone, 0)
		w.must(&metadata.FenceIncarnation{Incarnation: 1})
		w.must(&metadata.CommitRequest{Incarnation: 1, Adopt: true, WALEnd: 6, Ranges: []metadata.Range{rng(w, at(2), src(walObject(1, 3), 0, 1))}})
		w.must(&metadata.DeleteTopic{ID: topic})
		w.must(&metadata.ForgetIncarnation{Incarnation: 1})
		run(t, 24*time.Hour, a, b)
		w.want(walObject(1, 6).Name())
	})
}

// TestKilledProbeGoes: what a probe could not clean up goes an hour after a sweep
// found it, a running one is left alone, and so is whatever else lies there.
func TestKilledProbeGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		killed := faults.New(w.data, 1, faults.Rule{Kind: faults.Before, Ops: []store.Op{store.OpDelete}})
		if err := probe.Run(t.Context(), killed); err != nil {
			t.Fatal(err)
		}
		left := w.names()
		if len(left) != 4 {
			t.Fatalf("the probe left %q", left)
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(left[0], "probe/"), "/")
		foreign := []string{"probe/mine", "probe/" + id + "/mine", "probe/" + id + "/second/mine", "probe/0123/second", "probe/" + strings.Repeat("A", 16) + "/second", "probes/" + id + "/second"}
		for _, name := range foreign {
			w.put(name, object.Segment, 1)
		}
		r := w.reaper(Config{}, 1)
		run(t, 59*time.Minute, r)
		w.want(append(left, foreign...)...)
		run(t, 4*time.Minute, r)
		w.want(foreign...)
		if rep := r.LastReport(); rep.Garbage != 4 || rep.Kept[Foreign] != int64(len(foreign)) || r.Stats().Deleted != 4 {
			t.Errorf("report %+v, stats %+v", rep, r.Stats())
		}
	})
}
