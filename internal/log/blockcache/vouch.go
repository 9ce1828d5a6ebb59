package blockcache

import (
	"slices"

	"github.com/karst-io/karst"
)

// vouchedSpans bounds what is remembered of an extent: sequential readers make
// one span of it.
const vouchedSpans = 8

// Vouched reports whether all of the view has been vouched for, by whichever
// readers, since it came from the store.
func (v View) Vouched() bool {
	h, ok := v.Hold.(*viewHold)
	if !ok || h.c == nil {
		return false
	}
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	for i, x := range h.xs {
		part := h.part(i)
		if !slices.ContainsFunc(x.vouched, func(s karst.Span) bool {
			return s.Pos <= part.Pos && part.Pos+part.Len <= s.Pos+s.Len
		}) {
			return false
		}
	}
	return true
}

// Vouch says that the bytes are what they should be, so that no later reader has
// to find out again while they are in memory.
func (v View) Vouch() {
	h, ok := v.Hold.(*viewHold)
	if !ok || h.c == nil {
		return
	}
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	for i, x := range h.xs {
		x.vouched = join(x.vouched, h.part(i))
	}
}

// part is what of the view lies in its i-th extent.
func (h *viewHold) part(i int) karst.Span {
	pos, end := max(h.span.Pos, h.xs[i].pos), h.span.Pos+h.span.Len
	if i+1 < len(h.xs) {
		end = min(end, h.xs[i+1].pos)
	}
	return karst.Span{Pos: pos, Len: end - pos}
}

// join adds a span to spans that are apart and in order. One too many is left
// out: it is checked again.
func join(spans []karst.Span, s karst.Span) []karst.Span {
	from, _ := slices.BinarySearchFunc(spans, s.Pos, func(a karst.Span, pos int64) int {
		if a.Pos+a.Len < pos {
			return -1
		}
		return 1
	})
	to, end := from, s.Pos+s.Len
	for ; to < len(spans) && spans[to].Pos <= end; to++ {
		s.Pos = min(s.Pos, spans[to].Pos)
		end = max(end, spans[to].Pos+spans[to].Len)
	}
	if to == from && len(spans) == vouchedSpans {
		return spans
	}
	s.Len = end - s.Pos
	return slices.Replace(spans, from, to, s)
}
