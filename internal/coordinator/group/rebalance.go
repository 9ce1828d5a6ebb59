package group

import (
	"slices"
	"time"
)

// leastWait is the shortest time between two attempts to complete a join that no
// member came to: members may ask for a rebalance timeout of 0.
const leastWait = 100 * time.Millisecond

// rebalanceOrComplete starts a rebalance, or completes one if everybody is there.
func (m *Machine) rebalanceOrComplete(s *step, g *group) {
	if g.state != statePreparing {
		m.prepareRebalance(s, g)
	} else {
		m.maybeCompleteJoin(s, g)
	}
}

// prepareRebalance asks the members to join again.
func (m *Machine) prepareRebalance(s *step, g *group) {
	if g.state == stateCompleting {
		m.cancelSync(s, g, rebalanceInProgress())
	}
	m.endSyncWait(g)
	initial := g.state == stateEmpty
	m.transition(s.now, g, statePreparing)
	switch {
	case initial:
		// Give others time to come, so that the first generation is not one of many.
		g.joined = false
		g.join.kind = timerInitial
		g.join.delay = m.cfg.InitialDelay
		g.join.remaining = max(0, g.rebalanceTimeout()-m.cfg.InitialDelay)
		m.timers.schedule(&g.join, s.now.Add(g.join.delay))
	case g.allJoined():
		m.completeJoin(s, g)
	default:
		m.awaitJoins(s, g, g.rebalanceTimeout())
	}
}

func (m *Machine) awaitJoins(s *step, g *group, wait time.Duration) {
	g.join.kind = timerJoin
	m.timers.schedule(&g.join, s.now.Add(wait))
}

// initialDelayOver completes the first rebalance, or waits on if members came,
// but never longer than the members' rebalance timeout in all.
func (m *Machine) initialDelayOver(s *step, g *group) {
	t := &g.join
	if !g.joined || t.remaining == 0 {
		m.completeJoin(s, g)
		return
	}
	g.joined = false
	delay := min(m.cfg.InitialDelay, t.remaining)
	t.remaining = max(0, t.remaining-t.delay)
	t.delay = delay
	m.timers.schedule(t, s.now.Add(delay))
}

// maybeCompleteJoin completes the join when everybody is there, but for the first
// one of a group, which takes its time.
func (m *Machine) maybeCompleteJoin(s *step, g *group) {
	if g.state == statePreparing && g.previous != stateEmpty && g.allJoined() {
		m.completeJoin(s, g)
	}
}

// completeJoin begins the next generation, with the members that joined and the
// static ones.
func (m *Machine) completeJoin(s *step, g *group) {
	m.timers.cancel(&g.join)
	for _, mb := range slices.Backward(g.members) {
		if mb.join == 0 && !mb.static() {
			m.remove(s, g, mb)
		}
	}
	if !g.electJoined() && len(g.members) > 0 {
		// Only static members are left, and none of them joined. They keep their
		// places until their sessions end.
		m.awaitJoins(s, g, max(leastWait, g.rebalanceTimeout()))
		return
	}
	g.generation++
	m.counts.Rebalances++
	g.protocol, g.unsynced = nil, nil
	if len(g.members) == 0 {
		g.subscribe()
		m.transition(s.now, g, stateEmpty)
		record, _ := m.groupRecord(g)
		s.record(record)
		return
	}
	protocol := g.elect()
	g.protocol = &protocol
	g.subscribe()
	m.transition(s.now, g, stateCompleting)
	g.unsynced = make(map[string]struct{}, len(g.members))
	for _, mb := range g.members {
		m.endJoin(s, g, mb, g.generationFor(mb))
		m.renew(s, mb, mb.session)
		mb.fresh = false
		g.unsynced[mb.id] = struct{}{}
	}
	m.timers.schedule(&g.sync, s.now.Add(g.rebalanceTimeout()))
}
