package failover

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst/internal/metadata"
)

// TestLargeAdoption dies after each part of an adoption that is too large for
// one commit; the next failover goes on. New leaders already write meanwhile.
func TestLargeAdoption(t *testing.T) {
	for done := range 12 {
		t.Run(fmt.Sprint(done), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 4)
				b := c.broker(t, c.st)
				for range 5 {
					durable(t, b.produce(0, 0), b.produce(1, 0), b.produce(2, 0))
					time.Sleep(time.Second)
				}
				b.stop()
				f := New(c.deps(c.st), dead)
				for f.State() != Committing {
					if err := f.Step(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				r, err := adoption(t.Context(), c.Image(), dead, f.sealed, c.st, f.deps.Place)
				if err != nil {
					t.Fatal(err)
				}
				parts := split(r, 3)
				if len(parts) < 5 {
					t.Fatalf("%d parts", len(parts))
				}
				for n, part := range parts {
					entries := 0
					for _, rg := range part.Ranges {
						entries += 1 + len(rg.Sources)
					}
					if entries > 3 || part.Adopt != (n == len(parts)-1) {
						t.Errorf("part %d has %d entries, adopts %v", n, entries, part.Adopt)
					}
					if n >= done {
						continue
					}
					if err := c.Commit(t.Context(), part); err != nil {
						t.Fatalf("part %d: %v", n, err)
					}
					if err := c.Image().CheckInvariants(); err != nil {
						t.Error(err)
					}
				}
				if in, _ := c.Image().Broker(dead); done < len(parts) && in.Phase != metadata.Fenced {
					t.Errorf("after %d parts of %d: phase %d", done, len(parts), in.Phase)
				}
				if err := New(c.deps(c.st), dead).Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				for p := range 4 {
					s := c.checkAdopted(t, p)
					want := b.acked[p]
					if s.End != want || s.Leader != heir || s.Epoch != 1 {
						t.Errorf("%s: to %d, want %d; led by %d at epoch %d", s.ID, s.End, want, s.Leader, s.Epoch)
					}
				}
				if in, _ := c.Image().Broker(dead); in.Phase != metadata.Adopted {
					t.Errorf("phase %d", in.Phase)
				}
			})
		})
	}
}

// TestPartOfAnAdoptionIsRangesOnly: before the last part the WAL is not given up.
func TestPartOfAnAdoptionIsRangesOnly(t *testing.T) {
	c := newCluster(t, 1)
	part := metadata.CommitRequest{Incarnation: dead, Ranges: []metadata.Range{{Partition: part(0), NewLeader: heir}}}
	if err := c.Commit(t.Context(), part); err == nil {
		t.Error("a part was taken of an incarnation that is live")
	}
	if err := c.Fence(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []metadata.CommitRequest{
		{Incarnation: dead, WALTrim: 1},
		{Incarnation: dead, WALEnd: 1},
		{Incarnation: dead, Settled: metadata.Settled{Counter: 1}},
		{Incarnation: dead, Request: 1},
	} {
		if err := c.Commit(t.Context(), bad); err == nil {
			t.Errorf("taken: %+v", bad)
		}
	}
	if err := c.Commit(t.Context(), part); err != nil {
		t.Error(err)
	}
}

// TestPartsFitACommit: two thousand partitions that were all in each of 512 WAL
// objects are more than one commit holds.
func TestPartsFitACommit(t *testing.T) {
	sources := make([]metadata.Source, 512)
	r := metadata.CommitRequest{Incarnation: dead, Adopt: true, Ranges: make([]metadata.Range, 2000)}
	for n := range r.Ranges {
		r.Ranges[n] = metadata.Range{Partition: part(n), Sources: sources}
	}
	if metadata.ApproxSize(&r) <= metadata.CommitMax/2 {
		t.Fatal("the test is too small")
	}
	for n, p := range split(r, entriesMax) {
		if size := metadata.ApproxSize(&p); size > metadata.CommitMax/8 {
			t.Errorf("part %d is of %d bytes", n, size)
		}
	}
}
