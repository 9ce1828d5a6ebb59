package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupMember is a member of a group, and does what Kafka's consumers do, with
// mishaps.
type groupMember struct {
	*groupClient
	g        *consumerGroup
	instance *string
	versions memberVersions
	session  time.Duration
	patience time.Duration // the rebalance timeout

	generation int32 // -1: it has to join
	owned      []place

	end context.CancelFunc // of its life; it does not leave

	mu sync.Mutex
	id string
}

// memberVersions are those of its requests.
type memberVersions struct{ join, sync, heartbeat, leave int16 }

func (g *consumerGroup) newMember(n int) *groupMember {
	seed := uint64(7000 + n)
	m := &groupMember{groupClient: g.w.newGroupClient(fmt.Sprintf("%s.%d", g.name, n), seed), g: g, generation: -1}
	m.versions = memberVersions{
		join: []int16{2, 4, 6, 9}[m.rng.IntN(4)], sync: []int16{1, 3, 5}[m.rng.IntN(3)],
		heartbeat: []int16{1, 3, 4}[m.rng.IntN(3)], leave: []int16{1, 3, 5}[m.rng.IntN(3)],
	}
	if g.static { // leaders must see who is static
		m.versions.join = max(m.versions.join, 5)
	}
	if g.static && m.rng.IntN(2) == 0 {
		m.instance = new(m.name)
		m.versions = memberVersions{join: m.versions.join, sync: max(m.versions.sync, 3), heartbeat: max(m.versions.heartbeat, 3), leave: max(m.versions.leave, 3)}
		m.commitVersion = max(m.commitVersion, 7)
	}
	m.session = time.Duration(6000+m.rng.IntN(4000)) * time.Millisecond
	m.patience = time.Duration(3000+m.rng.IntN(6000)) * time.Millisecond
	return m
}

// seat is what the member is known by to its leader.
func (m *groupMember) seat() string {
	if m.instance != nil {
		return *m.instance
	}
	return m.memberID()
}

func (m *groupMember) memberID() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.id
}

func (m *groupMember) setID(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.id = id
}

// run is its life, until ctx ends.
func (m *groupMember) run(ctx context.Context) {
	defer m.hangUp()
	for ctx.Err() == nil {
		err := m.connect(ctx, m.g.name)
		if err == nil {
			err = m.turn(ctx)
		}
		if err != nil {
			m.lost()
			rest(ctx, time.Duration(50+m.rng.IntN(400))*time.Millisecond)
		}
	}
}

// turn does the next thing. With an error it looks for the coordinator anew.
func (m *groupMember) turn(ctx context.Context) error {
	if m.generation < 0 {
		return m.join(ctx)
	}
	rest(ctx, time.Duration(100+m.rng.IntN(900))*time.Millisecond)
	switch k := m.rng.IntN(40); {
	case m.g.calm.Load() || k < 12:
		return m.heartbeat(ctx)
	case k < 30:
		return m.commitSome(ctx, m.generation)
	case k < 32 && m.generation > 1:
		m.w.event("commit of an old generation")
		return m.commitSome(ctx, m.generation-1)
	case k < 33 && m.generation > 1:
		return m.syncAgain(ctx, m.generation-1)
	case k < 35:
		return m.fetch(ctx, m.g.name, m.owned)
	case k < 36:
		return m.leave(ctx)
	case k < 38:
		m.w.event("member crashed")
		m.forget()
		m.hangUp()
		rest(ctx, time.Duration(m.rng.IntN(int(3*m.session/2))))
		return nil
	default:
		m.w.event("member rejoined")
		m.generation = -1
		return nil
	}
}

// forget makes it a new member.
func (m *groupMember) forget() {
	m.generation, m.owned = -1, nil
	m.setID("")
}

