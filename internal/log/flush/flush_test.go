package flush

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
)

var small = Config{AdoptBytes: 1000, SegmentBytes: 1500}

func bubble(t *testing.T, c Config, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, c)) })
}

func TestLargeIsAdoptedAndSmallIsMerged(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		a, b := at(topicA, 0), at(topicB, 1)
		w.add(nil, sized{a, 1000}, sized{b, 100})
		w.add(nil, sized{a, 200}, sized{b, 100})
		w.add(nil, sized{a, 1100}, sized{b, 100}) // between small ones: rewritten
		w.add(nil, sized{a, 300})
		w.add(nil, sized{a, 2000})
		stop := w.run()
		w.flush()
		p := w.check(a, 1000, 200, 1100, 300, 2000)
		w.check(b, 100, 100, 100)
		var kinds []metadata.ObjectKind
		for _, s := range p.Sources {
			kinds = append(kinds, s.Object.Kind)
		}
		// The rewritten run is above SegmentBytes, so it lies in two segments.
		want := []metadata.ObjectKind{metadata.WALObject, metadata.SegObject, metadata.SegObject, metadata.WALObject}
		if !slices.Equal(kinds, want) {
			t.Errorf("sources are %v, want %v", kinds, want)
		}
		br, _ := w.image().Broker(1)
		if br.Trim != 5 || len(p.States) != 1 || !p.States[0].Full || p.States[0].Next != p.End {
			t.Errorf("trim %d, states %+v", br.Trim, p.States)
		}
		if w.holds != 0 {
			t.Errorf("%d holds left after the flush", w.holds)
		}
		s := w.f.Stats()
		if s.BytesAdopted != 3000 || s.BytesRewritten != 1900 || s.Commits != 1 || s.Objects != 2 {
			t.Errorf("stats %+v", s)
		}
		if bytes, n := w.f.Unflushed(); bytes != 0 || n != 0 {
			t.Errorf("unflushed %d bytes, %d segments", bytes, n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := w.chunk.InUse(); n != 0 {
			t.Errorf("%d bytes of chunks left", n)
		}
	})
}

func TestWhatStartsAFlush(t *testing.T) {
	for name, c := range map[string]Config{
		"bytes": {Bytes: 1000}, "count": {Segments: 3}, "age": {Age: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, c, func(t *testing.T, w *world) {
				stop := w.run()
				for range 3 {
					w.add(nil, sized{at(topicA, 0), 200})
				}
				time.Sleep(999 * time.Millisecond)
				synctest.Wait()
				if _, n := w.f.Unflushed(); (n == 0) == (name == "age") {
					t.Errorf("%d unflushed before a second is over", n)
				}
				time.Sleep(time.Millisecond)
				synctest.Wait()
				if _, n := w.f.Unflushed(); n != 0 {
					t.Errorf("%d unflushed", n)
				}
				_ = stop()
			})
		})
	}
}

func TestUnknownOutcomeIsOfferedAgainUnderItsNumber(t *testing.T) {
	for name, applies := range map[string]bool{"lost": false, "applied": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, small, func(t *testing.T, w *world) {
				tries := 0
				w.answer = func(_ metadata.CommitRequest, commit func() error) error {
					if tries++; tries > 1 {
						return commit()
					}
					if applies {
						_ = commit()
					}
					return errLost
				}
				w.add(nil, sized{at(topicA, 0), 100})
				stop := w.run()
				w.flush()
				w.check(at(topicA, 0), 100)
				for _, r := range w.offered {
					if r.Request != 1 {
						t.Errorf("offered as %d", r.Request)
					}
				}
				if applies != (len(w.offered) == 1) {
					t.Errorf("offered %d times", len(w.offered))
				}
				_ = stop()
			})
		})
	}
}

// A late first attempt, after a refusal of the second, is excluded by the third
// or was in time; either way nothing is twice in the manifest and the counters
// of the refused plan are settled.
func TestRefusedIsPlannedAgain(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		var late func() error
		tries := 0
		w.answer = func(r metadata.CommitRequest, commit func() error) error {
			switch tries++; tries {
			case 1:
				late = commit
				return errLost
			case 2:
				return karst.InvalidRequest.Errorf("refused")
			default:
				if r.Request != 2 || r.Settled.Request != 1 || r.Settled.Counter != 2 {
					t.Errorf("request %d settles %+v", r.Request, r.Settled)
				}
				return commit()
			}
		}
		w.add(nil, sized{at(topicA, 0), 100})
		stop := w.run()
		w.flush()
		if err := late(); err == nil {
			t.Error("a settled request was applied")
		}
		w.check(at(topicA, 0), 100)
		if got := w.asked[at(topicA, 0)]; !slices.Equal(got, []bool{true, true}) {
			t.Errorf("checkpoints asked for in full: %v", got)
		}
		o := metadata.ObjectID{Kind: metadata.SegObject, Writer: 1, Number: 1}
		if !w.image().Deletable(o) {
			t.Error("the leftover of the refused plan is not garbage")
		}
		_ = stop()
	})
}

