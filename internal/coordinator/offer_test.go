package coordinator

import (
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// From an offer on callers look elsewhere. What was decided before is in the log
// when Offer returns, and answered once it is durable.
func TestOffer(t *testing.T) {
	bubble(t, Config{}, 2, true, func(t *testing.T, w *world) {
		before := w.do(0, false, add("a", 1))
		w.Offer([]karst.TopicPartition{part(0), {Topic: karst.TopicID{9}, Partition: 1}, part(7)})
		if n := w.log.count(); n != 1 {
			t.Errorf("%d batches are in the log", n)
		}
		if got := w.refused(0, get("a")); got != karst.NotCoordinator {
			t.Errorf("during the offer: %v", got)
		}
		w.expect("another partition", w.do(1, false, get("a")), 0)
		w.log.settle(-1, nil)
		w.expect("decided before", before, 1)
	})
}

// Nothing is decided during an offer, not by time passing either.
func TestOfferStopsTime(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		w.expect("a deadline is set", w.do(0, false, func(m *toy, now time.Time, tk Ticket) []Effect {
			m.at = now.Add(time.Second)
			return []Effect{{Key: "x", Answers: []Answer{{tk, 0}}}}
		}), 0)
		w.Offer([]karst.TopicPartition{part(0)})
		time.Sleep(10 * time.Second)
		if n := w.log.count(); n != 0 {
			t.Errorf("%d batches were written", n)
		}
	})
}

// An offer that comes to nothing: the state is read anew, and callers are welcome.
func TestWithdraw(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		before := w.do(0, false, add("a", 1))
		w.Offer([]karst.TopicPartition{part(0)})
		w.log.settle(-1, nil)
		w.expect("decided before", before, 1)
		reads := len(w.log.readOf())
		w.Withdraw([]karst.TopicPartition{part(0), part(7)})
		time.Sleep(time.Minute)
		if len(w.log.readOf()) == reads {
			t.Error("the state was not read anew")
		}
		w.expect("afterwards", w.do(0, false, get("a")), 1)
		after := w.do(0, false, add("a", 1))
		w.store()
		w.expect("afterwards", after, 2)
	})
}

// What waits for the log when the offer is withdrawn is told to look elsewhere: it
// may have happened, and a caller that comes again sees whether it did.
func TestWithdrawInFlight(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		waits := w.do(0, false, add("a", 1))
		w.Offer([]karst.TopicPartition{part(0)})
		w.Withdraw([]karst.TopicPartition{part(0)})
		w.expect("in flight", waits, karst.NotCoordinator)
		w.log.settle(-1, nil)
		time.Sleep(time.Minute)
		w.expect("afterwards", w.do(0, false, get("a")), 1)
	})
}

// The hand-over happened: the shard is gone, and a late Withdraw does not bring it
// back.
func TestOfferTaken(t *testing.T) {
	bubble(t, Config{}, 1, true, func(t *testing.T, w *world) {
		w.Offer([]karst.TopicPartition{part(0)})
		w.change(&metadata.RegisterBroker{Incarnation: 2, Registration: metadata.Registration{ID: 2}})
		w.change(&metadata.CommitRequest{Incarnation: 1, Request: 1, Ranges: []metadata.Range{{Partition: part(0), NewLeader: 2}}})
		w.Withdraw([]karst.TopicPartition{part(0)})
		time.Sleep(time.Minute)
		if got := w.refused(0, get("a")); got != karst.NotCoordinator {
			t.Errorf("after the hand-over: %v", got)
		}
	})
}
