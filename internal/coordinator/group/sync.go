package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
)

// Sync is SyncGroup. The leader's makes the group Stable; the others' wait for it.
func (m *Machine) Sync(now time.Time, t coordinator.Ticket, r SyncRequest) []coordinator.Effect {
	s := begin(now, r.Group)
	g, mb, err := m.syncer(&r)
	if err != nil {
		return s.doneWith(t, SyncAnswer{Err: err})
	}
	switch g.state {
	case stateCompleting:
		// A sync that it made before: Kafka forgets it, for there the client is gone.
		m.endSync(s, mb, SyncAnswer{Err: rebalanceInProgress()})
		mb.sync = t
		m.synced(g, mb)
		if g.leader == mb.id {
			m.assign(s, g, r.Assignments)
		}
	case stateStable:
		m.synced(g, mb)
		s.answer(t, g.assigned(mb))
	case statePreparing, stateEmpty:
		s.answer(t, SyncAnswer{Err: rebalanceInProgress()})
	}
	return s.done()
}

// syncer finds the member that syncs.
func (m *Machine) syncer(r *SyncRequest) (*group, *member, error) {
	if err := memberGroupIDError(r.Group); err != nil {
		return nil, nil, err
	}
	g := m.groups[r.Group]
	if g == nil {
		return nil, nil, unknownMember()
	}
	mb, err := g.lookup(r.Member, r.Instance)
	if err != nil {
		return nil, nil, err
	}
	if r.Generation != g.generation {
		return nil, nil, illegalGeneration()
	}
	// KIP-559: what both know must be the same.
	if r.ProtocolType != nil && g.kind != "" && *r.ProtocolType != g.kind ||
		r.Protocol != nil && g.protocol != nil && *r.Protocol != *g.protocol {
		return nil, nil, inconsistentProtocol()
	}
	return g, mb, nil
}

// assigned tells mb what is its.
func (g *group) assigned(mb *member) SyncAnswer {
	return SyncAnswer{ProtocolType: optional(g.kind), Protocol: g.protocol, Assignment: mb.assignment}
}

// assign makes the group Stable with what the leader decided; who got nothing
// gets nothing. In Kafka that waits for the record; here the answers do.
func (m *Machine) assign(s *step, g *group, assignments []Assignment) {
	for _, mb := range g.members {
		mb.assignment = nil
	}
	for _, a := range assignments { // the last one counts
		if mb := g.byID[a.Member]; mb != nil {
			mb.assignment = bytes.Clone(a.Bytes)
		}
	}
	record, fits := m.groupRecord(g)
	if !fits {
		m.cancelSync(s, g, karst.Unknown.Errorf("The group's metadata do not fit into a record of %d bytes.", m.cfg.recordMax()))
		m.rebalanceOrComplete(s, g)
		return
	}
	s.record(record)
	m.transition(s.now, g, stateStable)
	for _, mb := range g.members {
		if mb.sync != 0 {
			m.endSync(s, mb, g.assigned(mb))
			m.renew(s, mb, mb.session)
		}
	}
}

// cancelSync forgets assignments and ends the syncs that wait.
func (m *Machine) cancelSync(s *step, g *group, err error) {
	for _, mb := range g.members {
		mb.assignment = nil
		if mb.sync != 0 {
			m.endSync(s, mb, SyncAnswer{Err: err})
			m.renew(s, mb, mb.session)
		}
	}
}

// endSync answers the waiting sync of mb, if there is one.
func (m *Machine) endSync(s *step, mb *member, a SyncAnswer) {
	if mb.sync != 0 {
		s.answer(mb.sync, a)
		mb.sync = 0
	}
}

// synced notes that mb did sync.
func (m *Machine) synced(g *group, mb *member) {
	delete(g.unsynced, mb.id)
	if len(g.unsynced) == 0 {
		m.timers.cancel(&g.sync)
	}
}

// endSyncWait forgets who has not synced.
func (m *Machine) endSyncWait(g *group) {
	g.unsynced = nil
	m.timers.cancel(&g.sync)
}

// syncExpired removes who joined this generation and did not sync.
func (m *Machine) syncExpired(s *step, g *group) {
	if g.state != stateCompleting && g.state != stateStable || len(g.unsynced) == 0 {
		return
	}
	for _, mb := range slices.Backward(g.members) {
		if _, ok := g.unsynced[mb.id]; ok {
			m.remove(s, g, mb)
		}
	}
	m.prepareRebalance(s, g)
}