func TestLostDeltaMakesTheNextCheckpointFull(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		stop := w.run()
		a := at(topicA, 0)
		w.add(nil, sized{a, 100})
		w.flush()
		tries := 0
		w.answer = func(_ metadata.CommitRequest, commit func() error) error {
			if tries++; tries == 1 {
				return karst.InvalidRequest.Errorf("refused")
			}
			return commit()
		}
		w.add(nil, sized{a, 100})
		w.flush()
		if got := w.asked[a]; !slices.Equal(got, []bool{true, false, true}) {
			t.Errorf("asked for in full: %v", got)
		}
		for range deltasMax + 1 {
			w.add(nil, sized{a, 100})
			w.flush()
		}
		if got := w.asked[a]; !got[len(got)-1] || got[len(got)-2] {
			t.Errorf("asked for in full: %v", got)
		}
		_ = stop()
	})
}

func TestAdoptedOnlyHasACheckpointEverySixteenSources(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		stop := w.run()
		for range 2 * sourcesMax {
			w.add(nil, sized{at(topicA, 0), 1000})
			w.flush()
		}
		if n := len(w.asked[at(topicA, 0)]); n != 2 {
			t.Errorf("%d checkpoints in %d flushes", n, 2*sourcesMax)
		}
		_ = stop()
	})
}

func TestTrimsFold(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		a, b := at(topicA, 0), at(topicA, 1)
		stop := w.run()
		w.add(nil, sized{a, 100}, sized{b, 100})
		w.flush()
		w.add([]segment.Trim{
			{Partition: a, Offset: 2},
			{Partition: a, Offset: 1},
			{Partition: b, Offset: 2, Epoch: -1}, // an older epoch's
		})
		w.flush()
		if p, _ := w.image().Partition(a); p.LogStart != 2 {
			t.Errorf("log start %d, want 2", p.LogStart)
		}
		if p, _ := w.image().Partition(b); p.LogStart != 0 {
			t.Errorf("the trim of an older epoch moved the log start to %d", p.LogStart)
		}
		if br, _ := w.image().Broker(1); br.Trim != 2 {
			t.Errorf("trim %d", br.Trim)
		}
		_ = stop()
	})
}

func TestLogStartAboveTheCheckpointBringsOne(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		a := at(topicA, 0)
		stop := w.run()
		w.add(nil, sized{a, 1000})
		w.flush() // adopted, no checkpoint
		w.f.SetLogStart(a, 2)
		w.f.SetLogStart(a, 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		p, _ := w.image().Partition(a)
		if p.LogStart != 2 || len(p.Sources) != 0 || len(p.States) != 1 || p.States[0].Next != 2 {
			t.Errorf("log start %d, sources %v, states %+v", p.LogStart, p.Sources, p.States)
		}
		_ = stop()
	})
}

// What lies between the newest checkpoint and a log start that passes it may be
// known from the sources that go, and to nobody in memory: a delta would not
// have it.
func TestLogStartAboveTheCheckpointBringsAFullOne(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		a := at(topicA, 0)
		stop := w.run()
		w.add(nil, sized{a, 100})
		w.flush() // with a checkpoint
		w.add(nil, sized{a, 1000})
		w.flush() // adopted, none
		w.f.SetLogStart(a, 4)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.asked[a]; !slices.Equal(got, []bool{true, true}) {
			t.Errorf("asked for in full: %v", got)
		}
		if p, _ := w.image().Partition(a); p.LogStart != 4 || len(p.States) != 1 || p.States[0].Next != 4 {
			t.Errorf("log start %d, states %+v", p.LogStart, p.States)
		}
		_ = stop()
	})
}

