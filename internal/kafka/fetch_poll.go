package kafka

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
)

// fetchCounts count the work of fetches, to be compared with what changed.
type fetchCounts struct {
	visited atomic.Int64 // partitions looked at
	encoded atomic.Int64 // partitions answered
	cold    atomic.Int64 // reads that needed segments
}

const (
	// coldPatience is how long a fetch that has enough to answer waits for a read
	// of segments, counted from the start of that read: rounds of several
	// partitions are worth a short wait, a stuck store is not.
	coldPatience = 50 * time.Millisecond
	// coldWaitMin is how long a fetch that has nothing to answer waits for such a
	// read, even for a client that said that it does not wait.
	coldWaitMin = time.Second
)

// poll is one fetch being answered.
//
// It visits the partitions that have changed, or that it left unread last time,
// in the order of the session: the first one with data gives at least one batch,
// the others what fits (KIP-74). While that is less than the client wants it
// waits for its subscription, for reads of segments, and for the client's time
// to be over (KIP-227: in an idle session nothing is looked at).
type poll struct {
	d        *records
	r        *Request
	q        *fetchRequest
	draining <-chan struct{}

	s        *session
	visits   []visit
	bytes    int64 // of records found
	reserved int64 // of the reads in progress
	inCold   int   // reads in progress
	granted  bool  // one of them may be larger than the limits
	urgent   bool  // an error, or a divergence: to be told at once
	woken    chan int
}

// visit is what was found at a partition.
type visit struct {
	p        *fetchPartition
	read     *engine.Read // nil with a code
	code     int16
	where    karst.TopicPartition
	cold     *coldRead // in progress, or where the records are from
	reserved int64
	records  *engine.Read // read, or that of cold
	again    bool         // left out for want of room or slots
}

func (v *visit) size() int64 {
	if v.records == nil {
		return 0
	}
	return int64(v.records.Size)
}

// Wait answers the fetch.
func (f *poll) Wait(ctx context.Context) (Response, error) {
	s, code := f.d.sessions.begin(time.Now(), f.q)
	if s == nil {
		f.r.Note(code)
		return &fetchResponse{version: f.q.version, code: code}, nil
	}
	f.s = s
	defer f.d.sessions.end(s)
	if s.id != 0 && s.watch == nil {
		s.subscribe(f.d.log)
	}
	f.pass()
	if err := f.wait(ctx); err != nil {
		f.abandon()
		return nil, err
	}
	return f.answer(ctx), nil
}

// abandon gives up what was found: nobody will be told.
func (f *poll) abandon() {
	for i := range f.visits {
		v := &f.visits[i]
		f.s.touch(v.p)
		f.drop(v)
		v.p.visit = -1
	}
}

