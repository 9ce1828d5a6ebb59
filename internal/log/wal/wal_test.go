package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/object"
	"github.com/karst-io/karst/internal/store/objlog"
)

// quick is the configuration that tests start from.
var quick = Config{
	MinInterval: 25 * time.Millisecond, BatchBytes: 1 << 20, Linger: 2 * time.Millisecond,
	LingerMax: 10 * time.Millisecond, Inflight: 16, StallTimeout: 30 * time.Second, ChunkBytes: 64 << 10,
}

func logOn(st objlog.Store) *objlog.Log {
	return &objlog.Log{Store: st, Folder: "wal/7", Writer: 7}
}

func partition(n int) karst.TopicPartition {
	return karst.TopicPartition{Topic: karst.TopicID{1}, Partition: karst.Partition(n)}
}

// batch is a batch of one record, whose bytes can be told from all others.
func batch(n int, base karst.Offset, size int) Batch {
	size = max(size, record.HeaderSize)
	b := bytes.Repeat([]byte{byte(base)}, size)
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint64(b[8:], uint64(n))
	return Batch{
		Partition: partition(n), Bytes: b,
		Info: record.Info{Base: base, Count: 1, Size: int32(size), Epoch: 3, Producer: -1, BaseSequence: -1, Marker: record.NoMarker, CoordinatorEpoch: -1},
	}
}

// running is a WAL at work, and what it handed on.
type running struct {
	*WAL
	pool *chunk.Pool
	stop context.CancelCauseFunc
	done chan struct{}
	err  error

	mu      sync.Mutex
	durable []*Segment
}

func run(t *testing.T, log Log, c Config) *running {
	t.Helper()
	pool := chunk.New(chunk.Config{IdleBytes: 1 << 20, Poison: true})
	r := &running{WAL: New(log, pool, c), pool: pool, done: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(context.Background())
	r.stop = cancel
	go func() {
		defer close(r.done)
		r.err = r.Run(ctx, func(s *Segment) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.durable = append(r.durable, s)
		})
	}()
	t.Cleanup(func() { cancel(ErrAbandon); <-r.done })
	return r
}

// end stops the WAL, lets go of the segments, and checks that no memory is held.
func (r *running) end(t *testing.T) error {
	t.Helper()
	r.stop(nil)
	<-r.done
	for _, s := range r.durable {
		for i := range s.Slices {
			s.Slices[i].check(t)
			s.Slices[i].Hold.Release()
		}
	}
	if n := r.pool.InUse(); n != 0 {
		t.Errorf("%d bytes of chunks are still held", n)
	}
	if n := r.Pending(); n != 0 {
		t.Errorf("%d bytes are still pending", n)
	}
	return r.err
}

// check looks for poison and for bytes that are not the batch's.
func (s *Slice) check(t *testing.T) {
	t.Helper()
	next := s.Base
	for i, e := range s.Entries {
		b := s.Bytes[i]
		want := batch(int(s.Partition.Partition), e.Info.Base, len(b))
		if e.Info.Base != next || !bytes.Equal(b, want.Bytes) {
			t.Errorf("%s: batch at offset %d, want %d, or wrong bytes", s.Partition, e.Info.Base, next)
		}
		next++
	}
}

// outcome waits for a commit.
func outcome(t *testing.T, c *Commit) error {
	t.Helper()
	<-c.Done()
	return c.Err()
}

func TestGroupsAreAcknowledgedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := mem.New("")
		r := run(t, logOn(st), quick)
		start := time.Now()
		a := r.Append(batch(1, 0, 100))
		time.Sleep(time.Millisecond / 2)
		b := r.Append(batch(0, 0, 100))
		c := r.AppendTrim(segment.Trim{Partition: partition(2), Epoch: 3, Offset: 9})
		if a != b || b != c {
			t.Error("one burst was spread over several commits")
		}
		if err := outcome(t, a); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > 3*time.Millisecond {
			t.Errorf("a lone burst took %v on a store that takes no time", d)
		}
		if r.Confirmed() != 1 || r.Started() != 1 {
			t.Errorf("confirmed %d, started %d", r.Confirmed(), r.Started())
		}
		d := r.AppendTrim(segment.Trim{Partition: partition(2), Epoch: 3, Offset: 10}) // a segment of trims alone
		if d == a {
			t.Error("an append joined a segment that is durable")
		}
		if err := outcome(t, d); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d < 25*time.Millisecond {
			t.Errorf("second upload %v after the first, MinInterval is 25 ms", d)
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
		if n := len(r.durable); n != 2 || len(r.durable[0].Slices) != 2 || len(r.durable[1].Trims) != 1 {
			t.Errorf("%d segments, want 2: two slices, then a trim", n)
		}
		if err := outcome(t, r.Append(batch(0, 1, 100))); !errors.Is(err, karst.NotLeader.Err()) {
			t.Errorf("append after the end: %v", err)
		}
	})
}

func TestFullGroupsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New(""), 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(30 * time.Millisecond), Ops: []store.Op{store.OpCreate}})
		c := quick
		c.Inflight = 2
		r := run(t, logOn(st), c)
		start := time.Now()
		var last *Commit
		for i := range 16 {
			last = r.Append(batch(0, karst.Offset(i), 1<<20))
			synctest.Wait()
		}
		if got := r.Started(); got != 2 {
			t.Errorf("%d uploads at once, want 2", got)
		}
		if err := outcome(t, last); err != nil {
			t.Error(err)
		}
		// 2 × 1 MiB, then 2 × 4 MiB, then the other 6 in two.
		if d, n := time.Since(start), r.Started(); d > 95*time.Millisecond || n != 6 {
			t.Errorf("16 MiB took %v in %d objects", d, n)
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

func TestDrainOnStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New(""), 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(time.Second), Ops: []store.Op{store.OpCreate}})
		r := run(t, logOn(st), quick)
		a := r.Append(batch(0, 0, 100))
		time.Sleep(10 * time.Millisecond)
		b := r.Append(batch(0, 1, 100))
		r.stop(nil)
		if outcome(t, a) != nil || outcome(t, b) != nil {
			t.Errorf("not drained: %v, %v", a.Err(), b.Err())
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

func TestForeignObjectEndsTheIncarnation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := mem.New("")
		st := faults.New(under, 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(30 * time.Millisecond), Ops: []store.Op{store.OpCreate}})
		r := run(t, logOn(st), quick)
		if err := outcome(t, r.Append(batch(0, 0, 100))); err != nil {
			t.Fatal(err)
		}
		if end, _, err := logOn(under).Seal(t.Context(), 1, 8, nil); err != nil || end != 2 {
			t.Fatalf("sealed at %d: %v", end, err)
		}
		lost := r.Append(batch(0, 1, 100))
		time.Sleep(20 * time.Millisecond) // its upload is on the way
		open := r.Append(batch(0, 2, 100))
		for _, c := range []*Commit{lost, open} {
			if err := outcome(t, c); !errors.Is(err, karst.TimedOut.Err()) {
				t.Errorf("unacknowledged append: %v, want an indefinite error", err)
			}
		}
		if err := outcome(t, r.Append(batch(0, 3, 100))); !errors.Is(err, karst.NotLeader.Err()) {
			t.Errorf("append after the end: %v, want a definite error", err)
		}
		<-r.done
		if !errors.Is(r.err, ErrOver) || errors.Is(r.err, ErrStalled) {
			t.Errorf("Run: %v", r.err)
		}
		if r.Confirmed() != 1 {
			t.Errorf("confirmed %d", r.Confirmed())
		}
		r.end(t)
	})
}

func TestStallEndsTheIncarnation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New(""), 1, faults.Outage(0, time.Hour)...)
		c := quick
		c.PendingBytes = 1000
		r := run(t, logOn(st), c)
		commit := r.Append(batch(0, 0, 1500))
		start := time.Now()
		if err := r.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if err := outcome(t, commit); !errors.Is(err, karst.TimedOut.Err()) {
			t.Error(err)
		}
		if d := time.Since(start); d < c.StallTimeout || d > c.StallTimeout+time.Second {
			t.Errorf("gave up after %v", d)
		}
		<-r.done
		if !errors.Is(r.err, ErrStalled) || !errors.Is(r.err, ErrOver) {
			t.Errorf("Run: %v", r.err)
		}
		r.end(t)
	})
}

func TestOutageHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New(""), 1, faults.Outage(0, 20*time.Second)...)
		c := quick
		c.PendingBytes = 10_000
		r := run(t, logOn(st), c)
		var last *Commit
		for i := range 50 {
			if err := r.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if r.Pending() >= c.PendingBytes {
				t.Fatalf("%d bytes pending and still room", r.Pending())
			}
			last = r.Append(batch(0, karst.Offset(i), 1000))
		}
		if err := outcome(t, last); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c2 := r.Append(batch(1, 0, 20_000))
		if err := r.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("wait without room: %v", err)
		}
		outcome(t, c2)
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

// TestPrefix is the property: what is acknowledged is a prefix of what is in
// the store, offsets of a partition come in order, whatever the store does.
func TestPrefix(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { checkPrefixProperty(t, seed) })
		})
	}
}

