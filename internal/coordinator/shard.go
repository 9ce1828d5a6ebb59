package coordinator

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
)

// shard is one machine at one leadership of its partition. When either ends the
// shard does, and another is made.
type shard[M Machine] struct {
	r     *Runtime[M]
	id    karst.TopicPartition
	epoch karst.Epoch
	after Commit // what the shard before it appended; loaded once that is known

	// The Runtime's, under its mu.
	queued, wanted bool

	mu      sync.Mutex
	phase   phase
	gone    bool               // end has been called
	away    bool               // the partition is offered to another leader
	cancel  context.CancelFunc // of the load under way; nil if none
	machine M
	tickets Ticket
	calls   map[Ticket]*Call
	pending []*batch          // not durable, in order; the last one may be open
	numbers uint64            // of the newest batch
	open    bool              // the last of pending is not appended yet
	changed map[string]uint64 // keys with records that are not durable: their newest batch
	last    Commit            // of the newest append; nil if none
	attempt int               // loads and appends that failed in a row
	due     time.Time         // when the Runtime will look at the deadline; zero: not
}

// phase is where a shard is in its life.
type phase uint8

const (
	loading phase = iota
	active
	ended
)

// batch is records that share a record batch, and the answers that wait for it.
type batch struct {
	number  uint64
	builder *record.Builder // nil once appended
	bytes   int64
	keys    []string // that it is the newest batch of, or was
	answers []Answer
}

// errPanic: an operation panicked. Whoever isolates that may go on; the state
// may be half changed, and is loaded anew.
var errPanic = errors.New("an operation panicked")

// do runs an operation, if it is at most the one of that number that waits. The
// errors are definite.
func (s *shard[M]) do(fresh bool, most int, op func(m M, now time.Time, t Ticket) []Effect) (*Call, error) {
	returned := false
	defer func() {
		if !returned {
			s.fail(errPanic)
		}
	}()
	c, out, err := func() (c *Call, out outcome, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.admit(most); err != nil {
			return nil, outcome{}, err
		}
		s.tickets++
		t := s.tickets
		c = &Call{done: make(chan struct{})}
		if fresh {
			s.r.proofs.begin(c)
		}
		c.forget = func() { s.forget(t) }
		s.calls[t] = c
		now := time.Now()
		out = s.step(now, func() []Effect { return op(s.machine, now, t) })
		return c, out, nil
	}()
	returned = true
	if err != nil {
		if s.phaseNow() == loading {
			s.r.want(s)
		}
		return nil, err
	}
	s.finish(out)
	return c, nil
}

// admit checks that an operation may run. The caller holds mu.
func (s *shard[M]) admit(most int) error {
	if s.away {
		return s.r.notCoordinator(int32(s.id.Partition))
	}
	switch s.phase {
	case loading:
		return karst.CoordinatorLoading.Errorf("partition %d is being loaded", s.id.Partition)
	case ended:
		return s.r.notCoordinator(int32(s.id.Partition))
	case active:
	}
	if s.r.bytes.Load() >= s.r.cfg.PendingBytes {
		return karst.CoordinatorNotAvailable.Errorf("%d bytes wait for the store", s.r.bytes.Load())
	}
	if s.r.calls.Add(1) > int64(most) {
		s.r.calls.Add(-1)
		return karst.CoordinatorNotAvailable.Errorf("more than %d requests wait for their answers", most)
	}
	return nil
}

// outcome is what is left to do after a step, when mu is free.
type outcome struct {
	ready  []finished
	added  bool // records
	urgent bool
	opened bool // a batch
	failed error
	due    time.Time // not zero: the deadline moved forward
}

// step runs a part of the machine and takes its effects. The caller holds mu. A
// panic of the machine ends the shard.
func (s *shard[M]) step(now time.Time, f func() []Effect) (out outcome) {
	whole := false
	defer func() {
		if !whole {
			s.phase = ended
		}
	}()
	for _, e := range f() {
		s.take(now, &e, &out)
	}
	if d := s.machine.Deadline(); !d.IsZero() && (s.due.IsZero() || d.Before(s.due)) {
		s.due, out.due = d, d
	}
	whole = true
	return out
}

