package group

import (
	"time"

	"github.com/karst-io/karst/internal/coordinator"
)

// effectBytes is how much of records one effect holds at most, unless a single
// record is larger: what depends on all of them waits for all, so that large
// operations need not be one batch.
const effectBytes = 256 << 10

// step collects what one operation on one group has for effect.
type step struct {
	now     time.Time
	key     string
	lazy    bool
	effects []coordinator.Effect
	size    int // bytes of records in the last effect
	spare   [1]coordinator.Effect
}

func begin(now time.Time, group string) *step { return &step{now: now, key: group} }

func (s *step) last() *coordinator.Effect {
	if s.effects == nil {
		s.spare[0] = coordinator.Effect{Key: s.key, Lazy: s.lazy}
		s.effects = s.spare[:]
	}
	return &s.effects[len(s.effects)-1]
}

func (s *step) record(r coordinator.Record) {
	e := s.last()
	size := len(r.Key) + len(r.Value)
	if len(e.Records) > 0 && s.size+size > effectBytes {
		s.effects = append(s.effects, coordinator.Effect{Key: s.key, Lazy: s.lazy})
		e, s.size = s.last(), 0
	}
	e.Records = append(e.Records, r)
	s.size += size
}

func (s *step) answer(to coordinator.Ticket, body any) {
	e := s.last()
	e.Answers = append(e.Answers, coordinator.Answer{To: to, Body: body})
}

// done is what the operation had for effect; its answers are in the last one
// that has records, so that they wait for all of them.
func (s *step) done() []coordinator.Effect {
	if n := len(s.effects); n > 1 {
		for i := range s.effects[:n-1] {
			e := &s.effects[i]
			s.effects[n-1].Answers = append(s.effects[n-1].Answers, e.Answers...)
			e.Answers = nil
		}
	}
	return s.effects
}

// doneWith answers and ends the step.
func (s *step) doneWith(to coordinator.Ticket, body any) []coordinator.Effect {
	s.answer(to, body)
	return s.done()
}
