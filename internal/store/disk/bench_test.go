package disk_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/disk"
)

// BenchmarkCreate measures one writer: time to durable, and its median.
func BenchmarkCreate(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s, err := disk.Open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			body := store.Bytes(make([]byte, size))
			b.SetBytes(int64(size))
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				if err := s.Create(b.Context(), fmt.Sprintf("wal/1/%020d", i), body); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s, err := disk.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.Create(b.Context(), "seg/0a/1", store.Bytes(make([]byte, 1<<20))); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 16<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := s.Get(b.Context(), "seg/0a/1", 4096, p); err != nil {
			b.Fatal(err)
		}
	}
}
