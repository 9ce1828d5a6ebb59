package failover

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/objlog"
)

const (
	dead karst.Incarnation = 1 // the one that fails
	heir karst.Incarnation = 2
)

var topic = karst.TopicID{9}

func part(n int) karst.TopicPartition {
	return karst.TopicPartition{Topic: topic, Partition: karst.Partition(n)}
}

// cluster is a controller that keeps its image in memory.
type cluster struct {
	st *mem.Store

	mu      sync.Mutex
	img     *metadata.Image
	lost    int // answers of commits that get lost from now on
	commits []metadata.CommitRequest
}

func newCluster(t *testing.T, partitions int) *cluster {
	t.Helper()
	c := &cluster{st: mem.New(""), img: metadata.NewImage(karst.ClusterID{5})}
	create := &metadata.CreateTopic{ID: topic, Name: "t"}
	for range partitions {
		create.Partitions = append(create.Partitions, metadata.NewPartition{Leader: dead})
	}
	err := c.commit(
		&metadata.RegisterBroker{Incarnation: dead, Registration: metadata.Registration{ID: 1}},
		&metadata.RegisterBroker{Incarnation: heir, Registration: metadata.Registration{ID: 2}},
		create)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) commit(records ...metadata.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := metadata.NewBatch(c.img)
	if err := b.Try(records...); err != nil {
		return err
	}
	at := c.img.Position()
	at.Term, at.Number = 1, at.Number+1
	c.img, _ = b.Finish(at, uint32(at.Number))
	if c.lost > 0 {
		c.lost--
		return errors.New("the answer was lost")
	}
	return nil
}

func (c *cluster) Fence(_ context.Context, inc karst.Incarnation) error {
	return c.commit(&metadata.FenceIncarnation{Incarnation: inc})
}

func (c *cluster) Commit(_ context.Context, r metadata.CommitRequest) error {
	err := c.commit(&r)
	if err == nil {
		c.mu.Lock()
		c.commits = append(c.commits, r)
		c.mu.Unlock()
	}
	return err
}

func (c *cluster) Image() *metadata.Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.img
}

func (c *cluster) deps(st objlog.Store) Deps {
	return Deps{
		Controller: c, Image: c.Image, Sealer: heir, Log: slog.New(slog.DiscardHandler),
		WAL:   func(*metadata.BrokerState) (objlog.Store, error) { return st, nil },
		Place: func(*metadata.Image, *metadata.PartitionState) karst.Incarnation { return heir },
	}
}

// broker is the incarnation that will fail: it writes and counts what was
// acknowledged.
type broker struct {
	*wal.WAL
	stop func()

	mu    sync.Mutex
	next  map[int]karst.Offset
	acked map[int]karst.Offset // next offset after the last acknowledged one
	wg    sync.WaitGroup
}

func (c *cluster) broker(t *testing.T, st objlog.Store) *broker {
	t.Helper()
	log := &objlog.Log{Store: st, Folder: metadata.WALFolder(dead), Cluster: c.Image().Cluster(), Writer: uint64(dead)}
	b := &broker{
		WAL: wal.New(log, chunk.NewPool(0), wal.Config{
			MinInterval: 25 * time.Millisecond, BatchBytes: 1 << 20, Inflight: 8, ChunkBytes: 1 << 16, StallTimeout: time.Minute,
		}),
		next: map[int]karst.Offset{}, acked: map[int]karst.Offset{},
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx, func(*wal.Segment) {})
	}()
	b.stop = sync.OnceFunc(func() { cancel(wal.ErrAbandon); <-done; b.wg.Wait() })
	t.Cleanup(b.stop)
	return b
}

// batch is a batch of one record that can be told from all others.
func batch(p int, base karst.Offset, epoch karst.Epoch) wal.Batch {
	b := bytes.Repeat([]byte{byte(base)}, record.HeaderSize+40)
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint64(b[8:], uint64(p))
	return wal.Batch{
		Partition: part(p), Bytes: b,
		Info: record.Info{
			Base: base, Count: 1, Size: int32(len(b)), Epoch: epoch, MaxTimestamp: karst.Timestamp(base),
			Producer: -1, ProducerEpoch: -1, BaseSequence: -1, Marker: record.NoMarker, CoordinatorEpoch: -1,
		},
	}
}

