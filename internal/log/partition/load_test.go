package partition

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/blockcache"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/metadata"
)

// slowIndexes has one batch per source; the check of a source is its offset.
type slowIndexes struct{ each time.Duration }

func (slowIndexes) Read(context.Context, string, karst.Span, karst.Span) (blockcache.View, error) {
	panic("BUG: no checkpoint to read")
}

func (s slowIndexes) Index(ctx context.Context, _ string, _ karst.Span, check uint32) ([]segment.Entry, error) {
	select {
	case <-time.After(s.each):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return []segment.Entry{{Info: record.Info{
		Base: karst.Offset(check), Count: 1, Producer: 4, BaseSequence: karst.Sequence(check),
	}}}, nil
}

// A failover leaves hundreds of sources without a checkpoint; the first producer
// must not wait for one request after the other.
func TestLoadReadsIndexesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &metadata.PartitionState{End: 512}
		for n := range karst.Offset(512) {
			s.Sources = append(s.Sources, metadata.Source{Base: n, Last: n, IndexCheck: uint32(n)})
		}
		p := Open(s)
		start := time.Now()
		if err := p.Load(t.Context(), slowIndexes{30 * time.Millisecond}, start, time.Hour); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
		q := p.producers.byID[4]
		if q == nil || q.n != windowBatches {
			t.Fatalf("producer %+v", q)
		}
		for k, w := range q.window {
			if want := karst.Offset(512 - windowBatches + k); w.base != want {
				t.Errorf("window %d is at offset %d, want %d", k, w.base, want)
			}
		}
	})
}
