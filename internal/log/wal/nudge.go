package wal

// nudge says what Gather is said to have.
type nudge uint32

const (
	notNudged    nudge = iota
	nudgedLazily       // something that may wait for Config.LazyInterval
	nudgedNow          // something that waits as an append does
)

// Nudge says that Gather has something to add: a segment is to start for it, as
// if it had been appended. A lazy one may wait for other segments, until
// Config.LazyInterval has passed since the start of the last one. It is cheap to
// say it again, never blocks, and after the end does nothing.
func (w *WAL) Nudge(lazy bool) {
	want := nudgedNow
	if lazy && w.config.LazyInterval > 0 {
		want = nudgedLazily
	}
	for {
		is := nudge(w.nudged.Load())
		if is >= want {
			return
		}
		if w.nudged.CompareAndSwap(uint32(is), uint32(want)) {
			w.poke()
			return
		}
	}
}

// gather lets the owner of what was nudged add it. A nudge that comes meanwhile
// stays: what it is about may have been too late.
func (r *runner) gather() {
	r.nudged.Store(uint32(notNudged))
	if r.config.Gather != nil {
		r.config.Gather()
	}
}
