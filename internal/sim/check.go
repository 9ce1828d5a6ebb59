package sim

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/karst-io/karst"
)

// stored is one record as the final reader found it.
type stored struct {
	offset int64
	epoch  int32
	id     ID
}

// final is one partition as the final reader found it.
type final struct {
	tp        karst.TopicPartition
	low, high int64
	records   []stored // in the order they were read
	retained  bool     // retention may have moved the log start
}

// Check compares the history with what is there at the end. finals holds every
// partition that exists; gone says of a topic id that its deletion was at least
// tried.
func (h *History) Check(finals []final, gone func(karst.TopicID) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	by := map[karst.TopicPartition]*final{}
	for i := range finals {
		by[finals[i].tp] = &finals[i]
		h.checkDense(&finals[i])
	}
	at := h.checkRecords(by, gone)
	h.checkOrder(by, at)
	h.checkReads(by, gone)
	h.checkShown(by, at)
	h.checkDeletions(by)
}

// checkDense wants every offset from low to high exactly once.
func (h *History) checkDense(f *final) {
	next := f.low
	for _, r := range f.records {
		if r.offset != next {
			h.report(Finding{Skipped, fmt.Sprintf("%s: offset %d follows %d", f.tp, r.offset, next-1)})
		}
		next = r.offset + 1
	}
	if next != f.high && (len(f.records) > 0 || f.low != f.high) {
		h.report(Finding{Skipped, fmt.Sprintf("%s: the log ends at %d, the watermark is %d", f.tp, next, f.high)})
	}
}

// checkRecords compares what was sent with what is there. It returns where each
// record is.
func (h *History) checkRecords(by map[karst.TopicPartition]*final, gone func(karst.TopicID) bool) map[ID]stored {
	at := map[ID]stored{}
	for tp, f := range by {
		for _, s := range f.records {
			r := h.records[s.id]
			first, twice := at[s.id]
			switch {
			case r == nil, r.tp != tp:
				h.report(Finding{Corrupt, fmt.Sprintf("%s has %s at %d, which was never sent to it", tp, s.id, s.offset)})
			case twice:
				h.report(Finding{Duplicate, fmt.Sprintf("%s: %s is at %d (epoch %d) and at %d (epoch %d)", tp, s.id, first.offset, first.epoch, s.offset, s.epoch)})
			case r.outcome == refused:
				h.report(Finding{Refused, fmt.Sprintf("%s: %s is at %d, although it was refused", tp, s.id, s.offset)})
			case r.outcome == acknowledged && r.offset >= 0 && r.offset != s.offset:
				h.report(Finding{WrongOffset, fmt.Sprintf("%s: %s was acknowledged at %d and is at %d (epoch %d)", tp, s.id, r.offset, s.offset, s.epoch)})
			}
			if !twice {
				at[s.id] = s
			}
		}
	}
	for id, r := range h.records {
		if _, there := at[id]; there || r.outcome != acknowledged {
			continue
		}
		f := by[r.tp]
		switch {
		case f == nil && gone(r.tp.Topic):
		case f == nil:
			h.report(Finding{LostWrite, fmt.Sprintf("%s of %s: the partition is gone", id, r.tp)})
		case r.offset < 0 && f.low > 0: // it may lie below the log start
		case r.offset >= 0 && r.offset < f.low:
		default:
			h.report(Finding{LostWrite, fmt.Sprintf("%s: %s was acknowledged at %d; the log is [%d, %d)", r.tp, id, r.offset, f.low, f.high)})
		}
	}
	return at
}

// run is one idempotent session in one partition.
type run struct {
	number int64
	tp     karst.TopicPartition
}

// checkOrder wants the records of a run in their order and without a gap.
func (h *History) checkOrder(by map[karst.TopicPartition]*final, at map[ID]stored) {
	runs := map[run][]*sent{}
	for _, r := range h.records {
		if r.run != 0 && by[r.tp] != nil {
			runs[run{r.run, r.tp}] = append(runs[run{r.run, r.tp}], r)
		}
	}
	for of, all := range runs {
		slices.SortFunc(all, func(a, b *sent) int { return cmp.Compare(a.sequence, b.sequence) })
		var last *sent
		var missing *sent
		for _, r := range all {
			s, there := at[r.id]
			if !there {
				missing = r
				continue
			}
			if last != nil && at[last.id].offset > s.offset {
				h.report(Finding{Reorder, fmt.Sprintf("%s: %s is at %d, before %s at %d", of.tp, r.id, s.offset, last.id, at[last.id].offset)})
			}
			// What is missing below may have been deleted, if everything there was.
			if missing != nil && (last != nil || by[of.tp].low == 0) {
				h.report(Finding{Reorder, fmt.Sprintf("%s: %s is at %d, and %s, sent before it, is nowhere", of.tp, r.id, s.offset, missing.id)})
			}
			last, missing = r, nil
		}
	}
}

// checkReads wants everything that was ever read.
func (h *History) checkReads(by map[karst.TopicPartition]*final, gone func(karst.TopicID) bool) {
	for tp, f := range by {
		there := make(map[int64]ID, len(f.records))
		for _, s := range f.records {
			there[s.offset] = s.id
		}
		for s, id := range h.reads {
			if s.tp != tp || s.at < f.low {
				continue
			}
			if now, ok := there[s.at]; !ok {
				h.report(Finding{Vanished, fmt.Sprintf("%s: %s was read at %d; the log is [%d, %d)", tp, id, s.at, f.low, f.high)})
			} else if now != id {
				h.report(Finding{Changed, fmt.Sprintf("%s: %s was read at %d, where %s is", tp, id, s.at, now)})
			}
		}
	}
	for s := range h.reads {
		if by[s.tp] == nil && !gone(s.tp.Topic) {
			h.report(Finding{Vanished, fmt.Sprintf("%s was read, and is gone", s.tp)})
		}
	}
}

