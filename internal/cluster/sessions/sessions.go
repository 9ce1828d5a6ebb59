// Package sessions decides which incarnations are dead: a pure state machine that
// is told what was heard and when, and says whom to probe and whom to fence.
//
// Liveness is never needed for safety, so it can be quick: where nobody listens
// any more, or another process does, an incarnation is dead at once; one that says
// nothing is dead after the session timeout. But it must not feed on itself:
//
//   - Whoever begins to judge gives everybody a fresh session.
//   - Whoever stood still itself gives everybody a fresh session.
//   - Whoever hears nothing of more than half of the brokers, itself counted,
//     suspects itself: it yields, and fences no one. Only if nobody took its place does it
//     judge them when it comes back.
//
// A broker that answers probes and does not poll is silent: it cannot reach us, so
// it can neither commit nor learn of anything.
package sessions

import (
	"maps"
	"slices"
	"time"

	"github.com/karst-io/karst"
)

// Config is the timing. Zero values mean the defaults.
type Config struct {
	Timeout time.Duration // of silence, after which an incarnation is dead; 6 s
	// Sure says that nobody took our place when we yielded: it is the others.
	Sure bool
}

// suspectAfter is the share of the timeout after which silence is looked into.
const suspectAfter = 3

// probeEvery is the time between probes of a suspect, as a share of the timeout.
const probeEvery = 20

// Answer is what a probe of an incarnation found.
type Answer uint8

// The answers.
const (
	Alive  Answer = iota + 1 // the process answered, as that incarnation
	Gone                     // nobody listens there, or another process does
	Silent                   // no answer
)

func (a Answer) String() string { return [...]string{"?", "alive", "gone", "silent"}[a] }

// session is what is known of one incarnation.
type session struct {
	heard   time.Time // of its last poll, or of the session's beginning
	suspect bool      // to be probed
	probing bool
	probed  time.Time // when the last probe began
	gone    bool
}

// Sessions is the state. It is not safe for concurrent use.
type Sessions struct {
	cfg  Config
	all  map[karst.Incarnation]*session
	last time.Time // of the last Step
}

// New begins to judge.
func New(cfg Config, now time.Time) *Sessions {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 6 * time.Second
	}
	return &Sessions{cfg: cfg, all: map[karst.Incarnation]*session{}, last: now}
}

// Decision is what is to be done now.
type Decision struct {
	Probe []karst.Incarnation // ascending; tell Probed what they answered
	Dead  []karst.Incarnation // ascending; to be fenced
	Yield bool                // give the term up; nobody is to be fenced
}

// Heard notes a poll of an incarnation, its beginning or its end.
func (s *Sessions) Heard(inc karst.Incarnation, now time.Time) {
	if x := s.all[inc]; x != nil {
		x.heard, x.suspect = now, false
	}
}

// Broke notes that the connection of an incarnation broke.
func (s *Sessions) Broke(inc karst.Incarnation) {
	if x := s.all[inc]; x != nil {
		x.suspect, x.probed = true, time.Time{}
	}
}

// Probed notes what a probe found.
func (s *Sessions) Probed(inc karst.Incarnation, a Answer) {
	x := s.all[inc]
	if x == nil {
		return
	}
	x.probing = false
	switch a {
	case Gone:
		x.gone = true
	case Alive:
		x.suspect = false // until it has been silent for longer
	case Silent:
	}
}

// Step judges. live are the live incarnations other than our own.
func (s *Sessions) Step(now time.Time, live []karst.Incarnation) Decision {
	stood := now.Sub(s.last) > s.cfg.Timeout/2
	s.last = now
	s.Follow(now, live)
	var d Decision
	silent := 0
	for _, inc := range slices.Sorted(maps.Keys(s.all)) {
		x := s.all[inc]
		if stood {
			x.heard = now
		}
		quiet := now.Sub(x.heard)
		switch {
		case x.gone:
			d.Dead = append(d.Dead, inc)
			continue
		case quiet >= s.cfg.Timeout:
			d.Dead = append(d.Dead, inc)
			silent++
		}
		if (x.suspect || quiet >= s.cfg.Timeout/suspectAfter) && !x.probing && now.Sub(x.probed) >= s.cfg.Timeout/probeEvery {
			x.probing, x.probed = true, now
			d.Probe = append(d.Probe, inc)
		}
	}
	if 2*silent > len(s.all)+1 && !s.cfg.Sure {
		return Decision{Yield: true}
	}
	return d
}

// Follow begins sessions of who is new, suspects all the same, and ends those of
// who is no more.
func (s *Sessions) Follow(now time.Time, live []karst.Incarnation) {
	for _, inc := range live {
		if s.all[inc] == nil {
			s.all[inc] = &session{heard: now, suspect: true}
		}
	}
	maps.DeleteFunc(s.all, func(inc karst.Incarnation, _ *session) bool { return !slices.Contains(live, inc) })
}
