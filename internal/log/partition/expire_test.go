package partition

import (
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
)

// nowhere is a log that takes everything.
type nowhere struct{}

func (nowhere) Append(wal.Batch) *wal.Commit        { return nil }
func (nowhere) AppendTrim(segment.Trim) *wal.Commit { return nil }

// A leadership may last for months, and each run of a client has another
// producer id: those that are gone must not stay in memory or in checkpoints.
func TestProducersExpireWhileTheLeadershipLasts(t *testing.T) {
	p := Open(&metadata.PartitionState{ID: karst.TopicPartition{Topic: karst.TopicID{1}}})
	now := time.UnixMilli(1_700_000_000_000)
	if err := p.Load(t.Context(), nil, now, time.Hour); err != nil {
		t.Fatal(err)
	}
	batch := make([]byte, record.HeaderSize)
	write := func(id karst.ProducerID, seq karst.Sequence) {
		t.Helper()
		i := record.Info{Count: 1, Producer: id, BaseSequence: seq}
		if _, err := p.Append(nowhere{}, i, batch, nil, now); err != nil {
			t.Fatal(err)
		}
	}
	largest := 0
	for id := range karst.ProducerID(1000) {
		write(id, 0)
		write(5000, karst.Sequence(id)) // goes on all the time
		now = now.Add(time.Minute)
		p.Expire(now, time.Hour)
		state, full := p.Checkpoint(p.next, false)
		if !full {
			t.Fatal("a small checkpoint is full")
		}
		largest = max(largest, len(state))
	}
	if n := len(p.producers.byID); n > 61 {
		t.Errorf("%d producers in memory, 60 have appended within the hour", n)
	}
	if most := checkpointHead + 4 + 62*(producerHead+windowBatches*producerBatch); largest > most {
		t.Errorf("a checkpoint of %d bytes", largest)
	}
	if q := p.producers.byID[5000]; q == nil || q.n != windowBatches {
		t.Errorf("the one that goes on: %+v", q)
	}
}