// Producers that cannot be read hold nothing back: neither the data of others,
// nor the trim, nor a DeleteRecords entry, which only the WAL has. What they are
// rebuilt from stays until they can be.
func TestUnreadableProducersHoldNothingBack(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		a, b := at(topicA, 0), at(topicB, 0)
		stop := w.run()
		w.add(nil, sized{a, 1000})
		w.add(nil, sized{a, 1000})
		w.flush() // adopted, no checkpoint
		w.unreadable = map[karst.TopicPartition]bool{a: true}
		w.add([]segment.Trim{{Partition: a, Offset: 3}}, sized{b, 100})
		w.flush()
		w.check(b, 100)
		if p := w.check(a, 1000, 1000); p.LogStart != 3 || len(p.States) != 0 {
			t.Errorf("log start %d, states %+v", p.LogStart, p.States)
		}
		if br, _ := w.image().Broker(1); br.Trim != 3 {
			t.Errorf("trim %d", br.Trim)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		w.check(a, 1000, 1000) // asked again, in vain
		w.mu.Lock()
		w.unreadable = nil
		w.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if p := w.check(a, 1000); p.LogStart != 3 || len(p.States) != 1 || p.States[0].Next != 4 {
			t.Errorf("once they can be read: log start %d, states %+v", p.LogStart, p.States)
		}
		_ = stop()
	})
}

// Reads that hang keep a flush waiting once, not once for each partition, and end
// with the flusher.
func TestManyUnreadableProducers(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		const n = 100
		wide := make([]metadata.NewPartition, n)
		for i := range wide {
			wide[i].Leader = 1
		}
		id := karst.TopicID{5}
		w.must(&metadata.CreateTopic{ID: id, Name: "wide", Partitions: wide})
		stop := w.run()
		var all []sized
		for i := range n {
			all = append(all, sized{at(id, karst.Partition(i)), 1000})
		}
		w.add(nil, all...)
		w.flush()
		w.mu.Lock()
		w.unreadable = map[karst.TopicPartition]bool{}
		for _, x := range all {
			w.unreadable[x.tp] = true
			w.f.SetLogStart(x.tp, 2)
		}
		w.mu.Unlock()
		w.add(nil, sized{at(topicB, 0), 100})
		began := time.Now()
		w.flush()
		if d := time.Since(began); d > 2*checkpointWait {
			t.Errorf("the flush of another topic took %v", d)
		}
		time.Sleep(small.withDefaults().Age + time.Second) // they are asked for again
		synctest.Wait()
		began = time.Now()
		_ = stop()
		if d := time.Since(began); d > time.Second {
			t.Errorf("Run returned %v after its context ended", d)
		}
	})
}

func TestDeletedTopicIsLeftOutAndTrimmed(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		w.add(nil, sized{at(topicA, 0), 100}, sized{at(topicB, 0), 100})
		w.must(&metadata.DeleteTopic{ID: topicA})
		stop := w.run()
		w.flush()
		w.check(at(topicB, 0), 100)
		if br, _ := w.image().Broker(1); br.Trim != 1 {
			t.Errorf("trim %d", br.Trim)
		}
		_ = stop()
	})
}

// I8: what would give up acknowledged records stops the flusher, with the trim
// and the manifest as they were.
func TestWhatWouldLoseRecordsStops(t *testing.T) {
	a := at(topicA, 0)
	for want, prepare := range map[string]func(w *world){
		"are missing": func(w *world) {
			w.next[a] = 4
			w.add(nil, sized{a, 100})
		},
		"were deleted": func(w *world) {
			w.add([]segment.Trim{{Partition: a, Offset: 3}}, sized{a, 100})
		},
		"was given up": func(w *world) {
			w.add(nil, sized{a, 100})
			w.must(&metadata.CommitRequest{Incarnation: 1, Request: 1, Ranges: []metadata.Range{{Partition: a, NewLeader: 2}}})
		},
		"which ended": func(w *world) {
			w.add(nil, sized{a, 100})
			w.must(&metadata.CommitRequest{Incarnation: 1, Request: 1, Ranges: []metadata.Range{{Partition: a, NewLeader: 2}}})
			w.must(&metadata.CommitRequest{Incarnation: 2, Request: 1, Ranges: []metadata.Range{{Partition: a, Epoch: 1, NewLeader: 1}}})
		},
		"leader epoch": func(w *world) {
			w.epoch = 1
			w.add(nil, sized{a, 100})
		},
	} {
		t.Run(want, func(t *testing.T) {
			bubble(t, small, func(t *testing.T, w *world) {
				prepare(w)
				done := make(chan error, 1)
				go func() { done <- w.f.Run(context.Background()) }()
				if err := w.f.Flush(t.Context()); !errors.Is(err, ErrStopped) {
					t.Errorf("Flush: %v", err)
				}
				if err := <-done; err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Run: %v", err)
				}
				if br, _ := w.image().Broker(1); br.Trim != 0 || len(w.offered) != 0 || w.holds != 0 {
					t.Errorf("trim %d, %d offers, %d holds", br.Trim, len(w.offered), w.holds)
				}
			})
		})
	}
}

