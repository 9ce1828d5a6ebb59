package blockcache

import (
	"bytes"
	"context"
	"errors"
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
)

const block = 4096

// slow is a store whose GETs take a second, and are counted.
type slow struct {
	*mem.Store
	mu      sync.Mutex
	gets    []karst.Span
	callers []store.Caller
	err     error
}

func (s *slow) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	s.mu.Lock()
	s.gets = append(s.gets, karst.Span{Pos: off, Len: int64(len(p))})
	s.callers = append(s.callers, store.CallerOf(ctx))
	err := s.err
	s.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err != nil {
		return 0, err
	}
	return s.Store.Get(ctx, name, off, p)
}

func (s *slow) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

type fixture struct {
	*Cache
	st    *slow
	pool  *chunk.Pool
	bytes []byte
}

const object1 = "seg/00/x"

func bubble(t *testing.T, c Config, size int, test func(t *testing.T, f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{st: &slow{Store: mem.New("t")}, pool: chunk.NewPool(0), bytes: make([]byte, size)}
		r := rand.NewChaCha8([32]byte{1})
		_, _ = r.Read(f.bytes)
		if err := f.st.Put(t.Context(), object1, store.Bytes(f.bytes)); err != nil {
			t.Fatal(err)
		}
		c.BlockBytes, c.Chunks = block, f.pool
		f.Cache = New(f.st, c)
		test(t, f)
		f.Close()
		if n := f.pool.InUse(); n != 0 {
			t.Errorf("%d bytes of chunks are left after Close", n)
		}
		if s := f.Stats(); s.UsedBytes != 0 || s.HeldBytes != 0 {
			t.Errorf("after Close: %+v", s)
		}
	})
}

// read reads a span and compares; the view is held for the caller.
func (f *fixture) read(t *testing.T, pos, n int64) View {
	t.Helper()
	v, err := f.Read(t.Context(), object1, karst.Span{Pos: pos, Len: n}, karst.Span{Len: int64(len(f.bytes))})
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Join(v.Parts, nil); !bytes.Equal(got, f.bytes[pos:pos+n]) {
		t.Fatalf("bytes %d to %d differ (%d read)", pos, pos+n, len(got))
	}
	return v
}