// take puts an effect's records into the open batch, and its answers behind the
// newest batch of its key. The caller holds mu.
func (s *shard[M]) take(now time.Time, e *Effect, out *outcome) {
	if s.phase == ended { // an append was refused
		return
	}
	if len(e.Records) > 0 {
		if err := s.add(now, e, out); err != nil {
			out.failed = err
			return
		}
		out.added = true
		out.urgent = out.urgent || !e.Lazy
	}
	if len(e.Answers) == 0 {
		return
	}
	if number, waits := s.changed[e.Key]; waits {
		b := s.pending[number-s.pending[0].number]
		b.answers = append(b.answers, e.Answers...)
		return
	}
	out.ready = s.ready(out.ready, e.Answers)
}

// ready adds the calls of answers that may be given. The caller holds mu.
func (s *shard[M]) ready(to []finished, answers []Answer) []finished {
	for _, a := range answers {
		if c := s.calls[a.To]; c != nil { // otherwise abandoned
			delete(s.calls, a.To)
			s.r.calls.Add(-1)
			to = append(to, finished{c, a.Body})
		}
	}
	return to
}

// recordOverhead is what a record takes beside its key and value, at most.
const recordOverhead = 24

// add puts the records of an effect into the open batch: all into one, so that
// they become durable together. The caller holds mu.
func (s *shard[M]) add(now time.Time, e *Effect, out *outcome) error {
	var bytes int64
	for _, r := range e.Records {
		bytes += int64(len(r.Key)) + int64(len(r.Value)) + recordOverhead
	}
	if s.open && s.pending[len(s.pending)-1].bytes+bytes > s.r.cfg.BatchBytes {
		if err := s.seal(); err != nil {
			return err
		}
	}
	if !s.open {
		s.numbers++
		builder := record.NewBuilder(nil)
		builder.Epoch = s.epoch
		s.pending = append(s.pending, &batch{number: s.numbers, builder: builder})
		s.open, out.opened = true, true
	}
	b := s.pending[len(s.pending)-1]
	for _, r := range e.Records {
		b.builder.Append(karst.Timestamp(now.UnixMilli()), r.Key, r.Value)
	}
	b.bytes += bytes
	s.r.bytes.Add(bytes)
	s.r.counts.records.Add(uint64(len(e.Records)))
	if s.changed[e.Key] != b.number {
		s.changed[e.Key] = b.number
		b.keys = append(b.keys, e.Key)
	}
	return nil
}

// seal appends the open batch to the log. The caller holds mu, so that batches
// enter it in order. A batch that is refused must have no successor in the log:
// the shard ends at once.
func (s *shard[M]) seal() error {
	b := s.pending[len(s.pending)-1]
	s.open = false
	encoded, err := b.builder.Bytes()
	b.builder = nil
	var commit Commit
	if err == nil {
		commit, err = s.r.log.Append(s.id, encoded)
	}
	if err != nil {
		s.phase = ended
		return err
	}
	s.last = commit
	s.r.counts.batches.Add(1)
	s.r.fly(flight[M]{commit: commit, shard: s, number: b.number})
	return nil
}

// finish does what is left after a step. The caller does not hold mu.
func (s *shard[M]) finish(out outcome) {
	if out.failed != nil {
		s.fail(out.failed)
	}
	finish(out.ready)
	if out.opened {
		s.r.opened(s)
	}
	if out.added {
		s.r.log.Nudge(!out.urgent)
	}
	if !out.due.IsZero() {
		s.r.schedule(s, out.due)
	}
}

// gather appends the open batch, if there is one.
func (s *shard[M]) gather() {
	s.mu.Lock()
	var err error
	if s.open && s.phase == active {
		err = s.seal()
	}
	s.mu.Unlock()
	if err != nil {
		s.fail(err)
	}
}

// offer ends what callers can do here, and appends the open batch.
func (s *shard[M]) offer() {
	s.mu.Lock()
	s.away = true
	s.mu.Unlock()
	s.gather()
}