func TestFencedEnds(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		done := make(chan error, 1)
		go func() { done <- w.f.Run(context.Background()) }()
		synctest.Wait()
		w.must(&metadata.FenceIncarnation{Incarnation: 1})
		if err := <-done; !errors.Is(err, ErrOver) {
			t.Errorf("Run: %v", err)
		}
		w.add(nil, sized{at(topicA, 0), 100}) // the WAL may still hand over what it had
		if w.holds != 0 {
			t.Errorf("%d holds", w.holds)
		}
	})
}

func TestHandOver(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		a, b := at(topicA, 0), at(topicA, 1)
		w.add(nil, sized{a, 100})
		stop := w.run()
		if err := w.f.HandOver(t.Context(), map[karst.TopicPartition]karst.Incarnation{a: 2, b: 2}); err != nil {
			t.Fatal(err)
		}
		for _, tp := range []karst.TopicPartition{a, b} {
			if p, _ := w.image().Partition(tp); p.Leader != 2 || p.Epoch != 1 {
				t.Errorf("%v: leader %d epoch %d", tp, p.Leader, p.Epoch)
			}
		}
		// To one that is dead: refused, but the data is flushed.
		w.must(&metadata.FenceIncarnation{Incarnation: 2})
		w.add(nil, sized{at(topicB, 0), 100})
		err := w.f.HandOver(t.Context(), map[karst.TopicPartition]karst.Incarnation{at(topicB, 0): 2})
		if !errors.Is(err, karst.InvalidRequest.Err()) {
			t.Errorf("hand-over to a fenced incarnation: %v", err)
		}
		w.check(at(topicB, 0), 100)
		_ = stop()
	})
}

func TestStoreFailuresAreRetried(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		w.put = faults.New(w.data, 1, faults.Rule{Kind: faults.Before, Ops: []store.Op{store.OpPut}, Times: 20})
		w.add(nil, sized{at(topicA, 0), 100})
		stop := w.run()
		w.flush()
		w.check(at(topicA, 0), 100)
		if s := w.f.Stats(); s.UploadRetries != 20 {
			t.Errorf("%d retries", s.UploadRetries)
		}
		_ = stop()
	})
}

// O26, O27: a large flush is split; the trim comes with the last request, and no
// request settles a counter that a later one names.
func TestLargeCommitIsSplit(t *testing.T) {
	bubble(t, Config{AdoptBytes: 1, SegmentBytes: 1 << 20}, func(t *testing.T, w *world) {
		np := make([]metadata.NewPartition, entriesMax/2+1)
		for i := range np {
			np[i].Leader = 1
		}
		id := karst.TopicID{7}
		w.must(&metadata.CreateTopic{ID: id, Name: "wide", Partitions: np})
		var all []sized
		for i := range np {
			all = append(all, sized{at(id, karst.Partition(i)), 100})
		}
		w.f.c.AdoptBytes = 1000
		w.f.c.SegmentBytes = 200_000
		w.add(nil, all...)
		stop := w.run()
		w.flush()
		if len(w.offered) != 2 || w.offered[0].WALTrim != 0 || w.offered[1].WALTrim != 1 {
			t.Fatalf("%d requests", len(w.offered))
		}
		w.check(at(id, entriesMax/2), 100)
		_ = stop()
	})
}

// discard is a store that costs nothing.
type discard struct{}

func (discard) Put(context.Context, string, store.Body) error { return nil }

// BenchmarkFlush rewrites 24 MiB of 16 KiB batches of 6 partitions.
func BenchmarkFlush(b *testing.B) {
	w := newWorld(b, Config{})
	w.put = discard{}
	w.f.d.Data = discard{}
	var all []sized
	for p := range karst.Partition(3) {
		for range 84 {
			all = append(all, sized{at(topicA, p), 16 << 10}, sized{at(topicB, p), 16 << 10})
		}
	}
	w.f.c.AdoptBytes = 1 << 40
	for range 3 {
		w.add(nil, all...)
	}
	batch := w.f.take()
	b.SetBytes(batch.bytes)
	b.ReportAllocs()
	for b.Loop() {
		parts, err := w.f.plan(w.image(), batch)
		if err != nil {
			b.Fatal(err)
		}
		if err := w.f.write(b.Context(), w.f.pack(parts)); err != nil {
			b.Fatal(err)
		}
	}
}
