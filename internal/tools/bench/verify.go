package bench

import (
	"errors"
	"math/bits"
	"sync"
)

// sequenceMax bounds what a verifier remembers: one bit a record.
const sequenceMax = 1 << 33

// bitmap is a set of sequence numbers.
type bitmap struct {
	words []uint64
	count int64
	end   int64 // one more than the largest member
}

// add is false if n was a member already.
func (b *bitmap) add(n int64) bool {
	w := int(n / 64)
	for w >= len(b.words) {
		b.words = append(b.words, make([]uint64, max(1024, len(b.words)))...)
	}
	bit := uint64(1) << (n % 64)
	if b.words[w]&bit != 0 {
		return false
	}
	b.words[w] |= bit
	b.count++
	b.end = max(b.end, n+1)
	return true
}

// without counts the members that o lacks.
func (b *bitmap) without(o *bitmap) int64 {
	var n int
	for i, w := range b.words {
		if i < len(o.words) {
			w &^= o.words[i]
		}
		n += bits.OnesCount64(w)
	}
	return int64(n)
}

// stream is one producer of one run; lane is its part in one partition.
type (
	stream struct{ run, producer uint32 }
	lane   struct {
		stream
		topic     string
		partition int32
	}
)

// verifier compares what was acknowledged with what was read.
type verifier struct {
	mu      sync.Mutex
	acked   map[stream]*bitmap
	seen    map[stream]*bitmap
	last    map[lane]int64
	foreign int64
	corrupt int64
	doubled int64
	swapped int64
	outside int64 // sequence numbers out of bounds
}

func newVerifier() *verifier {
	return &verifier{acked: map[stream]*bitmap{}, seen: map[stream]*bitmap{}, last: map[lane]int64{}}
}

func member(m map[stream]*bitmap, s stream) *bitmap {
	b := m[s]
	if b == nil {
		b = &bitmap{}
		m[s] = b
	}
	return b
}

// acknowledged notes a record that the broker promised to keep.
func (v *verifier) acknowledged(s stream, n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n < sequenceMax {
		member(v.acked, s).add(n)
	}
}

// read notes a record that was consumed; the header is what its value says.
func (v *verifier) read(topic string, partition int32, value []byte) (header, error) {
	h, err := parseHeader(value)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case errors.Is(err, errForeign):
		v.foreign++
		return h, err
	case err != nil:
		v.corrupt++
		return h, err
	case h.sequence < 0 || h.sequence >= sequenceMax:
		v.outside++
		return h, nil
	}
	s := stream{h.run, h.producer}
	l := lane{s, topic, partition}
	switch before, ok := v.last[l]; {
	case !member(v.seen, s).add(h.sequence):
		v.doubled++
	case ok && h.sequence < before:
		v.swapped++
	default:
		v.last[l] = h.sequence
	}
	return h, nil
}

// complete says whether everything acknowledged was read.
func (v *verifier) complete() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for s, a := range v.acked {
		if member(v.seen, s).count < a.count { // cheap, and wrong only until the last record
			return false
		}
	}
	return v.lost() == 0
}

func (v *verifier) lost() int64 {
	var n int64
	for s, a := range v.acked {
		n += a.without(member(v.seen, s))
	}
	return n
}

// verdict sums up. Without knowledge of acknowledgements, gaps stand in for
// losses: a record whose send failed is one too.
func (v *verifier) verdict() *Verdict {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := &Verdict{Lost: v.lost(), Duplicated: v.doubled, Reordered: v.swapped, Corrupt: v.corrupt, Foreign: v.foreign + v.outside}
	for _, a := range v.acked {
		d.Acknowledged += a.count
	}
	for _, b := range v.seen {
		d.Read += b.count
		d.Gaps += b.end - b.count
	}
	return d
}
