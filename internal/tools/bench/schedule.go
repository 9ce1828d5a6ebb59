package bench

import (
	"context"
	"math/bits"
	"time"
)

// schedule says when the items of one sender are due. Item n is due
// (first + n×step) × size ÷ rate after the start, so that several senders
// (step = their number, first = the sender's own) interleave evenly. Times are
// computed, not added up: they do not drift. It knows nothing of answers.
type schedule struct {
	start       time.Time
	rate        int64 // bytes per second, > 0
	size        int64 // bytes per item, > 0
	first, step int64
}

// due is when item n ≥ 0 is to be sent.
func (s schedule) due(n int64) time.Time {
	// 128 bits: a day at 1 GB/s in nanoseconds × bytes does not fit 64.
	hi, lo := bits.Mul64(uint64((s.first+n*s.step)*s.size), uint64(time.Second))
	ns, _ := bits.Div64(hi, lo, uint64(s.rate))
	return s.start.Add(time.Duration(ns))
}

// dueBy is the number of items that are due at t.
func (s schedule) dueBy(t time.Time) int64 {
	if t.Before(s.start) {
		return 0
	}
	hi, lo := bits.Mul64(uint64(t.Sub(s.start)), uint64(s.rate))
	items, _ := bits.Div64(hi, lo, uint64(time.Second)*uint64(s.size))
	n := (int64(items) - s.first) / s.step
	for n = max(n-1, 0); !s.due(n).After(t); n++ { // rounding: at most a few steps
	}
	return n
}

// pacer walks a schedule. The queue it stands for is two numbers, so it costs
// nothing to let items wait; only the most recent queue items may.
type pacer struct {
	schedule
	queue   int64         // items that may wait, > 0
	grace   time.Duration // for sending, after the end, what was due before it
	next    int64
	dropped int64
	ended   time.Time
}

// wait returns the due time of the next item, when it is due. After ctx has
// ended it still returns, for as long as grace allows, what was due until then;
// false if there is nothing left. Items beyond the queue's bound are skipped and
// counted as dropped.
func (p *pacer) wait(ctx context.Context) (time.Time, bool) {
	p.drop(time.Now())
	due := p.due(p.next)
	if !sleepUntil(ctx, due) {
		now := time.Now()
		if p.ended.IsZero() {
			p.ended = now
		}
		if due.After(p.ended) || now.Sub(p.ended) > p.grace {
			return time.Time{}, false
		}
	}
	p.next++
	return due, true
}

// drop skips what does not fit into the queue and returns how many items are due.
func (p *pacer) drop(now time.Time) int64 {
	if !p.ended.IsZero() {
		now = p.ended
	}
	end := p.dueBy(now)
	if late := end - p.next - p.queue; late > 0 {
		p.next += late
		p.dropped += late
	}
	return end
}

// unsent takes the items that are due at the end, or t if that is not known, and
// were not waited for: the sender was stuck when its time was over. They are the latest, at most queue of them.
func (p *pacer) unsent(t time.Time, each func(due time.Time)) {
	end := p.drop(t)
	for ; p.next < end; p.next++ {
		each(p.due(p.next))
	}
}

// sleepUntil is false if ctx ended first.
func sleepUntil(ctx context.Context, t time.Time) bool {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