// wait blocks until there is enough to answer.
func (f *poll) wait(ctx context.Context) error {
	start := time.Now()
	var timer *time.Timer
	for {
		until, now := f.until(start), time.Now()
		if !now.Before(until) {
			break
		}
		if f.s.watch == nil && f.bytes < f.q.minBytes {
			// A fetch without a session subscribes only when it has to wait, and
			// then looks at everything again: it may have changed in between.
			f.s.subscribe(f.d.log)
			for i := range f.visits {
				f.s.touch(f.visits[i].p)
			}
			f.pass()
			continue
		}
		if timer == nil {
			timer = time.NewTimer(until.Sub(now))
			defer timer.Stop()
		} else {
			timer.Reset(until.Sub(now))
		}
		var changed <-chan struct{}
		if f.s.watch != nil {
			changed = f.s.watch.Wait()
		}
		select {
		case <-changed:
		case <-f.woken:
			f.absorb()
		case <-timer.C:
			continue
		case <-f.draining:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		f.pass()
	}
	f.fill()
	return nil
}

// until is when the fetch is to be answered with what it has.
func (f *poll) until(start time.Time) time.Time {
	over := start.Add(f.q.wait)
	switch {
	case f.s.count == 0:
		return start
	case f.urgent, f.bytes >= f.q.minBytes, f.q.wait <= 0:
		// Enough: wait for the reads that have just begun. Never for none of them,
		// or a partition with an error would keep those in segments from their
		// data for ever.
		soon := start
		for i := range f.visits {
			v := &f.visits[i]
			switch {
			case v.cold == nil || v.records != nil:
			case f.bytes == 0 && !f.urgent:
				soon = later(soon, start.Add(coldWaitMin))
			default:
				soon = later(soon, v.cold.started.Add(coldPatience))
			}
		}
		return soon
	case f.bytes == 0 && f.inCold > 0:
		return later(over, start.Add(coldWaitMin))
	}
	return over
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// pass visits what has changed or is left.
func (f *poll) pass() {
	f.watchNew()
	f.s.collect()
	all := f.s.inOrder()
	f.visits = slices.Grow(f.visits, len(all))
	for _, p := range all {
		p.ready = false
		if !p.changed && f.bytes >= f.q.maxBytes && f.bytes > 0 {
			f.s.keep(p) // unread data, and no room: nothing to learn
			continue
		}
		f.visit(p)
	}
}

// watchNew subscribes to the partitions that are new. They count as changed at
// once; that is taken before they are visited, so that no change is missed and
// none of them is visited twice.
func (f *poll) watchNew() {
	if f.s.watch == nil {
		return
	}
	for _, p := range f.s.ready {
		if !p.ready || p.watched {
			continue
		}
		if where, err := f.find(p); err == nil {
			f.s.watchAt(p, where)
		}
	}
}

func (f *poll) find(p *fetchPartition) (karst.TopicPartition, error) {
	return f.d.find(f.q.version >= 13, p.topic.id, p.topic.name, p.index)
}

// room is how many bytes of records still fit.
func (f *poll) room() int64 { return f.q.maxBytes - f.bytes - f.reserved }

// visit looks at one partition.
func (f *poll) visit(p *fetchPartition) {
	f.d.counts.visited.Add(1)
	p.changed = false
	if p.visit < 0 {
		p.visit = len(f.visits)
		f.visits = append(f.visits, visit{p: p})
	}
	v := &f.visits[p.visit]
	if v.cold != nil && v.records == nil {
		return // its read is in progress; absorb looks at the watermarks again
	}
	f.drop(v)
	where, err := f.find(p)
	v.where = where
	if err == nil {
		f.s.watchAt(p, where)
		err = f.readMemory(v)
	}
	if err != nil {
		f.fail(v, err)
	}
}

// readMemory reads what is in memory, or starts the read of what is not.
func (f *poll) readMemory(v *visit) error {
	req := f.request(v.p)
	read, cold, err := f.d.log.ReadMemory(v.where, req)
	if err != nil {
		return err
	}
	v.read, v.records, v.again = read, read, false
	f.bytes += int64(read.Size)
	f.urgent = f.urgent || read.Diverging != nil
	if cold {
		v.records = nil
		f.startCold(v, req)
	}
	return nil
}

// request asks for what fits.
func (f *poll) request(p *fetchPartition) engine.ReadRequest {
	return engine.ReadRequest{
		Offset: p.offset, MaxBytes: int(max(0, min(int64(p.maxBytes), f.room()))), AtLeastOne: f.bytes == 0,
		CurrentEpoch: p.current, LastFetched: p.last, Committed: f.q.committed,
	}
}

// startCold reads from segments, if the fetch may have one more such read.
func (f *poll) startCold(v *visit, req engine.ReadRequest) {
	if f.granted {
		req.AtLeastOne = false
	}
	if f.inCold >= coldPerFetch || (req.MaxBytes == 0 && !req.AtLeastOne) {
		v.again = true
		return
	}
	if f.woken == nil {
		f.woken = make(chan int, 1)
	}
	f.granted = f.granted || req.AtLeastOne
	f.d.counts.cold.Add(1)
	f.inCold++
	v.reserved = int64(req.MaxBytes)
	f.reserved += v.reserved
	v.cold = f.d.cold.start(v.where, req, f.woken)
}

// absorb takes the results of the reads that are over, and looks again at what
// had to wait for them.
func (f *poll) absorb() {
	taken := false
	for i := range f.visits {
		v := &f.visits[i]
		if v.cold != nil && v.records == nil && v.cold.isReady() {
			f.take(v)
			taken = true
		}
	}
	for i := range f.visits {
		if v := &f.visits[i]; taken && v.again {
			v.again = false
			f.s.keep(v.p)
		}
	}
}

// take makes the result of a read that is over that of its visit. The read may
// be old: leadership and watermarks are asked for again (I5).
func (f *poll) take(v *visit) {
	f.inCold--
	f.reserved -= v.reserved
	v.reserved = 0
	if v.cold.key.req.AtLeastOne {
		f.granted = false
	}
	err := v.cold.err
	if err == nil {
		req := f.request(v.p)
		req.MaxBytes, req.AtLeastOne = 0, false
		v.read.Release()
		v.read = nil
		var read *engine.Read
		if read, _, err = f.d.log.ReadMemory(v.where, req); err == nil {
			v.read = read
			f.urgent = f.urgent || read.Diverging != nil
		}
	}
	if err != nil {
		v.cold.release()
		v.cold = nil
		f.fail(v, err)
		return
	}
	v.records = v.cold.read
	f.bytes += v.size()
}

// fail makes an error the answer of a visit.
func (f *poll) fail(v *visit, err error) {
	f.drop(v)
	v.code = Code(asNamed(f.q.version >= 13, err))
	if v.code == kerr.RequestTimedOut.Code {
		// A read that the store did not answer; nothing is uncertain about a read.
		v.code = kerr.KafkaStorageError.Code
	}
	if v.code == kerr.KafkaStorageError.Code && f.q.version <= 5 {
		v.code = kerr.NotLeaderForPartition.Code // older clients do not know it
	}
	f.urgent = true
	f.r.Note(v.code)
	if code := Code(err); code == kerr.KafkaStorageError.Code || code == kerr.UnknownServerError.Code {
		f.complain(v, err)
	}
}

// complainEvery is how often at most a line is logged about partitions that cannot
// be read, in seconds: their readers try again at once.
const complainEvery = 10

func (f *poll) complain(v *visit, err error) {
	now, next := time.Now().Unix(), f.d.complain.Load()
	if now >= next && f.d.complain.CompareAndSwap(next, now+complainEvery) {
		f.d.logger.Error("kafka: a partition cannot be read", slog.String("topic", v.p.topic.name), slog.String("partition", v.where.String()), slog.Any("err", err))
	}
}

// drop forgets what a visit found.
func (f *poll) drop(v *visit) {
	f.bytes -= v.size()
	if v.cold != nil {
		if v.records == nil {
			f.inCold--
			f.reserved -= v.reserved
			if v.cold.key.req.AtLeastOne {
				f.granted = false
			}
		}
	}
	v.release()
	*v = visit{p: v.p, where: v.where}
}

func (v *visit) release() {
	if v.cold != nil {
		v.cold.release()
	}
	if v.read != nil {
		v.read.Release()
	}
}

// fill gives the room that unfinished reads had reserved to those who have their
// data in memory: a slow store keeps nobody else back (O11).
func (f *poll) fill() {
	f.absorb()
	unfinished := f.inCold > 0
	f.reserved = 0
	for i := range f.visits {
		v := &f.visits[i]
		v.reserved = 0
		if unfinished && v.read != nil && v.cold == nil && v.size() == 0 && f.unread(v) && f.room() > 0 {
			v.read.Release()
			v.read, v.records = nil, nil
			read, cold, err := f.d.log.ReadMemory(v.where, f.request(v.p))
			if err != nil {
				f.fail(v, err)
				continue
			}
			v.read, v.records, v.again = read, read, cold
			f.bytes += v.size()
		}
	}
}

// unread reports whether there is data after what the client has.
func (f *poll) unread(v *visit) bool {
	limit := v.read.HighWatermark
	if f.q.committed {
		limit = v.read.LastStable
	}
	return v.p.offset < limit
}

// answer settles the session and makes the response.
func (f *poll) answer(ctx context.Context) *fetchResponse {
	slices.SortFunc(f.visits, func(a, b visit) int { return cmp.Compare(a.p.turn, b.p.turn) })
	until := time.Now().Add(handOverMax)
	r := &fetchResponse{version: f.q.version, session: f.s.id, answers: make([]fetchAnswer, 0, len(f.visits))}
	for i := range f.visits {
		v := &f.visits[i]
		v.p.visit = -1
		if v.cold != nil && v.records == nil { // still in progress; the next fetch joins it
			v.cold.release()
			v.cold = nil
			f.s.keep(v.p)
		}
		if f.tell(v) {
			r.answers = append(r.answers, f.answerOf(ctx, until, v, r))
			r.hold(v)
		} else {
			v.release()
		}
		if v.size() > 0 {
			f.s.rotate(v.p)
		}
	}
	f.d.counts.encoded.Add(int64(len(r.answers)))
	return r
}

// tell decides whether a partition is in the answer, notes what the client is
// told then, and whether the next fetch has to visit it.
func (f *poll) tell(v *visit) bool {
	p := v.p
	if v.read == nil {
		p.toldHigh = -1
		f.s.keep(p)
		return true
	}
	if v.size() > 0 || v.read.Diverging != nil || f.unread(v) {
		f.s.keep(p)
	}
	tell := !f.s.incremental || v.size() > 0 || v.read.Diverging != nil ||
		v.read.HighWatermark != p.toldHigh || v.read.LogStart != p.toldStart
	p.toldHigh, p.toldStart = v.read.HighWatermark, v.read.LogStart
	return tell
}

func (f *poll) answerOf(ctx context.Context, until time.Time, v *visit, r *fetchResponse) fetchAnswer {
	a := fetchAnswer{topic: v.p.topic, index: v.p.index, code: v.code, high: -1, stable: -1, start: -1, preferred: -1}
	if v.read == nil {
		if r.version >= 16 && (v.code == kerr.NotLeaderForPartition.Code || v.code == kerr.FencedLeaderEpoch.Code) {
			if l, ok := f.d.nextLeader(ctx, until, v.where, v.p.current); ok {
				a.leader = &l
				r.endpoint(l)
			}
		}
		return a
	}
	a.high, a.stable, a.start = v.read.HighWatermark, v.read.LastStable, v.read.LogStart
	a.diverging = v.read.Diverging
	if v.records != nil {
		a.parts, a.size, a.aborted = v.records.Parts, int64(v.records.Size), v.records.Aborted
	}
	if f.q.committed && a.aborted == nil {
		a.aborted = []engine.Aborted{}
	}
	if !f.q.committed {
		a.aborted = nil
	}
	return a
}