// produce appends one record to the partition.
func (b *broker) produce(p int, epoch karst.Epoch) *wal.Commit {
	b.mu.Lock()
	defer b.mu.Unlock()
	base := b.next[p]
	b.next[p]++
	c := b.Append(batch(p, base, epoch))
	b.wg.Go(func() {
		<-c.Done()
		if c.Err() == nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.acked[p] = max(b.acked[p], base+1)
		}
	})
	return c
}

func durable(t *testing.T, cs ...*wal.Commit) {
	t.Helper()
	for _, c := range cs {
		<-c.Done()
		if c.Err() != nil {
			t.Fatal(c.Err())
		}
	}
}

// checkAdopted reads every batch that the image says the partition has.
func (c *cluster) checkAdopted(t *testing.T, p int) *metadata.PartitionState {
	t.Helper()
	s, _ := c.Image().Partition(part(p))
	next := s.LogStart
	for i, src := range s.Sources {
		if i == 0 {
			next = src.Base
		}
		entries, err := segment.ReadIndex(t.Context(), c.st, src.Object.Name(), src.Index, src.IndexCheck)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Pos < src.Data.Pos || e.Pos >= src.Data.Pos+src.Data.Len {
				continue
			}
			got := make([]byte, e.Info.Size)
			if _, err := c.st.Get(t.Context(), src.Object.Name(), e.Pos, got); err != nil {
				t.Fatal(err)
			}
			if e.Info.Base != next || !bytes.Equal(got, batch(p, next, 0).Bytes) {
				t.Errorf("%s: batch at offset %d, want %d, or wrong bytes", part(p), e.Info.Base, next)
			}
			next = e.Info.Next()
		}
	}
	if len(s.Sources) > 0 && next != s.End {
		t.Errorf("%s: sources end at %d, the partition at %d", part(p), next, s.End)
	}
	return s
}

func TestAdoption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		b := c.broker(t, c.st)
		for range 3 {
			durable(t, b.produce(0, 0), b.produce(1, 0))
		}
		durable(t, b.AppendTrim(segment.Trim{Partition: part(1), Epoch: 0, Offset: 2}))
		b.stop()
		if err := New(c.deps(c.st), dead).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for p, want := range []struct{ start, end karst.Offset }{{0, 3}, {2, 3}, {0, 0}} {
			s := c.checkAdopted(t, p)
			if s.LogStart != want.start || s.End != want.end || s.Leader != heir || s.Epoch != 1 {
				t.Errorf("%s: [%d, %d) led by %d at epoch %d", s.ID, s.LogStart, s.End, s.Leader, s.Epoch)
			}
		}
		in, _ := c.Image().Broker(dead)
		if in.Phase != metadata.Adopted || in.WALEnd == 0 || len(in.Held) != 0 {
			t.Errorf("incarnation: %+v", in)
		}
		if err := New(c.deps(c.st), dead).Run(t.Context()); err != nil || len(c.commits) != 1 {
			t.Errorf("a second failover: %v, %d commits", err, len(c.commits))
		}
	})
}

// TestCrashAtEveryStep kills the one who does the failover after each step, and
// loses the answers of its commits; somebody else does it again.
func TestCrashAtEveryStep(t *testing.T) {
	for steps := range 4 {
		for lost := range 3 {
			t.Run(fmt.Sprint(steps, lost), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(t, 2)
					b := c.broker(t, c.st)
					durable(t, b.produce(0, 0), b.produce(0, 0))
					c.lost = lost
					first := New(c.deps(c.st), dead)
					for range steps {
						if err := first.Step(t.Context()); err != nil {
							break
						}
					}
					b.produce(0, 0)
					time.Sleep(time.Second)
					if err := New(c.deps(c.st), dead).Run(t.Context()); err != nil {
						t.Fatal(err)
					}
					b.stop()
					s := c.checkAdopted(t, 0)
					if s.Leader != heir || s.Epoch != 1 || s.End < b.acked[0] {
						t.Errorf("led by %d at epoch %d to %d, acknowledged to %d", s.Leader, s.Epoch, s.End, b.acked[0])
					}
					// The attempt that was thought dead goes on.
					for first.State() != Done {
						if err := first.Step(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					if again := c.checkAdopted(t, 0); again != s {
						t.Errorf("a late attempt changed the partition: %+v", again)
					}
				})
			})
		}
	}
}

// TestZombie: the incarnation is alive and goes on writing, over a store that
// fails, while two controllers fail it over at once.
func TestZombie(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { zombie(t, seed) })
		})
	}
}