// checkShown wants watermarks and log starts that never go back (I5), and that
// show what was acknowledged before the fetch was sent.
func (h *History) checkShown(by map[karst.TopicPartition]*final, at map[ID]stored) {
	shows := map[karst.TopicPartition][]shown{}
	for _, s := range h.shown {
		shows[s.tp] = append(shows[s.tp], s)
	}
	acks := map[karst.TopicPartition][]*sent{}
	for _, r := range h.records {
		if _, ok := at[r.id]; ok && r.outcome == acknowledged {
			acks[r.tp] = append(acks[r.tp], r)
		}
	}
	for tp, all := range shows {
		if f := by[tp]; f != nil {
			for _, s := range all {
				if s.high > f.high || s.logStart > f.low {
					h.report(Finding{Backwards, fmt.Sprintf("%s: shown [%d, %d) at epoch %d, at the end [%d, %d)", tp, s.logStart, s.high, s.epoch, f.low, f.high)})
				}
			}
		}
		h.checkMonotonic(tp, all)
		h.checkFresh(tp, all, acks[tp], at)
	}
}

func (h *History) checkMonotonic(tp karst.TopicPartition, all []shown) {
	slices.SortFunc(all, func(a, b shown) int { return cmp.Compare(a.answered, b.answered) })
	// Between epochs: no watermark of an epoch is below one of an earlier epoch.
	most, least := map[int32]shown{}, map[int32]shown{}
	var epochs []int32
	for _, s := range all {
		if s.epoch < 0 {
			continue
		}
		if m, ok := most[s.epoch]; !ok {
			most[s.epoch], least[s.epoch] = s, s
			epochs = append(epochs, s.epoch)
		} else {
			if s.high > m.high {
				most[s.epoch] = s
			}
			if s.high < least[s.epoch].high {
				least[s.epoch] = s
			}
		}
	}
	slices.Sort(epochs)
	for i := 1; i < len(epochs); i++ {
		if a, b := most[epochs[i-1]], least[epochs[i]]; b.high < a.high {
			h.report(Finding{Backwards, fmt.Sprintf("%s: watermark %d in epoch %d (%s), %d in epoch %d (%s)", tp, a.high, a.epoch, a.source, b.high, b.epoch, b.source)})
		}
	}
	// Within an epoch: in the order of time, where that is certain. bySent keeps,
	// for each epoch, the greatest values answered so far.
	bySent := slices.Clone(all)
	slices.SortFunc(bySent, func(a, b shown) int { return cmp.Compare(a.sent, b.sent) })
	high, start := map[int32]int64{}, map[int32]int64{}
	next := 0
	for _, s := range bySent {
		for ; next < len(all) && all[next].answered < s.sent; next++ {
			e := all[next].epoch
			high[e], start[e] = max(high[e], all[next].high), max(start[e], all[next].logStart)
		}
		if s.epoch >= 0 && (s.high < high[s.epoch] || s.logStart < start[s.epoch]) {
			h.report(Finding{Backwards, fmt.Sprintf("%s, epoch %d: shown [%d, %d) by %s after start %d and watermark %d", tp, s.epoch, s.logStart, s.high, s.source, start[s.epoch], high[s.epoch])})
		}
	}
}

// checkFresh wants a fetch to show every record that was acknowledged before it
// was sent, if it asked a leader of the record's epoch or a later one.
func (h *History) checkFresh(tp karst.TopicPartition, all []shown, acks []*sent, at map[ID]stored) {
	slices.SortFunc(acks, func(a, b *sent) int { return cmp.Compare(a.at, b.at) })
	bySent := slices.Clone(all)
	slices.SortFunc(bySent, func(a, b shown) int { return cmp.Compare(a.sent, b.sent) })
	highest := map[int32]stored{} // by epoch of the record
	next := 0
	for _, s := range bySent {
		for ; next < len(acks) && acks[next].at < s.sent; next++ {
			r := at[acks[next].id]
			if r.offset >= highest[r.epoch].offset {
				highest[r.epoch] = r
			}
		}
		for epoch, r := range highest {
			if s.epoch >= epoch && s.high <= r.offset {
				h.report(Finding{Stale, fmt.Sprintf("%s: %s was acknowledged at %d (epoch %d); a later fetch from %s at epoch %d shows watermark %d", tp, r.id, r.offset, epoch, s.source, s.epoch, s.high)})
			}
		}
	}
}

// checkDeletions wants deleted what was acknowledged as deleted, and nothing
// that nobody asked for.
func (h *History) checkDeletions(by map[karst.TopicPartition]*final) {
	least, most := map[karst.TopicPartition]int64{}, map[karst.TopicPartition]int64{}
	for _, d := range h.deletions {
		if d.outcome == acknowledged {
			least[d.tp] = max(least[d.tp], d.low)
			if d.low < d.before {
				h.report(Finding{Undeleted, fmt.Sprintf("%s: deletion below %d was acknowledged with low watermark %d", d.tp, d.before, d.low)})
			}
		}
		if d.outcome != refused {
			most[d.tp] = max(most[d.tp], d.before)
		}
	}
	for tp, f := range by {
		if f.low < least[tp] {
			h.report(Finding{Undeleted, fmt.Sprintf("%s: deleted below %d; the log is [%d, %d)", tp, least[tp], f.low, f.high)})
		}
		if f.low > most[tp] && !f.retained {
			h.report(Finding{Overdeleted, fmt.Sprintf("%s: the log is [%d, %d); at most what is below %d was to be deleted", tp, f.low, f.high, most[tp])})
		}
	}
}