// told does what consumers do with an error code.
func (m *groupMember) told(ctx context.Context, what string, code int16) error {
	if code != 0 {
		m.w.event(what + " error " + kerr.TypedErrorForCode(code).Message)
	}
	switch code {
	case 0:
	case kerr.RebalanceInProgress.Code, kerr.IllegalGeneration.Code:
		m.generation = -1
	case kerr.UnknownMemberID.Code, kerr.FencedInstanceID.Code, kerr.GroupIDNotFound.Code:
		m.forget()
	case kerr.CoordinatorLoadInProgress.Code:
		rest(ctx, 100*time.Millisecond)
	case kerr.NotCoordinator.Code, kerr.CoordinatorNotAvailable.Code:
		return errElsewhere
	default:
		m.w.reportf(Unexpected, "%s of %s: %v", what, m.name, kerr.ErrorForCode(code))
		return errElsewhere
	}
	return nil
}

// epoch is the earliest in which the coordinator can answer what is sent now.
func (m *groupMember) epoch() int32 { return m.at.to.atLeast(aboutGroup(m.g.name)) }

// round notes that all is well in a generation. It was asked in an epoch or later.
func (m *groupMember) round(what string, generation, epoch int32, sent Tick, lasting, sure bool) {
	m.w.round(round{
		group: m.g.name, member: m.name + " at " + m.at.to.Name, what: what, generation: generation, sent: sent, answered: m.w.tick(),
		lasting: lasting, sure: sure, atLeast: epoch, atMost: m.at.to.atMost(aboutGroup(m.g.name)),
	})
}

// join joins and syncs.
func (m *groupMember) join(ctx context.Context) error {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.ProtocolType = m.versions.join, m.g.name, m.memberID(), m.instance, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(m.session.Milliseconds()), int32(m.patience.Milliseconds())
	subscription := kmsg.NewConsumerMemberMetadata()
	subscription.Topics = m.g.topicNames()
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "some", subscription.AppendTo(nil)
	req.Protocols = append(req.Protocols, p)
	from, sent := m.epoch(), m.w.tick()
	resp, err := m.ask(ctx, req)
	if err != nil {
		return err
	}
	r := resp.(*kmsg.JoinGroupResponse)
	if r.ErrorCode == kerr.MemberIDRequired.Code {
		m.w.event("member id given")
		m.setID(r.MemberID)
		return nil
	}
	if r.ErrorCode != 0 {
		rest(ctx, 20*time.Millisecond)
		return m.told(ctx, "join", r.ErrorCode)
	}
	m.setID(r.MemberID)
	m.round("join", r.Generation, from, sent, false, false)
	return m.sync(ctx, r)
}

// sync gets its assignment; the leader decides.
func (m *groupMember) sync(ctx context.Context, joined *kmsg.JoinGroupResponse) error {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.Generation, req.MemberID, req.InstanceID = m.versions.sync, m.g.name, joined.Generation, m.memberID(), m.instance
	req.ProtocolType, req.Protocol = new("consumer"), new("some")
	if joined.LeaderID == joined.MemberID && !joined.SkipAssignment {
		req.GroupAssignment = m.g.assign(joined.Members)
	}
	from, sent := m.epoch(), m.w.tick()
	resp, err := m.ask(ctx, req)
	if err != nil {
		return err
	}
	r := resp.(*kmsg.SyncGroupResponse)
	if r.ErrorCode != 0 {
		return m.told(ctx, "sync", r.ErrorCode)
	}
	a, ok := decodeAssignment(m.g.name, r.MemberAssignment)
	if !ok || a.member != m.seat() {
		m.w.reportf(Unexpected, "%s (%s) in generation %d of %s is given %q", m.name, m.memberID(), joined.Generation, m.g.name, r.MemberAssignment)
		return errElsewhere
	}
	m.round("sync", joined.Generation, from, sent, true, false)
	m.w.give(given{group: m.g.name, generation: joined.Generation, source: m.name + " at " + m.at.to.Name, assignment: a})
	m.w.event("assigned")
	m.generation, m.owned = joined.Generation, a.places
	if len(m.owned) == 0 {
		return nil
	}
	return m.fetch(ctx, m.g.name, m.owned)
}