func zombie(t *testing.T, seed uint64) {
	c := newCluster(t, 2)
	writes := []store.Op{store.OpCreate}
	rules := []faults.Rule{
		{Kind: faults.Slow, Delay: faults.LognormalOf(20*time.Millisecond, 200*time.Millisecond)},
		{Kind: faults.After, Chance: 0.1, Ops: writes},
		{Kind: faults.Late, Chance: 0.1, Ops: writes, Delay: faults.Uniform(time.Second)},
		{Kind: faults.Before, Chance: 0.1},
		{Kind: faults.Hung, Chance: 0.02},
	}
	st := faults.New(c.st, seed, rules...)
	b := c.broker(t, st)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for p := range 2 {
		wg.Go(func() {
			// A sealer may not catch up with a writer while its own requests hang.
			for begin := time.Now(); ctx.Err() == nil && time.Since(begin) < 3*time.Second; {
				b.produce(p, 0)
				time.Sleep(3 * time.Millisecond)
			}
		})
	}
	time.Sleep(time.Duration(seed) * 37 * time.Millisecond)
	for n := range uint64(2) {
		wg.Go(func() {
			other := faults.New(c.st, seed+1000*(n+1), rules...)
			if err := New(c.deps(other), dead).Run(t.Context()); err != nil {
				t.Error(err)
			}
			other.Wait()
			cancel()
		})
	}
	<-ctx.Done()
	ended := map[int]karst.Offset{}
	for p := range 2 {
		ended[p] = c.checkAdopted(t, p).End
	}
	time.Sleep(10 * time.Second)
	wg.Wait()
	b.stop()
	st.Wait()
	if len(c.commits) != 1 {
		t.Errorf("adopted %d times", len(c.commits))
	}
	for p := range 2 {
		s := c.checkAdopted(t, p)
		if b.acked[p] > s.End || s.End != ended[p] || s.Epoch != 1 {
			t.Errorf("%s: acknowledged to %d, adopted to %d, then %d; epoch %d", s.ID, b.acked[p], ended[p], s.End, s.Epoch)
		}
	}
}