func TestReadIsRightWhateverTheSpan(t *testing.T) {
	bubble(t, Config{MemoryBytes: 10 * block, AheadBytes: 2 * block}, 30*block+17, func(t *testing.T, f *fixture) {
		rnd := rand.New(rand.NewPCG(1, 2))
		var held []View
		for range 300 {
			pos := rnd.Int64N(int64(len(f.bytes)))
			held = append(held, f.read(t, pos, 1+rnd.Int64N(min(5*block, int64(len(f.bytes))-pos))))
			if len(held) > 3 {
				held[0].Hold.Release()
				held = held[1:]
			}
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		for _, v := range held {
			v.Hold.Retain()
			v.Hold.Release()
			v.Hold.Release()
		}
		s := f.Stats()
		if s.UsedBytes > 10*block || s.HeldBytes != 0 || s.Evictions == 0 || s.UsedBytes != f.pool.InUse() {
			t.Errorf("stats %+v, chunks %d", s, f.pool.InUse())
		}
	})
}

func TestOneGetForAllWhoWantARange(t *testing.T) {
	bubble(t, Config{MemoryBytes: 1 << 20}, 8*block, func(t *testing.T, f *fixture) {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { f.read(t, 10, 3*block).Hold.Release() })
		}
		synctest.Wait()
		// One whose context ends leaves the GET running.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := f.Read(ctx, object1, karst.Span{Pos: 10, Len: 100}, karst.Span{})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read with a deadline: %v", err)
		}
		wg.Wait()
		f.read(t, 10, 3*block).Hold.Release()
		if len(f.st.gets) != 1 || f.st.gets[0] != (karst.Span{Len: 4 * block}) {
			t.Errorf("GETs %v, want one of four blocks", f.st.gets)
		}
		s := f.Stats()
		if s.Misses != 4 || s.Hits != 4 || s.Misses+s.Shared != 41 || s.Gets != 1 || s.BytesRead != 4*block {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestOnlyReaderGivingUpLeavesNoHold(t *testing.T) {
	bubble(t, Config{MemoryBytes: 1 << 20}, 8*block, func(t *testing.T, f *fixture) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := f.Read(ctx, object1, karst.Span{Len: 1}, karst.Span{}); err == nil {
			t.Error("no error")
		}
		time.Sleep(time.Minute)
		if s := f.Stats(); s.HeldBytes != 0 || s.UsedBytes == 0 {
			t.Errorf("stats %+v", s)
		}
		f.read(t, 0, 1).Hold.Release()
		if s := f.Stats(); s.Hits != 1 || s.Gets != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestFailuresAreNotKept(t *testing.T) {
	bubble(t, Config{MemoryBytes: 1 << 20}, 8*block, func(t *testing.T, f *fixture) {
		f.st.fail(store.ErrThrottled)
		if _, err := f.Read(t.Context(), object1, karst.Span{Len: 1}, karst.Span{}); !errors.Is(err, store.ErrThrottled) {
			t.Errorf("read: %v", err)
		}
		f.st.fail(nil)
		f.read(t, 0, 1).Hold.Release()
		if _, err := f.Read(t.Context(), "seg/00/none", karst.Span{Len: 1}, karst.Span{}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("read of nothing: %v", err)
		}
		if _, err := f.Read(t.Context(), object1, karst.Span{Pos: 8*block - 1, Len: 2}, karst.Span{}); err == nil {
			t.Error("read past the end went well")
		} else if _, err = f.Read(t.Context(), object1, karst.Span{Pos: 7 * block, Len: block + 1}, karst.Span{}); err == nil {
			t.Error("read past the end went well")
		} else if _, ok := errors.AsType[*karst.CorruptError](err); !ok {
			t.Errorf("read past the end: %v", err)
		}
		if s := f.Stats(); s.FailedGets < 2 || s.HeldBytes != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestHeldIsNotEvicted(t *testing.T) {
	bubble(t, Config{MemoryBytes: 2 * block}, 64*block, func(t *testing.T, f *fixture) {
		v := f.read(t, 0, 3*block) // above the budget, and held
		for b := range int64(20) {
			f.read(t, (10+b)*block, block).Hold.Release()
		}
		if !bytes.Equal(bytes.Join(v.Parts, nil), f.bytes[:3*block]) {
			t.Error("a held view changed")
		}
		v.Hold.Release()
		if s := f.Stats(); s.UsedBytes > 2*block || s.HeldBytes != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestAheadGrowsWhileSequential(t *testing.T) {
	const most = 8
	bubble(t, Config{MemoryBytes: 1 << 20, AheadBytes: most * block}, 100*block, func(t *testing.T, f *fixture) {
		within := karst.Span{Pos: 0, Len: 90 * block}
		ctx := store.WithCaller(t.Context(), store.CallerCatchUp)
		waited := 0
		for pos := int64(0); pos < within.Len; pos += block {
			began := time.Now()
			v, err := f.Read(ctx, object1, karst.Span{Pos: pos, Len: block}, within)
			if err != nil {
				t.Fatal(err)
			}
			v.Hold.Release()
			if time.Since(began) > 0 {
				waited++
			}
			time.Sleep(2 * time.Second) // the reader is slower than the store
		}
		s := f.Stats()
		if waited > 2 || s.Gets > 6+90/(most/2) {
			t.Errorf("waited for %d of 90 blocks, %d GETs", waited, s.Gets)
		}
		for i, g := range f.st.gets {
			if g.Pos+g.Len > within.Len {
				t.Errorf("GET %v goes beyond what the reader will want", g)
			}
			if f.st.callers[i] != store.CallerCatchUp {
				t.Errorf("GET on behalf of %v", f.st.callers[i])
			}
		}
	})
}

func TestRandomReaderReadsNothingAhead(t *testing.T) {
	bubble(t, Config{MemoryBytes: 1 << 20, AheadBytes: 8 * block}, 100*block, func(t *testing.T, f *fixture) {
		for _, b := range []int64{50, 10, 70, 30} {
			f.read(t, b*block, block).Hold.Release()
		}
		if s := f.Stats(); s.AheadGets != 0 || s.Gets != 4 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestSmallObjectsCostTheirSize(t *testing.T) {
	bubble(t, Config{MemoryBytes: 1 << 20}, 100, func(t *testing.T, f *fixture) {
		f.read(t, 0, 100).Hold.Release()
		if s := f.Stats(); s.UsedBytes != 100 {
			t.Errorf("%d bytes used for 100", s.UsedBytes)
		}
	})
}

func TestIndexesShareTheBudget(t *testing.T) {
	bubble(t, Config{MemoryBytes: 4 * block}, 100*block, func(t *testing.T, f *fixture) {
		tp := karst.TopicPartition{Topic: karst.TopicID{1}}
		b := segment.Batch{Partition: tp, Bytes: make([]byte, 100), Info: record.Info{Count: 1, Size: 100, Producer: karst.NoProducer, Marker: record.NoMarker}}
		built, err := segment.Build(object.Header{Kind: object.Segment}, []segment.Batch{b}, nil, nil, 1<<20, func(n int) []byte { return make([]byte, n) })
		if err != nil {
			t.Fatal(err)
		}
		if err := f.st.Put(t.Context(), "seg/00/i", built.Body); err != nil {
			t.Fatal(err)
		}
		s := built.Directory.Slices[0]
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				es, err := f.Index(t.Context(), "seg/00/i", s.Index, s.IndexCheck)
				if err != nil || len(es) != 1 || es[0].Info.Size != 100 {
					t.Errorf("index %v, %v", es, err)
				}
			})
		}
		wg.Wait()
		if _, err := f.Index(t.Context(), "seg/00/i", s.Index, s.IndexCheck); err != nil {
			t.Error(err)
		}
		st := f.Stats()
		if st.IndexMisses != 1 || st.IndexShared != 2 || st.IndexHits != 1 || st.UsedBytes == 0 {
			t.Errorf("stats %+v", st)
		}
		for n := range int64(4) {
			f.read(t, n*10*block, 2*block).Hold.Release()
		}
		if _, err := f.Index(t.Context(), "seg/00/i", s.Index, s.IndexCheck); err != nil || f.Stats().IndexMisses != 2 {
			t.Errorf("the index was not evicted: %v, %+v", err, f.Stats())
		}
		if _, err := f.Index(t.Context(), "seg/00/i", s.Index, s.IndexCheck+1); err != nil {
			t.Logf("wrong checksum, cached index: %v", err)
		}
	})
}

func TestCloseEndsReads(t *testing.T) {
	bubble(t, Config{MemoryBytes: 1 << 20}, 8*block, func(t *testing.T, f *fixture) {
		done := make(chan error)
		go func() {
			_, err := f.Read(t.Context(), object1, karst.Span{Len: 1}, karst.Span{})
			done <- err
		}()
		synctest.Wait()
		go f.Close()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("read: %v", err)
		}
		synctest.Wait()
		if _, err := f.Read(t.Context(), object1, karst.Span{Len: 1}, karst.Span{}); !errors.Is(err, ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
	})
}

// TestDiscreditedBytesAreReadAgain: what a reader found damaged is not served
// from memory again, and the memory is given back with the last hold.
func TestDiscreditedBytesAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mem.New("t")
		if err := m.Put(t.Context(), "o", store.Bytes(bytes.Repeat([]byte{7}, 3*block))); err != nil {
			t.Fatal(err)
		}
		f := faults.New(m, 1, faults.Rule{Kind: faults.Flipped, Times: 1})
		pool := chunk.NewPool(0)
		c := New(f, Config{MemoryBytes: 1 << 20, BlockBytes: block, Chunks: pool})
		wrong := func() (n int) {
			v, err := c.Read(t.Context(), "o", karst.Span{Pos: 10, Len: 3*block - 10}, karst.Span{})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range v.Parts {
				n += len(p) - bytes.Count(p, []byte{7})
			}
			if n > 0 {
				v.Discredit()
				v.Discredit()
			}
			v.Hold.Release()
			return n
		}
		if first, second := wrong(), wrong(); first != 1 || second != 0 {
			t.Errorf("%d wrong bytes, then %d", first, second)
		}
		c.Close()
		if n := pool.InUse(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
	})
}

// built is an object with a batch for each of so many partitions.
func built(t *testing.T, partitions int) *segment.Built {
	t.Helper()
	var all []segment.Batch
	for p := range partitions {
		tp := karst.TopicPartition{Topic: karst.TopicID{1}, Partition: karst.Partition(p)}
		all = append(all, segment.Batch{Partition: tp, Bytes: make([]byte, 100), Info: record.Info{Count: 1, Size: 100, Producer: karst.NoProducer, Marker: record.NoMarker}})
	}
	b, err := segment.Build(object.Header{Kind: object.Segment}, all, nil, nil, 1<<20, func(n int) []byte { return make([]byte, n) })
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSmallObjectsTakeOneGet, however many partitions are in them.
func TestSmallObjectsTakeOneGet(t *testing.T) {
	bubble(t, Config{MemoryBytes: 1 << 20}, 0, func(t *testing.T, f *fixture) {
		b := built(t, 5)
		if err := f.st.Put(t.Context(), "seg/00/i", b.Body); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, s := range b.Directory.Slices {
			wg.Go(func() {
				if es, err := f.Index(t.Context(), "seg/00/i", s.Index, s.IndexCheck); err != nil || len(es) != 1 {
					t.Errorf("index %v, %v", es, err)
				}
				v, err := f.Read(t.Context(), "seg/00/i", s.Data, s.Data)
				if err != nil {
					t.Error(err)
					return
				}
				v.Hold.Release()
			})
		}
		wg.Wait()
		if s := f.Stats(); len(f.st.gets) != 1 || s.Gets != 1 || s.IndexMisses != 5 {
			t.Errorf("%d GETs: %+v", len(f.st.gets), s)
		}
	})
}

// TestDamagedIndexIsReadAgain: a block whose index is damaged is not kept.
func TestDamagedIndexIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, b := mem.New("t"), built(t, 1)
		s := b.Directory.Slices[0]
		body := bytes.Join(b.Body.Parts, nil)
		body[s.Index.Pos] ^= 1
		if err := m.Put(t.Context(), "o", store.Bytes(body)); err != nil {
			t.Fatal(err)
		}
		c := New(m, Config{MemoryBytes: 1 << 20, BlockBytes: block, Chunks: chunk.NewPool(0)})
		defer c.Close()
		_, err := c.Index(t.Context(), "o", s.Index, s.IndexCheck)
		if _, corrupt := errors.AsType[*karst.CorruptError](err); !corrupt {
			t.Fatalf("damaged: %v", err)
		}
		body[s.Index.Pos] ^= 1
		if err := m.Put(t.Context(), "o", store.Bytes(body)); err != nil {
			t.Fatal(err)
		}
		if es, err := c.Index(t.Context(), "o", s.Index, s.IndexCheck); err != nil || len(es) != 1 {
			t.Errorf("mended: %v, %v", es, err)
		}
	})
}
