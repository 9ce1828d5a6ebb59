package group

import (
	"crypto/rand"
	"fmt"
	"math"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
)

// newMemberJoinTimeout is how long the first JoinGroup of a member may wait:
// such a member cannot send heartbeats, for it does not know its id. Kafka's
// constant.
const newMemberJoinTimeout = 5 * time.Minute

// maxString is the longest string that Kafka's record schemas can hold.
const maxString = math.MaxInt16

// Config is what a Machine is told about the broker.
type Config struct {
	MinSession, MaxSession time.Duration // group.min/max.session.timeout
	InitialDelay           time.Duration // group.initial.rebalance.delay
	OffsetsRetention       time.Duration // offsets.retention
	OffsetsCheck           time.Duration // offsets.retention.check.interval; 0: no expiry
	MaxSize                int           // group.max.size; 0: no bound
	MetadataMax            int           // offset.metadata.max.bytes, in UTF-16 units as in Kafka
	// RecordMax is the largest record that the partition takes now, in bytes; nil or
	// 0: no bound. A group whose metadata is larger does not become Stable.
	RecordMax func() int64
	// NewMemberID makes the id of a new member: prefix, "-" and something that no
	// other has. Nil: RandomMemberID.
	NewMemberID func(prefix string) string
}

func (c *Config) recordMax() int64 {
	if c.RecordMax == nil {
		return 0
	}
	return c.RecordMax()
}

// RandomMemberID makes a member id as Kafka does: prefix, "-" and a random UUID.
func RandomMemberID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%s-%x-%x-%x-%x-%x", prefix, b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Machine is the state of one partition of __consumer_offsets: its groups, their
// members and their committed offsets. It behaves as the classic protocol of
// Apache Kafka 4.3 does, and says where it does not.
//
// Each operation costs what it touches: none looks at all groups but List, the
// deletion of topics, and the check for expired offsets, which goes in portions.
//
// What it is given is its own to keep, but for byte slices, which it copies.
type Machine struct {
	cfg    Config
	groups map[string]*group
	timers timers
	check  time.Time // when offsets are looked at next; zero before Start
	due    []string  // groups that the running check has yet to look at
	counts Counts
}

var _ coordinator.Machine = (*Machine)(nil)

// NewMachine makes a machine without groups, to be loaded with Replay and Start.
func NewMachine(cfg Config) *Machine {
	if cfg.NewMemberID == nil {
		cfg.NewMemberID = RandomMemberID
	}
	if cfg.MaxSize == 0 {
		cfg.MaxSize = math.MaxInt32
	}
	return &Machine{cfg: cfg, groups: map[string]*group{}}
}

// Counts is how much a machine holds.
type Counts struct { //nolint:recvcheck // a value, but where it is filled
	Empty, PreparingRebalance, CompletingRebalance, Stable int // groups by state
	Members, Offsets                                       int
	Rebalances                                             uint64 // completed since the machine was made
}

// Groups is the number of groups.
func (c Counts) Groups() int {
	return c.Empty + c.PreparingRebalance + c.CompletingRebalance + c.Stable
}

// Counts says how much the machine holds now.
func (m *Machine) Counts() Counts { return m.counts }

// Start ends the loading: sessions begin anew, and a group that is larger than
// group.max.size allows by now rebalances.
func (m *Machine) Start(now time.Time) []coordinator.Effect {
	if m.cfg.OffsetsCheck > 0 {
		m.check = now.Add(m.cfg.OffsetsCheck)
	}
	var effects []coordinator.Effect
	for _, id := range m.sortedGroups() {
		g, s := m.groups[id], begin(now, id)
		for _, mb := range g.members {
			m.renew(s, mb, mb.session)
		}
		if len(g.members) > m.cfg.MaxSize {
			m.prepareRebalance(s, g)
		}
		effects = append(effects, s.done()...)
	}
	return effects
}

// Deadline is when Expire is to be called next; zero for never.
func (m *Machine) Deadline() time.Time {
	at := m.timers.next()
	if !m.check.IsZero() && (at.IsZero() || m.check.Before(at)) {
		at = m.check
	}
	return at
}

// Expire does what is due at now: sessions, rebalances, and a portion of the
// check for expired offsets.
func (m *Machine) Expire(now time.Time) []coordinator.Effect {
	var effects []coordinator.Effect
	// What is scheduled meanwhile waits for the next call, due or not: no member's
	// timeouts can keep this loop going.
	for end := m.timers.scheduled; ; {
		t := m.timers.pop(now, end)
		if t == nil {
			break
		}
		s := begin(now, t.group.id)
		m.expired(s, t)
		effects = append(effects, s.done()...)
	}
	if !m.check.IsZero() && !m.check.After(now) {
		effects = append(effects, m.expireOffsets(now)...)
	}
	return effects
}

func (m *Machine) expired(s *step, t *timer) {
	switch t.kind {
	case timerSession:
		m.sessionExpired(s, t.group, t.member)
	case timerPending:
		m.pendingExpired(s, t.group, t.id)
	case timerInitial:
		m.initialDelayOver(s, t.group)
	case timerJoin:
		m.completeJoin(s, t.group)
	case timerSync:
		m.syncExpired(s, t.group)
	}
}

// create makes the group, which must not exist.
func (m *Machine) create(now time.Time, id string) *group {
	g := newGroup(id, now)
	m.groups[id] = g
	*m.counts.of(g.state)++
	return g
}

// drop forgets the group, its timers and its offsets.
func (m *Machine) drop(g *group) {
	for _, mb := range g.members {
		m.timers.cancel(&mb.timer)
	}
	for _, t := range g.pending {
		m.timers.cancel(t)
	}
	m.timers.cancel(&g.join)
	m.timers.cancel(&g.sync)
	*m.counts.of(g.state)--
	m.counts.Members -= len(g.members)
	m.counts.Offsets -= g.offsets.len()
	delete(m.groups, g.id)
}

func (m *Machine) transition(now time.Time, g *group, to state) {
	*m.counts.of(g.state)--
	*m.counts.of(to)++
	g.transition(now, to)
}

func (c *Counts) of(s state) *int {
	switch s {
	case stateEmpty:
		return &c.Empty
	case statePreparing:
		return &c.PreparingRebalance
	case stateCompleting:
		return &c.CompletingRebalance
	case stateStable:
		return &c.Stable
	}
	panic("BUG: group in no state")
}

// groupIDError refuses ids that no record's key could hold.
func groupIDError(id string) error {
	if len(id) > maxString {
		return karst.InvalidGroupID.Errorf("The group id has %d bytes; at most %d are allowed.", len(id), maxString)
	}
	return nil
}

func memberGroupIDError(id string) error {
	if id == "" {
		return karst.InvalidGroupID.Errorf("The group id must not be empty.")
	}
	return groupIDError(id)
}
