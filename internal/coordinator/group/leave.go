package group

import (
	"time"

	"github.com/karst-io/karst/internal/coordinator"
)

// Leave is LeaveGroup, by the members themselves or by an administrator.
func (m *Machine) Leave(now time.Time, t coordinator.Ticket, r LeaveRequest) []coordinator.Effect {
	s := begin(now, r.Group)
	if err := memberGroupIDError(r.Group); err != nil {
		return s.doneWith(t, LeaveAnswer{Err: err})
	}
	g := m.groups[r.Group]
	a := LeaveAnswer{Members: make([]LeftMember, len(r.Members))}
	left := false
	for i, l := range r.Members {
		err := unknownMember()
		if g != nil {
			err = m.leave(s, g, l)
		}
		a.Members[i] = LeftMember{Member: l.Member, Instance: l.Instance, Err: err}
		left = left || err == nil
	}
	if r.Single && len(a.Members) == 1 {
		a.Err = a.Members[0].Err
	}
	if left {
		switch g.state {
		case stateStable, stateCompleting:
			m.prepareRebalance(s, g)
		case statePreparing:
			m.maybeCompleteJoin(s, g)
		case stateEmpty:
		}
	}
	return s.doneWith(t, a)
}

func (m *Machine) leave(s *step, g *group, l LeavingMember) error {
	if l.Member == "" {
		// An administrator knows the instance id alone.
		if l.Instance == nil || g.byName[*l.Instance] == nil {
			return unknownMember()
		}
		m.remove(s, g, g.byName[*l.Instance])
		return nil
	}
	if g.pending[l.Member] != nil {
		m.forgetPending(g, l.Member)
		return nil
	}
	mb, err := g.lookup(l.Member, l.Instance)
	if err != nil {
		return err
	}
	m.remove(s, g, mb)
	return nil
}
