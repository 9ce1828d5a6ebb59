package group

import (
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
)

// What a client can make the machine remember. Kafka has no such bounds.
const (
	// protocolsMax is how many protocols a member may offer; clients offer a few.
	protocolsMax = 64
	// offerRecords is how large the metadata of all its protocols may be together,
	// in records of the largest size: a single one that is larger than a record
	// cannot be chosen.
	offerRecords = 8
	// pendingMax is how many member ids may wait for their use in one group.
	pendingMax = 4096
)

// Join is JoinGroup. It is answered when the rebalance that it starts, or joins,
// goes on to the next generation, or at once if there is none.
func (m *Machine) Join(now time.Time, t coordinator.Ticket, r JoinRequest) []coordinator.Effect {
	s := begin(now, r.Group)
	if err := m.joinError(&r); err != nil {
		return s.doneWith(t, refusedJoin(r.Member, err))
	}
	r.Protocols = distinct(r.Protocols)
	g := m.groups[r.Group]
	if g == nil {
		if r.Member != "" {
			return s.doneWith(t, refusedJoin(r.Member, unknownMember()))
		}
		g = m.create(now, r.Group)
		s.record(newGroupRecord(g))
	}
	switch {
	case !m.accepts(g, r.Member):
		if mb := g.byID[r.Member]; mb != nil {
			m.remove(s, g, mb)
		}
		m.forgetPending(g, r.Member)
		s.answer(t, refusedJoin("", karst.GroupFull.Errorf("The group has reached its maximum size.")))
	case !g.offered(r.ProtocolType, r.Protocols):
		s.answer(t, refusedJoin(r.Member, inconsistentProtocol()))
	case r.Member == "":
		m.joinNew(s, t, g, &r)
	default:
		m.joinAgain(s, t, g, &r)
	}
	return s.done()
}

// joinError checks what does not depend on the group.
func (m *Machine) joinError(r *JoinRequest) error {
	if err := memberGroupIDError(r.Group); err != nil {
		return err
	}
	if r.SessionTimeout < m.cfg.MinSession || r.SessionTimeout > m.cfg.MaxSession {
		return karst.InvalidSessionTimeout.Errorf("The session timeout is not within the range allowed by the broker (as configured by group.min.session.timeout.ms and group.max.session.timeout.ms).")
	}
	return m.offerError(r)
}

// offerError checks the size of what the member offers, which is kept while it is
// a member.
func (m *Machine) offerError(r *JoinRequest) error {
	if len(r.Protocols) > protocolsMax {
		return karst.InvalidRequest.Errorf("The member offers %d protocols; at most %d are allowed.", len(r.Protocols), protocolsMax)
	}
	size := int64(0)
	long := len(r.ProtocolType) > maxString || len(r.Client.ID) > maxString-len("-00000000-0000-0000-0000-000000000000") ||
		r.Instance != nil && len(*r.Instance) > maxString-len("-00000000-0000-0000-0000-000000000000")
	for _, p := range r.Protocols {
		long = long || len(p.Name) > maxString
		size += int64(len(p.Metadata))
	}
	if long {
		return karst.InvalidRequest.Errorf("A name in the request is longer than %d bytes.", maxString)
	}
	if limit := offerRecords * m.cfg.recordMax(); limit > 0 && size > limit {
		return karst.InvalidRequest.Errorf("The member's metadata have %d bytes; at most %d are allowed.", size, limit)
	}
	return nil
}

// refusedJoin answers a join with an error.
func refusedJoin(member string, err error) JoinAnswer {
	return JoinAnswer{Err: err, Generation: -1, Member: member}
}

// accepts says whether there is room. While members join, those that have are
// counted, so that a group that is too large loses the last to come.
func (m *Machine) accepts(g *group, id string) bool {
	mb := g.byID[id]
	switch g.state {
	case statePreparing:
		return mb != nil && mb.join != 0 || g.waiting < m.cfg.MaxSize
	case stateCompleting, stateStable:
		return mb != nil || len(g.members) < m.cfg.MaxSize
	case stateEmpty:
	}
	return true
}

func (m *Machine) joinNew(s *step, t coordinator.Ticket, g *group, r *JoinRequest) {
	if r.Instance != nil {
		id := m.cfg.NewMemberID(*r.Instance)
		if mb := g.byName[*r.Instance]; mb != nil {
			m.replace(s, t, g, mb, id, r)
		} else {
			m.addMember(s, t, g, id, r)
		}
		return
	}
	id := m.cfg.NewMemberID(r.Client.ID)
	if !r.NeedMemberID {
		m.addMember(s, t, g, id, r)
		return
	}
	if len(g.pending) >= pendingMax {
		s.answer(t, refusedJoin("", karst.CoordinatorNotAvailable.Errorf("%d members are about to join the group.", pendingMax)))
		return
	}
	if g.pending == nil {
		g.pending = map[string]*timer{}
	}
	pending := &timer{kind: timerPending, group: g, id: id}
	g.pending[id] = pending
	m.timers.schedule(pending, s.now.Add(r.SessionTimeout))
	s.answer(t, refusedJoin(id, karst.MemberIDRequired.Errorf("The group member needs to have a valid member id before actually entering a consumer group.")))
}

