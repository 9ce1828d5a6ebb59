package reap

import (
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// startsMax bounds the log starts raised in one cycle (O18).
const startsMax = 1000

// retain asks for the log starts that retention moves, of partitions this
// incarnation leads, startsMax at most. It reports whether there are more; the
// next call goes on after the last one.
func (r *Reaper) retain(now time.Time) (more bool) {
	var n int64
	from := r.cursor
	r.cursor = karst.TopicPartition{}
	for p := range r.d.Image().Partitions() {
		if p.Leader != r.d.Incarnation || len(p.Sources) == 0 || !from.Topic.IsZero() && p.ID.Compare(from) <= 0 {
			continue
		}
		ms, bytes, deletes := r.d.Retention(p.ID)
		start := p.LogStart
		if deletes {
			start = expired(p, now, ms, bytes)
		}
		// A source wholly below the log start waits for a checkpoint: ask for it.
		if start > p.LogStart || p.Sources[0].Last < p.LogStart {
			r.d.LogStarts.SetLogStart(p.ID, start)
			if n++; n == startsMax {
				r.cursor, more = p.ID, true
				break
			}
		}
	}
	r.tally(func(s *Stats) { s.LogStarts += n })
	return more
}

// expired is the log start that retention asks for: whole sources go, from the
// first one at or above the log start on, as segments do in Kafka
// (UnifiedLog.deleteOldSegments).
//
// By time: those whose largest timestamp is more than ms ago; one from the
// future stops it. Kafka takes the file's age for a segment without timestamps;
// here it goes with the next source that has one, which was written later.
//
// By size: as long as what is left is at least bytes. What is not flushed yet
// counts in neither.
func expired(p *metadata.PartitionState, now time.Time, ms, bytes int64) karst.Offset {
	gone := 0 // these wait for a checkpoint only
	for gone < len(p.Sources) && p.Sources[gone].Last < p.LogStart {
		gone++
	}
	keep := gone // sources before it go
	if ms >= 0 {
		for i := gone; i < len(p.Sources); i++ {
			t := p.Sources[i].MaxTimestamp
			if t < 0 {
				continue
			}
			if now.UnixMilli()-int64(t) <= ms {
				break
			}
			keep = i + 1
		}
	}
	if bytes >= 0 {
		var total int64
		for i := range p.Sources[keep:] {
			total += p.Sources[keep+i].Data.Len
		}
		for keep < len(p.Sources) && total-p.Sources[keep].Data.Len >= bytes {
			total -= p.Sources[keep].Data.Len
			keep++
		}
	}
	switch {
	case keep == gone:
		return p.LogStart
	case keep == len(p.Sources):
		return p.End
	default:
		return p.Sources[keep].Base
	}
}
