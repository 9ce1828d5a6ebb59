package failover

import (
	"testing"
	"testing/synctest"

	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/metadata"
)

// TestDeletedRecordsLeaveTheirProducers: an adoption brings no checkpoint. What
// DeleteRecords gave up before the crash is all that tells of its producers: a
// leader that did not know them would refuse what they send next as out of
// order, or append a retry twice. It stays until a checkpoint has them.
func TestDeletedRecordsLeaveTheirProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		b := c.broker(t, c.st)
		for range 3 {
			durable(t, b.produce(0, 0))
		}
		durable(t, b.AppendTrim(segment.Trim{Partition: part(0), Offset: 3}))
		b.stop()
		if err := New(c.deps(c.st), dead).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := c.checkAdopted(t, 0)
		if s.LogStart != 3 || s.End != 3 || len(s.Sources) != 3 {
			t.Fatalf("[%d, %d), %d sources", s.LogStart, s.End, len(s.Sources))
		}
		checkpoint := metadata.ObjectID{Kind: metadata.SegObject, Writer: heir, Number: 1}
		commit := func(request uint64, end int, state *metadata.StateRef) {
			t.Helper()
			err := c.commit(&metadata.CommitRequest{Incarnation: heir, Request: request, Ranges: []metadata.Range{{
				Partition: part(0), Epoch: 1, Start: s.End, End: s.End + 1, State: state,
				Sources: []metadata.Source{{Object: metadata.ObjectID{Kind: metadata.WALObject, Writer: heir, Number: 1}, Base: s.End, Last: s.End}},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Image().CheckInvariants(); err != nil {
				t.Error(err)
			}
			if s, _ = c.Image().Partition(part(0)); len(s.Sources) != end {
				t.Errorf("after request %d: %d sources, want %d", request, len(s.Sources), end)
			}
		}
		commit(1, 4, nil)
		commit(2, 2, &metadata.StateRef{Object: checkpoint, Full: true, Next: 5})
	})
}