// syncAgain syncs in a generation that is over. Who may do so is an old member.
func (m *groupMember) syncAgain(ctx context.Context, generation int32) error {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.Generation, req.MemberID, req.InstanceID = m.versions.sync, m.g.name, generation, m.memberID(), m.instance
	req.ProtocolType, req.Protocol = new("consumer"), new("some")
	from, sent := m.epoch(), m.w.tick()
	resp, err := m.ask(ctx, req)
	if err != nil {
		return err
	}
	switch code := resp.(*kmsg.SyncGroupResponse).ErrorCode; code {
	case 0:
		m.round("sync", generation, from, sent, true, false)
	case kerr.IllegalGeneration.Code:
		m.w.event("sync of an old generation refused")
	default:
		return m.told(ctx, "sync", code)
	}
	return nil
}

func (m *groupMember) heartbeat(ctx context.Context) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.Generation, req.MemberID, req.InstanceID = m.versions.heartbeat, m.g.name, m.generation, m.memberID(), m.instance
	from, sent := m.epoch(), m.w.tick()
	resp, err := m.ask(ctx, req)
	if err != nil {
		return err
	}
	code := resp.(*kmsg.HeartbeatResponse).ErrorCode
	if code == 0 {
		m.round(heartbeat, m.generation, from, sent, false, false)
	}
	return m.told(ctx, heartbeat, code)
}

// commitSome commits offsets of some of what it owns, as of a generation.
func (m *groupMember) commitSome(ctx context.Context, generation int32) error {
	var some []place
	for _, p := range m.owned {
		if m.rng.IntN(2) == 0 {
			some = append(some, p)
		}
	}
	if len(some) == 0 {
		return m.heartbeat(ctx)
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID, req.InstanceID = m.g.name, generation, m.memberID(), m.instance
	from, sent := m.epoch(), m.w.tick()
	code, err := m.commit(ctx, req, some)
	if err != nil {
		return err
	}
	if code == 0 {
		// Whatever the broker thinks it is: the commit is in its log.
		m.round("commit", generation, from, sent, true, true)
	}
	if generation != m.generation {
		if code == kerr.IllegalGeneration.Code {
			m.w.event("commit of an old generation refused")
			return nil
		}
	}
	return m.told(ctx, "commit", code)
}

func (m *groupMember) leave(ctx context.Context) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group, req.MemberID = m.versions.leave, m.g.name, m.memberID()
	l := kmsg.NewLeaveGroupRequestMember()
	l.MemberID, l.InstanceID = m.memberID(), m.instance
	req.Members = append(req.Members, l)
	resp, err := m.ask(ctx, req)
	if err != nil {
		return err
	}
	r := resp.(*kmsg.LeaveGroupResponse)
	code := r.ErrorCode
	if code == 0 && req.Version >= 3 && len(r.Members) == 1 {
		code = r.Members[0].ErrorCode
	}
	if code == 0 {
		m.w.event("member left")
		m.forget()
		rest(ctx, time.Duration(m.rng.IntN(4000))*time.Millisecond)
		return nil
	}
	return m.told(ctx, "leave", code)
}

// assign spreads the partitions over the members, as their leader.
func (g *consumerGroup) assign(members []kmsg.JoinGroupResponseMember) []kmsg.SyncGroupRequestGroupAssignment {
	decision := int64(g.w.tick())
	var all []assignment
	for _, m := range members {
		a := assignment{decision: decision, member: m.MemberID}
		if m.InstanceID != nil {
			a.member = *m.InstanceID
		}
		all = append(all, a)
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(all[a].member, all[b].member) })
	for n, p := range g.places() {
		a := &all[order[n%len(order)]]
		a.places = append(a.places, p)
	}
	var made []kmsg.SyncGroupRequestGroupAssignment
	for i := range all {
		s := kmsg.NewSyncGroupRequestGroupAssignment()
		s.MemberID, s.MemberAssignment = members[i].MemberID, all[i].encode()
		made = append(made, s)
	}
	return made
}
