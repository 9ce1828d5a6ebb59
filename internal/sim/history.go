package sim

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/karst-io/karst"
)

// Tick orders what clients do: a request that was sent at a later tick than
// another was answered was sent after it. Virtual time is too coarse for that.
type Tick int64

// ID names a record: it is in its value.
type ID struct {
	Producer int32
	N        int64
}

func (id ID) String() string { return fmt.Sprintf("p%d.%d", id.Producer, id.N) }

// idSize is the length of an encoded ID.
const idSize = 12

// value is the value of a record: its ID, and bytes that follow from it.
func (id ID) value(size int) []byte {
	b := make([]byte, idSize, idSize+size)
	binary.BigEndian.PutUint32(b, uint32(id.Producer))
	binary.BigEndian.PutUint64(b[4:], uint64(id.N))
	x := id.seed()
	for range size {
		x = x*1664525 + 1013904223
		b = append(b, byte(x>>24))
	}
	return b
}

func (id ID) seed() uint32 { return uint32(id.Producer)*2654435761 + uint32(id.N)*40503 }

// idOf reads a value back; false if it is none.
func idOf(b []byte) (ID, bool) {
	if len(b) < idSize {
		return ID{}, false
	}
	id := ID{Producer: int32(binary.BigEndian.Uint32(b)), N: int64(binary.BigEndian.Uint64(b[4:]))}
	x := id.seed()
	for _, c := range b[idSize:] {
		x = x*1664525 + 1013904223
		if c != byte(x>>24) {
			return id, false
		}
	}
	return id, true
}

// outcome is what a client knows about what it asked for.
type outcome uint8

const (
	unknown outcome = iota
	acknowledged
	refused // for certain: without effect
)

// sent is one record that was sent.
type sent struct {
	id       ID
	tp       karst.TopicPartition
	run      int64 // the producer's idempotent session; 0 for none
	sequence int64 // in the run and the partition
	outcome  outcome
	offset   int64 // if acknowledged; -1 if not told
	at       Tick  // of the answer
}

// shown is one partition in the answer to one fetch.
type shown struct {
	tp             karst.TopicPartition
	epoch          int32 // the leader epoch that the answer holds for; -1 for any
	sent, answered Tick
	high, logStart int64
	source         string
}

// deletion is one DeleteRecords of one partition.
type deletion struct {
	tp      karst.TopicPartition
	before  int64
	outcome outcome
	low     int64 // as answered
}

// spot is a place in a partition.
type spot struct {
	tp karst.TopicPartition
	at int64
}

// History is everything that clients did and saw.
type History struct {
	ticks atomic.Int64

	mu        sync.Mutex
	records   map[ID]*sent
	shown     []shown
	reads     map[spot]ID
	deletions []deletion
	groups    groupHistory
	findings  []Finding
	seen      map[string]int // findings by kind and what they are about: each is told once
}

func newHistory() *History {
	return &History{records: map[ID]*sent{}, reads: map[spot]ID{}, seen: map[string]int{}, groups: newGroupHistory()}
}

func (h *History) tick() Tick { return Tick(h.ticks.Add(1)) }

// findingsMax bounds the findings of one kind that are kept.
const findingsMax = 5

// Report adds a finding.
func (h *History) Report(f Finding) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.report(f)
}

func (h *History) report(f Finding) {
	h.seen[f.Kind.String()]++
	if h.seen[f.Kind.String()] <= findingsMax {
		h.findings = append(h.findings, f)
	}
}

func (h *History) reportf(k Kind, format string, args ...any) {
	h.Report(Finding{Kind: k, Text: fmt.Sprintf(format, args...)})
}

// Findings are all findings so far.
func (h *History) Findings() []Finding {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Finding(nil), h.findings...)
}

// send notes records before they are sent for the first time.
func (h *History) send(all []*sent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range all {
		h.records[r.id] = r
	}
}

// settle notes what became of records. base is the offset of the first, -1 if
// the answer did not tell.
func (h *History) settle(all []*sent, o outcome, base int64) {
	at := h.tick()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, r := range all {
		r.outcome, r.at, r.offset = o, at, -1
		if o == acknowledged && base >= 0 {
			r.offset = base + int64(i)
		}
	}
}

// read notes what a fetch returned at an offset.
func (h *History) read(tp karst.TopicPartition, offset int64, value []byte, who string) {
	id, ok := idOf(value)
	h.mu.Lock()
	defer h.mu.Unlock()
	if !ok {
		h.report(Finding{Corrupt, fmt.Sprintf("%s read %d bytes at offset %d of %s that nobody wrote", who, len(value), offset, tp)})
		return
	}
	r := h.records[id]
	switch before, known := h.reads[spot{tp, offset}]; {
	case r == nil:
		h.report(Finding{Corrupt, fmt.Sprintf("%s read %s at offset %d of %s, which was never sent", who, id, offset, tp)})
	case r.tp != tp:
		h.report(Finding{Corrupt, fmt.Sprintf("%s read %s at offset %d of %s; it was sent to %s", who, id, offset, tp, r.tp)})
	case known && before != id:
		h.report(Finding{Changed, fmt.Sprintf("%s read %s at offset %d of %s; it was %s before", who, id, offset, tp, before)})
	case r.outcome == refused:
		h.report(Finding{Refused, fmt.Sprintf("%s read %s at offset %d of %s; its producer was told that it was not written", who, id, offset, tp)})
	case !known:
		h.reads[spot{tp, offset}] = id
	}
}

func (h *History) show(s shown) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shown = append(h.shown, s)
}

func (h *History) delete(d deletion) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deletions = append(h.deletions, d)
}

// Acknowledged counts the acknowledged records.
func (h *History) Acknowledged() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.records {
		if r.outcome == acknowledged {
			n++
		}
	}
	return n
}
