package faults_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
)

func exists(t *testing.T, st store.Store, name string) bool {
	t.Helper()
	_, err := st.Head(context.Background(), name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func TestWritesFailBeforeAfterAndLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			kind        faults.Kind
			now, later  bool
			is          error
			returnsLate bool
		}{
			{kind: faults.Before, is: faults.ErrInjected},
			{kind: faults.Throttled, is: store.ErrThrottled},
			{kind: faults.After, now: true, later: true, is: faults.ErrInjected},
			{kind: faults.Late, later: true, is: faults.ErrInjected},
			{kind: faults.Hung, later: true, is: context.DeadlineExceeded, returnsLate: true},
		} {
			m := mem.New("t")
			f := faults.New(m, 1, faults.Rule{Kind: c.kind, Delay: faults.Constant(time.Minute)})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			buffer := []byte("bytes")
			start := time.Now()
			err := f.Create(ctx, "a", store.Bytes(buffer))
			cancel()
			copy(buffer, "XXXXX") // the caller's memory is its own again
			if !errors.Is(err, c.is) {
				t.Errorf("%s: %v", c.kind, err)
			}
			if late := time.Since(start) > 0; late != c.returnsLate {
				t.Errorf("%s: returned after %v", c.kind, time.Since(start))
			}
			if got := exists(t, m, "a"); got != c.now {
				t.Errorf("%s: exists at return: %v", c.kind, got)
			}
			f.Wait()
			if got := exists(t, m, "a"); got != c.later {
				t.Errorf("%s: exists later: %v", c.kind, got)
			}
			if c.later {
				b := make([]byte, 5)
				if _, err := m.Get(t.Context(), "a", 0, b); err != nil || string(b) != "bytes" {
					t.Errorf("%s: wrote %q, %v", c.kind, b, err)
				}
			}
			want := []faults.Count{{Kind: c.kind, Op: store.OpCreate, Caller: store.CallerOther, N: 1}}
			if got := f.Injected(); !slices.Equal(got, want) {
				t.Errorf("%s: counted %v", c.kind, got)
			}
		}
	})
}

func TestReadsBreak(t *testing.T) {
	m := mem.New("t")
	data := bytes.Repeat([]byte{7}, 100)
	for i := range 20 {
		if err := m.Put(t.Context(), fmt.Sprintf("d/%02d", i), store.Bytes(data)); err != nil {
			t.Fatal(err)
		}
	}
	f := faults.New(m, 1)
	get := func() ([]byte, error) {
		b := make([]byte, 100)
		n, err := f.Get(t.Context(), "d/00", 0, b)
		return b[:n], err
	}
	rule := f.Add(faults.Rule{Kind: faults.Truncated})
	if b, err := get(); !errors.Is(err, io.ErrUnexpectedEOF) || len(b) == 100 {
		t.Errorf("truncated: %d bytes, %v", len(b), err)
	}
	var last error
	for _, last = range f.List(t.Context(), "d/", "") {
	}
	if !errors.Is(last, faults.ErrInjected) {
		t.Errorf("truncated list: %v", last)
	}
	if n := rule.Remove(); n != 2 {
		t.Errorf("hit %d times", n)
	}
	f.Add(faults.Rule{Kind: faults.Flipped})
	b, err := get()
	wrong := 0
	for i := range b {
		if x := b[i] ^ data[i]; x != 0 {
			wrong++
			if x&(x-1) != 0 {
				t.Errorf("more than one bit of byte %d", i)
			}
		}
	}
	if err != nil || wrong != 1 {
		t.Errorf("flipped: %d wrong bytes, %v", wrong, err)
	}
	f.Heal()
	if b, err := get(); err != nil || !bytes.Equal(b, data) {
		t.Errorf("healed: %v", err)
	}
}

func TestRulesChoose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faults.New(mem.New("t"), 1,
			faults.Rule{Kind: faults.Before, Prefix: "bad/", Skip: 1, Times: 2, Ops: []store.Op{store.OpPut}, Callers: []store.Caller{store.CallerFlush}})
		flush := store.WithCaller(t.Context(), store.CallerFlush)
		put := func(ctx context.Context, name string) bool {
			return f.Put(ctx, name, store.Bytes(nil)) == nil
		}
		got := []bool{
			put(t.Context(), "bad/x"), put(flush, "good/x"), f.Create(flush, "bad/y", store.Bytes(nil)) == nil,
			put(flush, "bad/x"), put(flush, "bad/x"), put(flush, "bad/x"), put(flush, "bad/x"),
		}
		if want := []bool{true, true, true, true, false, false, true}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		f.Heal()
		for _, r := range faults.Outage(time.Minute, 2*time.Minute) {
			f.Add(r)
		}
		before := put(flush, "x")
		time.Sleep(time.Minute)
		during := put(flush, "x")
		time.Sleep(time.Minute)
		if after := put(flush, "x"); !before || during || !after {
			t.Errorf("outage: %v %v %v", before, during, after)
		}
	})
}

func TestCrashCutsOffAndDeliversSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mem.New("t")
		f := faults.New(m, 5, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(time.Second)})
		const n = 200
		ends := make(chan error, n)
		for i := range n {
			go func() { ends <- f.Create(context.Background(), fmt.Sprintf("x/%03d", i), store.Bytes([]byte("b"))) }()
		}
		time.Sleep(500 * time.Millisecond)
		f.Crash()
		crashed := time.Now()
		for range n {
			if err := <-ends; !errors.Is(err, context.Canceled) {
				t.Fatalf("a dead process was told %v", err)
			}
		}
		if time.Since(crashed) != 0 {
			t.Error("calls outlived the crash")
		}
		if err := f.Create(context.Background(), "y", store.Bytes(nil)); err == nil || !errors.Is(err, faults.ErrInjected) {
			t.Errorf("create after the crash: %v", err)
		}
		count := func() (n int) {
			for range m.List(t.Context(), "", "") {
				n++
			}
			return n
		}
		atCrash := count()
		f.Wait()
		later := count()
		// About half had taken effect; of the others about half still do.
		if atCrash < n/4 || atCrash > 3*n/4 || later <= atCrash || later == n || exists(t, m, "y") {
			t.Errorf("%d effects at the crash, %d later, of %d", atCrash, later, n)
		}
	})
}

func TestLognormalHitsItsPercentiles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	d := faults.LognormalOf(30*time.Millisecond, 150*time.Millisecond)
	all := make([]time.Duration, 100_000)
	for i := range all {
		all[i] = d.Of(r, 0)
	}
	slices.Sort(all)
	p50, p99 := all[len(all)/2], all[len(all)*99/100]
	if p50 < 29*time.Millisecond || p50 > 31*time.Millisecond || p99 < 143*time.Millisecond || p99 > 157*time.Millisecond {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
	sized := faults.Sized{Base: faults.Constant(30 * time.Millisecond), PerMiB: 12 * time.Millisecond}
	if got := sized.Of(r, 10<<20); got != 150*time.Millisecond {
		t.Errorf("10 MiB take %v", got)
	}
}
