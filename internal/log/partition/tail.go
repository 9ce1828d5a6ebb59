package partition

import (
	"sort"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/store"
)

// run is one partition's part of one durable WAL segment in memory.
type run struct {
	number karst.Number
	slice  *wal.Slice
}

// tail is what memory holds of a partition: contiguous runs, the last of which
// ends at the high watermark. Runs leave at the front, once flushed.
type tail struct{ runs []run }

func (t *tail) push(n karst.Number, s *wal.Slice) {
	s.Hold.Retain()
	t.runs = append(t.runs, run{n, s})
}

// covers reports whether the batch that holds offset off, or the next one after
// a hole, is in memory.
func (t *tail) covers(off karst.Offset) bool {
	return len(t.runs) > 0 && t.runs[0].slice.Base <= off
}

// drop releases the runs of WAL numbers up to n that end below flushed.
func (t *tail) drop(n karst.Number, flushed karst.Offset) {
	k := 0
	for k < len(t.runs) && t.runs[k].number <= n && t.runs[k].slice.Last < flushed {
		t.runs[k].slice.Hold.Release()
		k++
	}
	clear(t.runs[:k])
	if t.runs = t.runs[k:]; len(t.runs) == 0 {
		t.runs = nil
	}
}

// from is the index of the first run that reaches off.
func (t *tail) from(off karst.Offset) int {
	return sort.Search(len(t.runs), func(i int) bool { return t.runs[i].slice.Last >= off })
}

// gather appends whole batches from off on, below limit, up to maxBytes; the
// first one whatever its size if atLeastOne.
func (t *tail) gather(r *Read, off, limit karst.Offset, maxBytes int, atLeastOne bool) {
	for i := t.from(off); i < len(t.runs); i++ {
		s := t.runs[i].slice
		held := false
		k := sort.Search(len(s.Entries), func(k int) bool { return s.Entries[k].Info.Last() >= off })
		for ; k < len(s.Entries); k++ {
			e := &s.Entries[k]
			if e.Info.Base >= limit {
				return
			}
			size := len(s.Bytes[k])
			if r.Size+size > maxBytes && (r.Size > 0 || !atLeastOne) {
				return
			}
			if !held {
				r.hold(s.Hold)
				held = true
			}
			r.add(s.Bytes[k])
		}
	}
}

func (r *Read) hold(h store.Holder) {
	h.Retain()
	r.holds = append(r.holds, h)
}

// add appends bytes to the parts, growing the last part where the memory is
// adjacent, so that a response takes few segments of a vectored write.
func (r *Read) add(b []byte) {
	r.Size += len(b)
	if n := len(r.Parts); n > 0 {
		if last := r.Parts[n-1]; cap(last) >= len(last)+len(b) && len(b) > 0 {
			if wider := last[:len(last)+len(b)]; &wider[len(last)] == &b[0] {
				r.Parts[n-1] = wider
				return
			}
		}
	}
	r.Parts = append(r.Parts, b)
}
