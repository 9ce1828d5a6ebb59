package wal

import (
	"context"
	"fmt"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/object"
	"github.com/karst-io/karst/internal/store/objlog"
)

// null is a log that costs nothing.
type null struct{ *objlog.Log }

func (null) Create(context.Context, karst.Number, object.Header, store.Body) error { return nil }

// BenchmarkAppend measures append, seal and acknowledgement on a store that
// costs nothing.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		for _, partitions := range []int{1, 100} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, partitions), func(b *testing.B) { benchmarkAppend(b, size, partitions) })
		}
	}
}

func benchmarkAppend(b *testing.B, size, partitions int) {
	w := New(null{logOn(mem.New(""))}, chunk.NewPool(256<<20), Config{
		BatchBytes: 4 << 20, Inflight: 2, ChunkBytes: 1 << 20, PendingBytes: 32 << 20,
	})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx, func(s *Segment) {
			for i := range s.Slices {
				s.Slices[i].Hold.Release()
			}
		}); err != nil {
			b.Error(err)
		}
	}()
	template := batch(0, 0, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if w.Pending() >= 32<<20 {
			if err := w.Wait(ctx); err != nil {
				b.Fatal(err)
			}
		}
		template.Partition.Partition = karst.Partition(i % partitions)
		template.Info.Base = karst.Offset(i / partitions)
		w.Append(template)
	}
	cancel()
	<-done
	b.ReportMetric(float64(w.Started())/float64(b.N), "segments/op")
}
