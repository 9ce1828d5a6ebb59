package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// run is one measurement: the clock of its window and what is counted in it.
type run struct {
	settings Settings
	began    time.Time // the senders' schedules start here
	from     time.Time // the window's begin
	until    atomic.Int64
	full     chan struct{} // closed when --bytes have been moved
	fullOnce sync.Once
	progress io.Writer

	records, payload, batches, requests, dropped atomic.Int64
	ack, endToEnd, fetch                         recorder
	errors                                       tally
}

const unending = int64(1<<63 - 1)

// begin starts the clock now.
func begin(s Settings, progress io.Writer) *run {
	r := &run{settings: s, began: time.Now(), full: make(chan struct{}), progress: progress}
	r.from = r.began.Add(s.Warmup)
	r.until.Store(unending)
	if s.Bytes == 0 {
		r.until.Store(int64(s.Warmup + s.Duration))
	}
	return r
}

// inside says whether t is in the window.
func (r *run) inside(t time.Time) bool {
	return !t.Before(r.from) && int64(t.Sub(r.began)) < r.until.Load()
}

// moved counts what was answered at t.
func (r *run) moved(t time.Time, records, payload, batches int64) {
	if !r.inside(t) {
		return
	}
	r.requests.Add(1)
	r.records.Add(records)
	r.batches.Add(batches)
	total := r.payload.Add(payload)
	if payload == 0 {
		total = r.batches.Load()
	}
	if limit := int64(r.settings.Bytes); limit > 0 && total >= limit {
		r.fill()
	}
}

// fill ends the window now.
func (r *run) fill() { r.fullOnce.Do(func() { close(r.full) }) }

// latency records a latency if its record was due in the window.
func (r *run) latency(to *recorder, due, now time.Time) {
	if r.inside(due) {
		to.record(now.Sub(due))
	}
}

// abandoned records a request or record that will never be answered, at the age
// it has: leaving it out would hide the stall that caused it.
func (r *run) abandoned(kind string, due, now time.Time) {
	if r.inside(due) {
		r.ack.record(now.Sub(due))
		r.errors.addKind(kind, 1)
	}
}

func (r *run) logf(format string, args ...any) {
	if r.progress != nil {
		_, _ = fmt.Fprintf(r.progress, format+"\n", args...) // progress is for people
	}
}

// during runs the load, which sends until its first context ends and returns
// when everything is answered, and measures it.
func (r *run) during(ctx context.Context, m *meter, load func(send context.Context) error) (*Report, error) {
	send, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- load(send) }()
	finish := func(cause error) (*Report, error) {
		stop()
		return nil, errors.Join(cause, <-done)
	}
	select {
	case err := <-done: // before the window began
		return nil, errors.Join(errors.New("the load ended during the warm-up"), err)
	case <-time.After(time.Until(r.from)):
	case <-ctx.Done():
		return finish(ctx.Err())
	}
	fresh := m.reset()
	first, err := m.mark()
	if err != nil {
		return finish(err)
	}
	var early bool
	var loadErr error
	var end <-chan time.Time
	if r.settings.Duration > 0 {
		end = time.After(time.Until(r.from.Add(r.settings.Duration)))
	}
	select {
	case loadErr = <-done:
		early = true
	case <-r.full:
	case <-end:
	case <-ctx.Done():
		return finish(ctx.Err())
	}
	now := time.Now()
	r.until.Store(min(r.until.Load(), int64(now.Sub(r.began))))
	last, err := m.mark()
	if err != nil {
		return finish(err)
	}
	stop()
	if !early {
		loadErr = <-done
	}
	if loadErr != nil {
		return nil, loadErr
	}
	return r.report(m, first, last, now, fresh)
}

func (r *run) report(m *meter, first, last mark, end time.Time, fresh bool) (*Report, error) {
	rep := &Report{
		Label: r.settings.Label, Started: r.began, Settings: r.settings,
		Seconds: end.Sub(r.from).Seconds(),
		Records: r.records.Load(), PayloadBytes: r.payload.Load(), BatchBytes: r.batches.Load(), Requests: r.requests.Load(),
		Dropped: r.dropped.Load(), Latency: map[string]Latency{}, Errors: r.errors.counts(), PeakFresh: fresh,
	}
	rep.rates()
	for name, rec := range map[string]*recorder{"ack": &r.ack, "end to end": &r.endToEnd, "fetch": &r.fetch} {
		if h := rec.snapshot(); h.Count() > 0 {
			rep.Latency[name] = h.Summary()
		}
	}
	var err error
	rep.Broker, rep.Client, err = m.usage(first, last, rep.bytes())
	return rep, err
}
