package group

import (
	"slices"
	"time"
)

// state is the state of a group. Kafka's Dead is no state here: what would be
// dead is gone.
type state uint8

const (
	stateEmpty      state = iota // no members
	statePreparing               // waits for its members to join
	stateCompleting              // waits for the leader to assign
	stateStable                  // members know what is theirs
)

func (s state) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

// consumerType is the protocol type of consumers.
const consumerType = "consumer"

// group is one group. Its invariants: it is Empty only without members; the
// candidates for its protocol, those that all members support, are never none;
// waiting counts the members with a waiting join.
type group struct {
	id         string
	state      state
	previous   state
	changed    int64   // ms, when state changed; -1: unknown
	kind       string  // protocol type; "": none yet, offsets at most ("simple")
	protocol   *string // chosen
	generation int32
	leader     string // member id; "": none

	members  []*member // in the order they joined
	byID     map[string]*member
	byName   map[string]*member  // static members by instance id
	pending  map[string]*timer   // ids given out and not used yet (KIP-394)
	unsynced map[string]struct{} // members of this generation that have not synced; may name one that was replaced
	waiting  int
	supports map[string]int // members that offer a protocol, by name

	// topics is what a consumer group is subscribed to, if topicsKnown.
	topics      map[string]struct{}
	topicsKnown bool

	join, sync timer
	// joined: a member came since the initial delay began.
	joined bool

	offsets offsets
}

func newGroup(id string, now time.Time) *group {
	g := &group{id: id, changed: now.UnixMilli()}
	g.join = timer{kind: timerJoin, group: g}
	g.sync = timer{kind: timerSync, group: g}
	return g
}

func (g *group) transition(now time.Time, to state) {
	ok := false
	switch to {
	case stateEmpty, stateCompleting:
		ok = g.state == statePreparing
	case statePreparing:
		ok = g.state != statePreparing
	case stateStable:
		ok = g.state == stateCompleting
	}
	if !ok {
		panic("BUG: group goes from " + g.state.String() + " to " + to.String())
	}
	g.previous, g.state, g.changed = g.state, to, now.UnixMilli()
}

// add takes mb in; its protocols must be supported.
func (g *group) add(mb *member, kind string) {
	if g.byID == nil {
		g.byID, g.supports = map[string]*member{}, map[string]int{}
	}
	if mb.static() {
		if g.byName == nil {
			g.byName = map[string]*member{}
		}
		g.byName[*mb.instance] = mb
	}
	if len(g.members) == 0 {
		g.kind = kind
	}
	if g.leader == "" {
		g.leader = mb.id
	}
	mb.timer = timer{kind: timerSession, group: g, member: mb}
	g.members = append(g.members, mb)
	g.byID[mb.id] = mb
	g.count(mb.protocols, 1)
	if mb.join != 0 {
		g.waiting++
	}
}

// take removes mb. A leader's successor is the member that has been there longest.
func (g *group) take(mb *member) {
	i := slices.Index(g.members, mb)
	g.members = slices.Delete(g.members, i, i+1)
	delete(g.byID, mb.id)
	if mb.static() {
		delete(g.byName, *mb.instance)
	}
	g.count(mb.protocols, -1)
	if mb.join != 0 {
		g.waiting--
	}
	delete(g.unsynced, mb.id)
	if g.leader == mb.id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

// rename gives a static member a new id: whoever has the old one is fenced.
func (g *group) rename(mb *member, id string) {
	delete(g.byID, mb.id)
	if g.leader == mb.id {
		g.leader = id
	}
	// unsynced keeps the old id, as in Kafka: a member that was replaced before it
	// synced makes the group rebalance.
	mb.id = id
	g.byID[id] = mb
}

// update sets what a member offers and who waits for its join.
func (g *group) update(mb *member, r *JoinRequest) {
	if !mb.offers(r.Protocols) {
		g.count(mb.protocols, -1)
		mb.protocols = ownProtocols(r.Protocols)
		g.count(mb.protocols, 1)
	}
	mb.rebalance, mb.session, mb.canSkip = r.RebalanceTimeout, r.SessionTimeout, r.CanSkip
}

func (g *group) count(protocols []Protocol, by int) {
	for _, p := range protocols {
		if n := g.supports[p.Name] + by; n != 0 {
			g.supports[p.Name] = n
		} else {
			delete(g.supports, p.Name)
		}
	}
}

// rebalanceTimeout is the longest of the members'.
func (g *group) rebalanceTimeout() time.Duration {
	var longest time.Duration
	for _, mb := range g.members {
		longest = max(longest, mb.rebalance)
	}
	return longest
}

// allJoined says whether no one is waited for.
func (g *group) allJoined() bool {
	return len(g.members) == g.waiting && len(g.pending) == 0
}

// electJoined gives the lead to a member that joined, if the leader did not. It
// is false if none did.
func (g *group) electJoined() bool {
	if g.leader == "" {
		return false
	}
	if g.byID[g.leader].join != 0 {
		return true
	}
	for _, mb := range g.members {
		if mb.join != 0 {
			g.leader = mb.id
			return true
		}
	}
	return false
}

// offered says whether a member with these protocols may join.
func (g *group) offered(kind string, protocols []Protocol) bool {
	if g.state == stateEmpty {
		return kind != "" && len(protocols) > 0
	}
	return kind == g.kind && slices.ContainsFunc(protocols, func(p Protocol) bool {
		return g.supports[p.Name] == len(g.members)
	})
}

// elect chooses the protocol: of those that all members support, the one that
// most like best. A tie goes to the one that was voted for first.
func (g *group) elect() string {
	votes := map[string]int{}
	var best string
	for _, mb := range g.members {
		for _, p := range mb.protocols {
			if g.supports[p.Name] == len(g.members) {
				votes[p.Name]++
				break
			}
		}
	}
	if len(votes) == 0 {
		panic("BUG: no protocol is supported by all members")
	}
	most := 0
	for _, mb := range g.members {
		for _, p := range mb.protocols {
			if n := votes[p.Name]; n > most {
				best, most = p.Name, n
			}
		}
	}
	return best
}

// subscribe finds out what a consumer group is subscribed to. If a member's
// subscription cannot be read, nobody knows.
func (g *group) subscribe() {
	g.topics, g.topicsKnown = nil, false
	if g.kind != consumerType || len(g.members) > 0 && g.protocol == nil {
		return
	}
	topics := map[string]struct{}{}
	for _, mb := range g.members {
		if !subscribedTopics(mb.metadata(*g.protocol), topics) {
			return
		}
	}
	g.topics, g.topicsKnown = topics, true
}

// subscribed says whether the group may read the topic, as far as is known.
func (g *group) subscribed(topic string) bool {
	if !g.topicsKnown {
		return g.kind == consumerType
	}
	_, ok := g.topics[topic]
	return ok
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
