package sim

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// never is when something is answered that is not.
const never = Tick(math.MaxInt64)

// regWrite is one write of a register; no two write the same value.
type regWrite struct {
	value          int64
	sent, answered Tick
	outcome        outcome
	source         string
}

// regRead is one read that was answered.
type regRead struct {
	value          int64
	sent, answered Tick
	source         string
}

// cluster is a write with the reads that returned it. All of them happen in one
// row, in any order of all values: the write, its reads, then the next write.
type cluster struct {
	write regWrite
	first Tick // the first answer to one of them
	last  Tick // the last request of one of them
	who   string
}

// settled reports whether some of it was over before another part began: then
// the register had the value all the while between.
func (c *cluster) settled() bool { return c.first < c.last }

func (c *cluster) String() string {
	when := fmt.Sprintf("was there at some time from %d to %s", c.last, tickText(c.first))
	if c.settled() {
		when = fmt.Sprintf("was there from %d to %d", c.first, c.last)
	}
	return fmt.Sprintf("%d %s (written by %s, sent at %d and answered at %s; last seen by %s)",
		c.write.value, when, c.write.source, c.write.sent, tickText(c.write.answered), c.who)
}

func tickText(t Tick) string {
	if t == never {
		return "?"
	}
	return fmt.Sprint(int64(t))
}

// checkRegister wants an order of all writes and reads in which each read
// returns the write before it, and what was answered before something else was
// sent comes before it (linearizability). A write of unknown outcome may happen at
// any time after it was sent, or never. initial is what is there at the start.
//
// Values are written once, so that this is enough (Gibbons and Korach, Testing
// Shared Memories): no two values are there at a time, and no value comes and goes
// while another is there.
func checkRegister(initial int64, writes []regWrite, reads []regRead, report func(k Kind, format string, args ...any)) {
	by := map[int64]*cluster{initial: {write: regWrite{value: initial, outcome: acknowledged, source: "nobody"}, who: "nobody"}}
	for _, w := range writes {
		if w.outcome != acknowledged {
			w.answered = never
		}
		by[w.value] = &cluster{write: w, first: w.answered, last: w.sent, who: w.source}
	}
	for _, r := range reads {
		c := by[r.value]
		switch {
		case c == nil || r.answered < c.write.sent:
			report(Corrupt, "%s read %d, which nobody had written", r.source, r.value)
			continue
		case c.write.outcome == refused:
			report(Refused, "%s read %d; %s was told that it was not written", r.source, r.value, c.write.source)
			continue
		}
		c.first = min(c.first, r.answered)
		if r.sent > c.last {
			c.last, c.who = r.sent, r.source
		}
	}
	var held, passing []*cluster // values that were certainly there for a while, and the others
	for _, c := range by {
		switch {
		case c.first == never: // refused or unknown, and never seen
		case c.settled():
			held = append(held, c)
		default:
			passing = append(passing, c)
		}
	}
	slices.SortFunc(held, func(a, b *cluster) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(held); i++ {
		if a, b := held[i-1], held[i]; b.first < a.last {
			report(Older, "%s; %s", a, b)
			if b.last < a.last {
				held[i] = a
			}
		}
	}
	slices.SortFunc(passing, func(a, b *cluster) int { return cmp.Compare(a.last, b.last) })
	next := 0
	for _, h := range held {
		for next < len(passing) && passing[next].last <= h.first {
			next++
		}
		for _, p := range passing[next:] {
			if p.last >= h.last {
				break
			}
			if p.first < h.last {
				report(Older, "%s; %s", h, p)
			}
		}
	}
}
