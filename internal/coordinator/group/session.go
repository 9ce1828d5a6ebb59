package group

import (
	"time"

	"github.com/karst-io/karst/internal/coordinator"
)

// lookup finds the member that a request claims to come from. Who names an
// instance id must be its present owner (KIP-345).
func (g *group) lookup(id string, instance *string) (*member, error) {
	if instance != nil {
		owner := g.byName[*instance]
		if owner == nil {
			return nil, unknownMember()
		}
		if owner.id != id {
			return nil, fencedInstance()
		}
	}
	mb := g.byID[id]
	if mb == nil {
		return nil, unknownMember()
	}
	return mb, nil
}

// renew lets the session of mb end at a later time.
func (m *Machine) renew(s *step, mb *member, after time.Duration) {
	m.timers.schedule(&mb.timer, s.now.Add(after))
}

// Heartbeat keeps a member's session.
func (m *Machine) Heartbeat(now time.Time, t coordinator.Ticket, r HeartbeatRequest) []coordinator.Effect {
	s := begin(now, r.Group)
	return s.doneWith(t, ErrAnswer{m.heartbeat(s, &r)})
}

func (m *Machine) heartbeat(s *step, r *HeartbeatRequest) error {
	if err := memberGroupIDError(r.Group); err != nil {
		return err
	}
	g := m.groups[r.Group]
	if g == nil {
		return unknownMember()
	}
	mb, err := g.lookup(r.Member, r.Instance)
	if err != nil {
		return err
	}
	if r.Generation != g.generation {
		return illegalGeneration()
	}
	m.renew(s, mb, mb.session)
	if g.state == statePreparing {
		return rebalanceInProgress()
	}
	return nil
}

// sessionExpired removes a member that was not heard of, unless it waits for us:
// then its session begins anew with the answer.
func (m *Machine) sessionExpired(s *step, g *group, mb *member) {
	if mb.excused() {
		return
	}
	m.remove(s, g, mb)
	m.afterRemoval(s, g)
}

// pendingExpired takes back a member id that was not used (KIP-394).
func (m *Machine) pendingExpired(s *step, g *group, id string) {
	m.forgetPending(g, id)
	if g.state == statePreparing && g.allJoined() {
		m.completeJoin(s, g)
	}
}

// remove takes mb out of its group. Requests of it that wait are told that it is
// no member any more.
func (m *Machine) remove(s *step, g *group, mb *member) {
	m.endJoin(s, g, mb, refusedJoin("", unknownMember()))
	m.endSync(s, mb, SyncAnswer{Err: unknownMember()})
	m.timers.cancel(&mb.timer)
	g.take(mb)
	m.counts.Members--
}

// afterRemoval does what the group does when it has lost a member.
func (m *Machine) afterRemoval(s *step, g *group) {
	switch g.state {
	case stateStable, stateCompleting:
		m.rebalanceOrComplete(s, g)
	case statePreparing:
		if g.allJoined() {
			m.completeJoin(s, g)
		}
	case stateEmpty:
	}
}