// TestOnlyTheCurrentEpoch: what an older epoch left in the WAL is not taken, and
// a slice that is flushed in part is cut.
func TestOnlyTheCurrentEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		b := c.broker(t, c.st)
		durable(t, b.produce(0, 0), b.produce(0, 0), b.produce(0, 0), b.produce(0, 0)) // offset 3 is not flushed below
		err := c.Commit(t.Context(), metadata.CommitRequest{Incarnation: dead, Request: 1, Ranges: []metadata.Range{{
			Partition: part(0), Start: 0, End: 3, LogStart: 3, NewLeader: dead,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		b.next[0] = 3
		durable(t, b.AppendTrim(segment.Trim{Partition: part(0), Epoch: 0, Offset: 4}))
		durable(t, b.produce(0, 1), b.produce(0, 1), b.produce(0, 1))
		err = c.Commit(t.Context(), metadata.CommitRequest{Incarnation: dead, Request: 2, Ranges: []metadata.Range{{
			Partition: part(0), Epoch: 1, Start: 3, End: 4, LogStart: 4,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		b.stop()
		if err := New(c.deps(c.st), dead).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := c.checkAdopted(t, 0)
		if s.End != 6 || s.LogStart != 4 || len(s.Sources) != 1 || s.Sources[0].Base != 4 || s.Sources[0].Object.Number < 2 {
			t.Errorf("log [%d, %d), sources %+v", s.LogStart, s.End, s.Sources)
		}
		if s.Sources[0].MaxTimestamp != 5 {
			t.Errorf("the cut source's newest record is at %d", s.Sources[0].MaxTimestamp)
		}
	})
}

// TestOldEpochAtTheEnd: unacknowledged records of an old epoch lie exactly where
// the partition goes on.
func TestOldEpochAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		b := c.broker(t, c.st)
		durable(t, b.produce(0, 0))
		err := c.Commit(t.Context(), metadata.CommitRequest{Incarnation: dead, Request: 1, Ranges: []metadata.Range{{
			Partition: part(0), NewLeader: dead,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		b.stop()
		if err := New(c.deps(c.st), dead).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := c.checkAdopted(t, 0); s.End != 0 {
			t.Errorf("I13: records of epoch 0 were adopted in epoch 1, up to %d", s.End)
		}
	})
}

func TestDamageStopsWhatMayBeInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		b := c.broker(t, c.st)
		durable(t, b.produce(0, 0), b.produce(1, 0), b.produce(2, 0))
		durable(t, b.produce(1, 0)) // object 2, to be damaged
		durable(t, b.produce(1, 0), b.produce(2, 0))
		b.stop()
		id := metadata.ObjectID{Kind: metadata.WALObject, Writer: dead, Number: 2}
		info, err := c.st.Head(t.Context(), id.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.st.Put(t.Context(), id.Name(), store.Bytes(make([]byte, info.Size))); err != nil {
			t.Fatal(err)
		}
		if err := New(c.deps(c.st), dead).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		// 0: its next records may be in the damaged object. 1: one is, its later
		// object is held. 2: goes on without a gap after it. 3: never any, who knows.
		for p, want := range []struct {
			end     karst.Offset
			stopped bool
		}{{1, true}, {1, true}, {2, false}, {0, true}} {
			s := c.checkAdopted(t, p)
			if s.End != want.end || (s.Stopped == dead) != want.stopped || (s.Leader == heir) == want.stopped {
				t.Errorf("%s: end %d, stopped by %d, led by %d", s.ID, s.End, s.Stopped, s.Leader)
			}
		}
		in, _ := c.Image().Broker(dead)
		if len(in.Held) != 2 || in.Held[0].Number != 2 || in.Held[1].Number != 3 {
			t.Errorf("held: %v", in.Held)
		}
	})
}

// TestDamageBelowTheTrimIsNotLookedAt: what is flushed is never read again.
func TestDamageBelowTheTrimIsNotLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		b := c.broker(t, c.st)
		durable(t, b.produce(0, 0))
		durable(t, b.produce(0, 0))
		err := c.Commit(t.Context(), metadata.CommitRequest{
			Incarnation: dead, Request: 1, WALTrim: 1,
			Ranges: []metadata.Range{{Partition: part(0), Start: 0, End: 1, LogStart: 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		b.stop()
		gone := metadata.ObjectID{Kind: metadata.WALObject, Writer: dead, Number: 1}
		if err := c.st.Delete(t.Context(), []string{gone.Name()}); err != nil {
			t.Fatal(err)
		}
		if err := New(c.deps(c.st), dead).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := c.checkAdopted(t, 0); s.End != 2 || s.Leader != heir {
			t.Errorf("end %d, led by %d", s.End, s.Leader)
		}
	})
}

// TestHeirDies: the leader that was chosen is fenced before the commit.
func TestHeirDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		d := c.deps(c.st)
		d.Place = func(img *metadata.Image, _ *metadata.PartitionState) karst.Incarnation {
			if b, _ := img.Broker(heir); b.Phase == metadata.Live {
				if err := c.Fence(t.Context(), heir); err != nil { // right after it was chosen
					t.Error(err)
				}
				return heir
			}
			return 0
		}
		if err := New(d, dead).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := c.checkAdopted(t, 0); s.Leader != dead || s.Epoch != 0 {
			t.Errorf("led by %d at epoch %d, nobody was there to lead", s.Leader, s.Epoch)
		}
	})
}

// TestSeveralAtOnce fails over a fenced and a live incarnation beside each other, as
// the controller does.
func TestSeveralAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		b := c.broker(t, c.st)
		durable(t, b.produce(0, 0))
		b.stop()
		if err := c.commit(&metadata.FenceIncarnation{Incarnation: heir}, &metadata.RegisterBroker{Incarnation: 3, Registration: metadata.Registration{ID: 2}}); err != nil {
			t.Fatal(err)
		}
		d := c.deps(c.st)
		d.Place = func(*metadata.Image, *metadata.PartitionState) karst.Incarnation { return 3 }
		d.Sealer = 3
		var wg sync.WaitGroup
		for _, inc := range []karst.Incarnation{dead, heir} {
			wg.Go(func() {
				if err := New(d, inc).Run(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for in := range c.Image().Brokers() {
			if (in.Incarnation == 3) != (in.Phase == metadata.Live) || in.Phase == metadata.Fenced {
				t.Errorf("incarnation %d is in phase %d", in.Incarnation, in.Phase)
			}
		}
		if s := c.checkAdopted(t, 0); s.End != 1 || s.Leader != 3 {
			t.Errorf("end %d, led by %d", s.End, s.Leader)
		}
	})
}