func checkPrefixProperty(t *testing.T, seed uint64) {
	under := mem.New("")
	writes := []store.Op{store.OpCreate}
	st := faults.New(under, seed,
		faults.Rule{Kind: faults.Slow, Delay: faults.LognormalOf(30*time.Millisecond, 400*time.Millisecond)},
		faults.Rule{Kind: faults.After, Chance: 0.1, Ops: writes},
		faults.Rule{Kind: faults.Late, Chance: 0.05, Ops: writes, Delay: faults.Uniform(time.Second)},
		faults.Rule{Kind: faults.Before, Chance: 0.1},
		faults.Rule{Kind: faults.Throttled, Chance: 0.05},
	)
	defer st.Wait()
	log := logOn(st)
	r := run(t, log, quick)
	plain := logOn(under)
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(p)))
			for base := range karst.Offset(30) {
				c := r.Append(batch(p, base, 100+rng.IntN(5000)))
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
				if rng.IntN(3) > 0 {
					continue
				}
				if err := outcome(t, c); err != nil {
					t.Error(err)
				}
				confirmed := r.Confirmed()
				for n := karst.Number(1); n <= confirmed; n++ {
					if _, err := under.Head(t.Context(), plain.Name(n)); err != nil {
						t.Errorf("I1: %d is acknowledged, but %v", confirmed, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	next := map[karst.TopicPartition]karst.Offset{}
	for i, s := range r.durable {
		if s.Number != karst.Number(i+1) {
			t.Errorf("segment %d came as number %d", s.Number, i+1)
		}
		for _, sl := range s.Slices {
			if sl.Base != next[sl.Partition] {
				t.Errorf("%s continues at %d, want %d", sl.Partition, sl.Base, next[sl.Partition])
			}
			next[sl.Partition] = sl.Last + 1
		}
	}
	if len(next) != 4 || next[partition(0)] != 30 {
		t.Errorf("ends: %v", next)
	}
}

// held is a log whose creates end when the test says so.
type held struct {
	*objlog.Log
	release map[karst.Number]chan error
}

func (h *held) Create(ctx context.Context, n karst.Number, _ object.Header, _ store.Body) error {
	select {
	case err := <-h.release[n]:
		return err
	case <-ctx.Done():
		return objlog.ErrUnknown
	}
}

func TestLaterUploadsWaitForEarlierOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &held{Log: logOn(mem.New("")), release: map[karst.Number]chan error{}}
		for n := range karst.Number(4) {
			h.release[n] = make(chan error, 1)
		}
		r := run(t, h, quick)
		var commits []*Commit
		for i := range 3 {
			commits = append(commits, r.Append(batch(0, karst.Offset(i), 100)))
			time.Sleep(time.Second)
		}
		isDone := func(c *Commit) bool {
			synctest.Wait()
			select {
			case <-c.Done():
				return true
			default:
				return false
			}
		}
		h.release[2] <- nil
		if isDone(commits[1]) || r.Confirmed() != 0 {
			t.Error("I1: number 2 was acknowledged before number 1")
		}
		h.release[1] <- nil
		if !isDone(commits[0]) || !isDone(commits[1]) || isDone(commits[2]) || r.Confirmed() != 2 {
			t.Error("1 and 2 are there, 3 is not")
		}
		h.release[3] <- objlog.ErrOver
		if err := outcome(t, commits[2]); !errors.Is(err, karst.TimedOut.Err()) {
			t.Error(err)
		}
		r.end(t)
	})
}

// hoarder keeps a hold on every body after the create returned, as a hedged
// attempt that lost does, and looks at the bytes later.
type hoarder struct {
	*objlog.Log
	t  *testing.T
	wg sync.WaitGroup
}

func (h *hoarder) Create(_ context.Context, _ karst.Number, want object.Header, body store.Body) error {
	body.Hold.Retain()
	h.wg.Go(func() {
		time.Sleep(time.Minute)
		got, err := object.Decode("late", body.Parts[0])
		if err != nil || got != want {
			h.t.Errorf("a late attempt read other bytes: %v", err)
		}
		body.Hold.Release()
	})
	return nil
}

func TestLateAttemptsKeepTheBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hoarder{Log: logOn(mem.New("")), t: t}
		r := run(t, h, quick)
		frame := r.pool.Get(200)
		b := batch(0, 0, 200)
		copy(frame.Bytes(), b.Bytes)
		b.Bytes, b.Hold = frame.Bytes(), frame
		c := r.Append(b)
		frame.Release() // the WAL has its own hold until it has copied
		if err := outcome(t, c); err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.durable[0].Slices[0].check(t)
		r.durable[0].Slices[0].Hold.Release()
		r.durable = nil
		r.mu.Unlock()
		h.wg.Wait()
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}