// confirmed takes the end of the commit of a batch: all up to it are durable, or
// err says why that is not known.
func (s *shard[M]) confirmed(number uint64, err error) {
	if err != nil {
		s.fail(err)
		return
	}
	s.mu.Lock()
	s.attempt = 0
	var ready []finished
	for len(s.pending) > 0 && s.pending[0].number <= number {
		b := s.pending[0]
		s.pending[0] = nil
		s.pending = s.pending[1:]
		s.r.bytes.Add(-b.bytes)
		for _, key := range b.keys {
			if s.changed[key] == b.number {
				delete(s.changed, key)
			}
		}
		ready = s.ready(ready, b.answers)
	}
	s.mu.Unlock()
	finish(ready)
}

// expire does what is due.
func (s *shard[M]) expire(now time.Time) {
	s.mu.Lock()
	var out outcome
	if s.phase == active && !s.away {
		s.due = time.Time{}
		out = s.step(now, func() []Effect {
			if d := s.machine.Deadline(); d.IsZero() || d.After(now) {
				return nil // it was put off meanwhile
			}
			return s.machine.Expire(now)
		})
		if !out.due.IsZero() && !out.due.After(now) {
			// A machine that stays due must not keep the others from their turn.
			s.due = now.Add(deadlineStep)
			out.due = s.due
		}
	}
	s.mu.Unlock()
	s.finish(out)
}

// deadlineStep is the least time between two looks at a machine's deadline.
const deadlineStep = time.Millisecond

// each runs f on the machine; false if it is not loaded.
func (s *shard[M]) each(f func(m M)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == active {
		f(s.machine)
	}
	return s.phase != loading
}

// tell runs an operation that nobody waits for, if the machine is loaded.
func (s *shard[M]) tell(op func(m M, now time.Time) []Effect) {
	s.mu.Lock()
	var out outcome
	if s.phase == active && !s.away {
		now := time.Now()
		out = s.step(now, func() []Effect { return op(s.machine, now) })
	}
	s.mu.Unlock()
	s.finish(out)
}

// activate ends the loading with the machine that was loaded.
func (s *shard[M]) activate(m M) {
	s.mu.Lock()
	if s.phase != loading {
		s.mu.Unlock()
		return
	}
	s.phase, s.machine, s.cancel = active, m, nil
	now := time.Now()
	out := s.step(now, func() []Effect {
		effects := m.Start(now)
		if s.r.deps.Loaded != nil {
			effects = append(effects, s.r.deps.Loaded(m, now)...)
		}
		return effects
	})
	s.mu.Unlock()
	s.finish(out)
}

// begin notes that a load begins; false if the shard has ended.
func (s *shard[M]) begin(cancel context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = cancel
	return s.phase == loading
}

// failed notes that a load failed, and says when to try again.
func (s *shard[M]) failed() (delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = nil
	s.attempt++
	return backoff(s.attempt - 1)
}

func (s *shard[M]) phaseNow() phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase
}

// fail ends the shard because its records were refused, or are not known to be
// durable, and loads anew if the partition is still led.
func (s *shard[M]) fail(why error) {
	if s.end() {
		s.r.again(s, why)
	}
}

// end ends the shard: its waiting calls are told to look elsewhere. It reports
// whether that is news.
func (s *shard[M]) end() bool {
	s.mu.Lock()
	news := !s.gone
	s.gone = true
	calls, cancel := s.calls, s.cancel
	s.phase, s.calls, s.cancel, s.open = ended, nil, nil, false
	for _, b := range s.pending {
		s.r.bytes.Add(-b.bytes)
	}
	s.pending, s.changed = nil, nil
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	s.r.calls.Add(-int64(len(calls)))
	s.r.unschedule(s)
	for _, c := range calls {
		c.finish(nil, s.r.notCoordinator(int32(s.id.Partition)))
	}
	return news
}

// forget drops a call that nobody waits for any more.
func (s *shard[M]) forget(t Ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.calls[t]; there {
		delete(s.calls, t)
		s.r.calls.Add(-1)
	}
}