// joinAgain is the join of a member that has an id.
func (m *Machine) joinAgain(s *step, t coordinator.Ticket, g *group, r *JoinRequest) {
	if g.pending[r.Member] != nil {
		if r.Instance != nil {
			// Kafka answers the same, by way of an exception.
			s.answer(t, refusedJoin("", karst.Unknown.Errorf("A member id that was given to a dynamic member is used with a group instance id.")))
			return
		}
		m.addMember(s, t, g, r.Member, r)
		return
	}
	mb, err := g.lookup(r.Member, r.Instance)
	if err != nil {
		s.answer(t, refusedJoin(r.Member, err))
		return
	}
	again := false // answered with the generation as it is
	switch g.state {
	case stateCompleting:
		again = mb.offers(r.Protocols)
	case stateStable:
		// The leader's join forces a rebalance: it may have seen what members'
		// metadata do not show, such as new partitions.
		again = g.leader != mb.id && mb.offers(r.Protocols)
	case statePreparing:
	case stateEmpty:
		panic("BUG: an Empty group has a member")
	}
	if again {
		s.answer(t, g.generationFor(mb))
		return
	}
	g.update(mb, r)
	m.park(s, g, mb, t)
	m.rebalanceOrComplete(s, g)
}

// generationFor tells mb the generation.
func (g *group) generationFor(mb *member) JoinAnswer {
	a := JoinAnswer{
		Generation:   g.generation,
		ProtocolType: optional(g.kind),
		Protocol:     g.protocol,
		Leader:       g.leader,
		Member:       mb.id,
	}
	if g.leader == mb.id {
		a.Members = g.joinMembers()
	}
	return a
}

// joinMembers is what the leader is told of the members.
func (g *group) joinMembers() []JoinMember {
	all := make([]JoinMember, len(g.members))
	for i, mb := range g.members {
		all[i] = JoinMember{Member: mb.id, Instance: mb.instance, Metadata: mb.metadata(*g.protocol)}
	}
	return all
}

func (m *Machine) addMember(s *step, t coordinator.Ticket, g *group, id string, r *JoinRequest) {
	m.forgetPending(g, id)
	mb := &member{
		id: id, instance: r.Instance, client: r.Client,
		session: r.SessionTimeout, rebalance: r.RebalanceTimeout, canSkip: r.CanSkip,
		protocols: ownProtocols(r.Protocols), join: t, fresh: true,
	}
	if g.state == statePreparing && g.previous == stateEmpty {
		g.joined = true
	}
	g.add(mb, r.ProtocolType)
	m.counts.Members++
	// It does not know its id and cannot send heartbeats; and connections are not
	// looked at while a join waits. So that clients which give up and try again do
	// not fill the group, the first join of a member ends after a while.
	m.renew(s, mb, newMemberJoinTimeout)
	m.rebalanceOrComplete(s, g)
}

// replace gives the place of static member mb to who joins with its instance id
// and no member id. If the group is Stable and will choose the same protocol, it
// stays so.
func (m *Machine) replace(s *step, t coordinator.Ticket, g *group, mb *member, id string, r *JoinRequest) {
	leader := g.leader
	m.endJoin(s, g, mb, refusedJoin(mb.id, fencedInstance()))
	m.endSync(s, mb, SyncAnswer{Err: fencedInstance()})
	g.rename(mb, id)
	mb.fresh = false
	m.renew(s, mb, mb.session) // the old timeout; the new one from the next request on, as in Kafka
	g.update(mb, r)
	m.park(s, g, mb, t)
	switch g.state {
	case stateStable:
		record, fits := m.groupRecord(g)
		if g.elect() != *g.protocol || !fits {
			m.rebalanceOrComplete(s, g)
			return
		}
		s.record(record)
		g.subscribe() // Kafka does when it loads the record
		a := g.generationFor(mb)
		if mb.canSkip {
			a.SkipAssignment = a.Members != nil // KIP-814: a leader that only needs to watch
		} else {
			a.Leader, a.Members = leader, nil // so that it does not assign
		}
		m.endJoin(s, g, mb, a)
	case stateCompleting:
		// The leader may have been told of the old id already.
		m.prepareRebalance(s, g)
	case statePreparing:
		m.maybeCompleteJoin(s, g)
	case stateEmpty:
		panic("BUG: an Empty group has a member")
	}
}

// park lets the join of mb wait. A join that it made before is answered: Kafka
// forgets it, for there the client is gone.
func (m *Machine) park(s *step, g *group, mb *member, t coordinator.Ticket) {
	m.endJoin(s, g, mb, refusedJoin(mb.id, rebalanceInProgress()))
	mb.join = t
	g.waiting++
}

// endJoin answers the waiting join of mb, if there is one.
func (m *Machine) endJoin(s *step, g *group, mb *member, a JoinAnswer) {
	if mb.join == 0 {
		return
	}
	s.answer(mb.join, a)
	mb.join = 0
	g.waiting--
}

// forgetPending forgets that the id was given out.
func (m *Machine) forgetPending(g *group, id string) {
	if t := g.pending[id]; t != nil {
		m.timers.cancel(t)
		delete(g.pending, id)
	}
}
