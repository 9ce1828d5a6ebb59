package bench

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestDueByAgreesWithDue(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		step := 1 + r.Int64N(64)
		s := schedule{start: time.Unix(1000, 0), rate: 1 + r.Int64N(5e9), size: 1 + r.Int64N(8<<20), first: r.Int64N(step), step: step}
		n := r.Int64N(1_000_000)
		if s.due(n).Sub(s.start) > 24*time.Hour {
			continue
		}
		at := s.due(n).Add(time.Duration(r.Int64N(1e6)))
		k := s.dueBy(at)
		if k > 0 && s.due(k-1).After(at) || !s.due(k).After(at) {
			t.Fatalf("%+v: %d items are due by item %d's time + a bit, but item %d is due at %v, %d at %v of %v",
				s, k, n, k-1, s.due(k-1), k, s.due(k), at)
		}
	}
}

func TestScheduleDoesNotDrift(t *testing.T) {
	// 3 bytes at 7 bytes/s: no interval is a whole number of nanoseconds.
	s := schedule{start: time.Unix(0, 0), rate: 7, size: 3, step: 1}
	if got, want := s.due(7*1_000_000), time.Unix(3*1_000_000, 0); !got.Equal(want) {
		t.Errorf("after 7 million items it is %v, not %v", got, want)
	}
	day := schedule{start: time.Unix(0, 0), rate: 10_000_000_000, size: 1 << 20, step: 1}
	if n := day.dueBy(time.Unix(86400, 0)); n != 86400*10_000_000_000/(1<<20)+1 {
		t.Errorf("a day at 10 GB/s has %d items", n)
	}
}

func TestSendersInterleave(t *testing.T) {
	start := time.Unix(0, 0)
	whole := schedule{start: start, rate: 1000, size: 7, step: 1}
	var want, got []time.Time
	for n := range int64(30) {
		want = append(want, whole.due(n))
	}
	for k := range int64(3) {
		part := schedule{start: start, rate: 1000, size: 7, first: k, step: 3}
		for n := range int64(10) {
			got = append(got, part.due(n))
		}
	}
	slices.SortFunc(got, time.Time.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("three senders are due at %v, one would be at %v", got, want)
	}
}

// TestPacerDoesNotCoordinate stalls the sender: the items it missed stay due
// when they were due, up to the queue's bound.
func TestPacerDoesNotCoordinate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		p := &pacer{queue: 5, schedule: schedule{start: start, rate: 100, size: 1, step: 1}} // each 10 ms
		wait := func() time.Duration {
			due, ok := p.wait(t.Context())
			if !ok {
				t.Fatal("the wait ended")
			}
			return due.Sub(start)
		}
		for n := range 3 {
			if due := wait(); due != time.Duration(n)*10*time.Millisecond || time.Since(start) != due {
				t.Fatalf("item %d is due at %v, sent at %v", n, due, time.Since(start))
			}
		}
		time.Sleep(35 * time.Millisecond) // from 20 ms to 55: items 3, 4 and 5 wait
		for n := 3; n < 6; n++ {
			if due := wait(); due != time.Duration(n)*10*time.Millisecond || time.Since(start) != 55*time.Millisecond {
				t.Fatalf("item %d is due at %v, sent at %v", n, due, time.Since(start))
			}
		}
		time.Sleep(145 * time.Millisecond) // to 200: items 6 … 20 are due, 15 of them; five may wait
		if due := wait(); due != 160*time.Millisecond || p.dropped != 10 {
			t.Fatalf("after the stall the first item is of %v, %d dropped", due, p.dropped)
		}
	})
}

func TestPacerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p := &pacer{queue: 1, schedule: schedule{start: time.Now().Add(time.Hour), rate: 1, size: 1, step: 1}}
		if _, ok := p.wait(ctx); ok || p.next != 0 {
			t.Error("an item was sent although the context ended")
		}
	})
}

// TestUnsentItemsAreKnown stops a sender that was stuck: what it did not send
// has due times too, the oldest beyond the queue's bound being dropped.
func TestUnsentItemsAreKnown(t *testing.T) {
	start := time.Unix(0, 0)
	p := &pacer{queue: 3, next: 2, schedule: schedule{start: start, rate: 100, size: 1, step: 1}}
	var got []time.Duration
	p.unsent(start.Add(65*time.Millisecond), func(due time.Time) { got = append(got, due.Sub(start)) })
	ms := time.Millisecond
	if want := []time.Duration{40 * ms, 50 * ms, 60 * ms}; !slices.Equal(got, want) || p.dropped != 2 {
		t.Errorf("unsent %v, %d dropped; want %v and 2", got, p.dropped, want)
	}
}

// TestPacerSendsItsBacklog ends a sender's time while items wait: they are sent.
func TestPacerSendsItsBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Millisecond)
		defer cancel()
		start := time.Now()
		p := &pacer{queue: 10, grace: time.Second, schedule: schedule{start: start, rate: 100, size: 1, step: 1}}
		time.Sleep(35 * time.Millisecond)
		synctest.Wait()
		for n := range 4 { // due at 0, 10, 20 and 30 ms
			if due, ok := p.wait(ctx); !ok || due.Sub(start) != time.Duration(n)*10*time.Millisecond {
				t.Fatalf("item %d: %v, %t", n, due.Sub(start), ok)
			}
			time.Sleep(20 * time.Millisecond) // new ones become due, too late
		}
		if due, ok := p.wait(ctx); ok {
			t.Fatalf("an item due at %v was sent after the end", due.Sub(start))
		}
	})
}
