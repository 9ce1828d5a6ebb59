package meter_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/meter"
)

func TestCountsByKindCallerAndOutcome(t *testing.T) {
	f := faults.New(mem.New("t"), 1)
	m := meter.New(f, nil)
	wal := store.WithCaller(t.Context(), store.CallerWAL)
	_ = m.Create(wal, "a", store.Bytes(make([]byte, 100)))
	_ = m.Create(wal, "a", store.Bytes(make([]byte, 50)))
	_ = m.Put(t.Context(), "b", store.Body{Parts: [][]byte{make([]byte, 3), make([]byte, 4)}})
	before := m.Snapshot()
	_, _ = m.Get(t.Context(), "a", 90, make([]byte, 20))
	_, _ = m.Get(t.Context(), "none", 0, make([]byte, 20))
	_, _ = m.Head(t.Context(), "a")
	f.Add(faults.Rule{Kind: faults.Throttled, Times: 1})
	_ = m.Delete(t.Context(), []string{"a", "b"})
	_ = m.Delete(t.Context(), []string{"a", "b"})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_ = m.Put(ended, "c", store.Bytes(nil))
	f.Add(faults.Rule{Kind: faults.Before})
	_ = m.Put(t.Context(), "c", store.Bytes(nil))
	const want = `create wal ok: 1 requests, 100 bytes
create wal exists: 1 requests, 50 bytes
put other ok: 1 requests, 7 bytes
put other cancelled: 1 requests, 0 bytes
put other failed: 1 requests, 0 bytes
get other ok: 1 requests, 10 bytes
get other notfound: 1 requests, 0 bytes
head other ok: 1 requests, 0 bytes
delete other ok: 1 requests, 0 bytes
delete other throttled: 1 requests, 0 bytes
`
	all := m.Snapshot()
	if got := all.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got, want := fmt.Sprintf("%.2f", all.Cost()), "5.24"; got != want {
		t.Errorf("cost %s, want %s", got, want)
	}
	since := all.Sub(before)
	if got := since.Total(); got.Requests != 7 || got.Bytes != 10 {
		t.Errorf("since: %+v\n%s", got, since)
	}
	if got := all.By(store.OpCreate, store.CallerWAL); got.Requests != 2 || got.Bytes != 150 {
		t.Errorf("by: %+v", got)
	}
}

func TestListIsCountedByTheThousand(t *testing.T) {
	under := mem.New("t")
	for objects, want := range map[int]int64{0: 1, 1: 1, 1000: 1, 1001: 2} {
		m := meter.New(under, nil)
		prefix := fmt.Sprintf("%d/", objects)
		for i := range objects {
			_ = under.Put(t.Context(), fmt.Sprintf("%s%d", prefix, i), store.Bytes(nil))
		}
		for range m.List(t.Context(), prefix, "") {
		}
		if got := m.Snapshot().Op(store.OpList).Requests; got != want {
			t.Errorf("%d objects: %d requests, want %d", objects, got, want)
		}
	}
}

func TestCollects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faults.New(mem.New("t"), 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(30 * time.Millisecond)})
		m := meter.New(f, nil)
		for i := range 3 {
			_ = m.Put(t.Context(), fmt.Sprint(i), store.Bytes([]byte("xy")))
		}
		reg := prometheus.NewPedanticRegistry()
		if err := reg.Register(m); err != nil {
			t.Fatal(err)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range families {
			for _, s := range f.GetMetric() {
				got = append(got, fmt.Sprintf("%s %v", f.GetName(), value(s)))
			}
		}
		const want = "karst_store_bytes_total 6; karst_store_cost_puts_total 3; karst_store_request_seconds 3 in 0.09s; karst_store_requests_total 3"
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("got %s", s)
		}
	})
}

func value(m *dto.Metric) string {
	if h := m.GetHistogram(); h != nil {
		return fmt.Sprintf("%d in %.2fs", h.GetSampleCount(), h.GetSampleSum())
	}
	return fmt.Sprint(m.GetCounter().GetValue())
}

// TestFailuresAreHeard: those that somebody will want to know of, not those that
// say what is there.
func TestFailuresAreHeard(t *testing.T) {
	f := faults.New(mem.New("t"), 1)
	var heard []error
	m := meter.New(f, func(_ store.Op, _ store.Caller, err error) { heard = append(heard, err) })
	ctx, cancel := context.WithCancel(t.Context())
	_ = m.Create(ctx, "a", store.Bytes([]byte("x")))
	_ = m.Create(ctx, "a", store.Bytes([]byte("x")))
	_, _ = m.Head(ctx, "b")
	cancel()
	_, _ = m.Head(ctx, "a")
	if len(heard) != 0 {
		t.Errorf("heard of %v", heard)
	}
	for _, k := range []faults.Kind{faults.Before, faults.Throttled} {
		f.Add(faults.Rule{Kind: k, Times: 1})
		if _, err := m.Head(t.Context(), "a"); err == nil || len(heard) == 0 || !errors.Is(err, heard[len(heard)-1]) {
			t.Errorf("%v: %v was not heard of", k, err)
		}
	}
}
