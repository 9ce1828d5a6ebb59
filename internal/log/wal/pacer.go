package wal

import "time"

// Every mergeEvery-th start in a row that had to wait for the spacing looks
// whether it should join the next burst instead.
const mergeEvery = 16

// pacer decides when the group at the head of the queue starts. It does no I/O
// and reads no clock.
//
// Starts are spaced by MinInterval, except that a full group starts at once. A
// group that had to wait, for the spacing or for an upload slot, starts the
// moment it may: waiting has collected its burst. One that came in a quiet time
// lingers until nothing arrived for a while.
//
// Two refinements keep a closed loop (five requests in flight, the next five
// sent when those are acknowledged) in step, where a put takes a little longer
// than MinInterval:
//
//   - as many appends as were just acknowledged are the whole burst: start;
//   - a loop split in two groups would stay so for ever, each half waiting for
//     the spacing behind the other, at half the throughput. So now and then a
//     start is delayed, by at most LingerMax, until the upload that is about to
//     end brings the other half. An open loop pays a sixteenth of that.
//
// A lazy group, of records that were nudged lazily and nothing else, is spaced by
// LazyInterval. Once anything else joins it, it is a group that just came.
type pacer struct {
	config    Config
	lastStart time.Time // zero: never

	since  time.Time // the group was first seen; zero: no group
	tick   time.Time // last look at how many had arrived
	seen   int       // and how many that was
	waited bool      // it had to wait for the spacing or for a slot
	lazy   bool      // it was lazy at the last look

	waits      int       // starts in a row that had waited
	mergeUntil time.Time // waiting for the other half; zero: not

	ackAt  time.Time
	expect int // appends that complete the burst which follows the acknowledgement

	putTime time.Duration // moving average
}

// look says how long the group at the head is to wait before the next look; 0
// means that it starts now. lazy: it is a lazy group; busy: no slot is free (the
// result is then not used); full: more groups wait behind it. newest is when the
// newest upload that is still running started, zero if there is none.
func (p *pacer) look(now time.Time, count int, bytes int64, lazy, full, busy bool, newest time.Time) time.Duration {
	if p.since.IsZero() || p.lazy && !lazy {
		p.since, p.tick, p.seen, p.waited, p.mergeUntil = now, now, count, false, time.Time{}
	}
	p.lazy = lazy
	if busy {
		p.waited = true
		return time.Hour
	}
	if full || bytes >= int64(p.config.BatchBytes) {
		return 0
	}
	if !p.lastStart.IsZero() {
		interval := p.config.MinInterval
		if lazy {
			interval = max(interval, p.config.LazyInterval)
		}
		if d := p.lastStart.Add(interval).Sub(now); d > 0 {
			p.waited = true
			return d
		}
	}
	if !p.waited {
		return p.linger(now, count)
	}
	return p.merge(now, newest)
}

// linger waits for the end of a burst that came after a quiet time.
func (p *pacer) linger(now time.Time, count int) time.Duration {
	if p.config.Linger <= 0 || count >= p.target(now) {
		return 0
	}
	quantum := max(p.config.Linger/2, 1)
	last := p.since.Add(p.config.LingerMax).Sub(now)
	if next := p.tick.Add(quantum).Sub(now); next > 0 && last > 0 {
		return min(next, last)
	}
	quiet := count == p.seen && now.Sub(p.since) >= p.config.Linger
	if quiet || last <= 0 {
		return 0
	}
	p.tick, p.seen = now, count
	return min(quantum, last)
}

// target is the number of appends at which the burst is known to be complete.
func (p *pacer) target(now time.Time) int {
	if p.expect == 0 || now.Sub(p.ackAt) > p.config.LingerMax {
		return groupCountMax
	}
	return p.expect
}

// merge delays a group that may start, now and then.
func (p *pacer) merge(now, newest time.Time) time.Duration {
	if !p.mergeUntil.IsZero() {
		return max(0, p.mergeUntil.Sub(now))
	}
	if p.waits < mergeEvery || newest.IsZero() || p.putTime == 0 || p.config.Linger <= 0 {
		return 0
	}
	p.waits = 0
	if d := newest.Add(p.putTime).Sub(now); d <= 0 || d > p.config.LingerMax {
		return 0
	}
	p.mergeUntil = now.Add(p.config.LingerMax)
	return p.config.LingerMax
}

// started notes that the group at the head has started.
func (p *pacer) started(now time.Time) {
	if p.waited {
		p.waits++
	} else {
		p.waits = 0
	}
	p.lastStart, p.since, p.mergeUntil, p.waited = now, time.Time{}, time.Time{}, false
}

// vanished notes that there was nothing to start.
func (p *pacer) vanished() {
	p.since, p.mergeUntil, p.waited = time.Time{}, time.Time{}, false
}

// acked notes that acknowledged appends were acknowledged while pending ones
// were in the group at the head, and how long the last upload took.
func (p *pacer) acked(now time.Time, acknowledged, pending int, took time.Duration) {
	if p.putTime == 0 {
		p.putTime = took
	}
	p.putTime += (took - p.putTime) / 8
	p.ackAt, p.expect = now, acknowledged+pending
	if !p.mergeUntil.IsZero() {
		// Here comes the other half.
		p.mergeUntil, p.waited = time.Time{}, false
		p.since, p.tick, p.seen = now, now, pending
	}
}
