package group

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
	"github.com/karst-io/karst/internal/proptest"
)

// TestAnyRequests sends a machine whatever may come: right requests and wrong
// ones, of members and of others, with pauses. It must stay what its invariants
// say and what a load of its records gives; generations only grow; before its
// deadline nothing is due. When nobody asks any more, everybody gets an answer,
// members go, and at last offsets and groups.
func TestAnyRequests(t *testing.T) {
	proptest.Run(t, 150, func(t *testing.T, r *rand.Rand) {
		w := newWorld(Config{
			MinSession: time.Second, MaxSession: 10 * time.Minute,
			InitialDelay:     time.Duration(r.IntN(3)) * time.Second,
			OffsetsRetention: 20 * time.Minute, OffsetsCheck: time.Minute,
			MaxSize: r.IntN(6), MetadataMax: 8, RecordMax: fixed(300 + int64(r.IntN(700))),
		})
		c := &chaos{w: w, r: r, generations: map[string]int32{}}
		for i := range 200 {
			c.step()
			c.look(t)
			if i%8 == 0 {
				w.check(t)
			}
		}
		w.check(t)
		w.advance(time.Hour)
		w.check(t)
		if len(w.open) > 0 {
			t.Fatalf("tickets %v wait for ever", w.open)
		}
		if n := w.Counts(); n.Members > 0 || n.Groups() != n.Empty {
			t.Fatalf("after an hour of silence: %+v", n)
		}
		w.advance(24 * time.Hour)
		w.check(t)
		if n := w.Counts(); n.Groups() > 0 || n.Offsets > 0 {
			t.Fatalf("after a day of silence: %+v, groups %v", n, w.List())
		}
	})
}

// chaos draws requests.
type chaos struct {
	w           *world
	r           *rand.Rand
	known       []known // who was told an id
	generations map[string]int32
}

// known is a member as a client knows itself.
type known struct {
	group, member string
	instance      *string
	generation    int32
	leads         bool
	members       []string
}

func (c *chaos) step() {
	w, r := c.w, c.r
	group := proptest.Pick(r, []string{"a", "a", "a", "b", ""})
	switch x := r.IntN(100); {
	case x < 30:
		c.join(group)
	case x < 50:
		c.sync()
	case x < 58:
		k := c.somebody(group)
		w.take(w.Heartbeat(w.now, w.ticket(), HeartbeatRequest{Group: k.group, Member: k.member, Generation: k.generation, Instance: k.instance}))
	case x < 62:
		k := c.somebody(group)
		l := []LeavingMember{{Member: k.member, Instance: k.instance}}
		if o := c.somebody(group); r.IntN(2) == 0 && o.instance != nil {
			l = append(l, LeavingMember{Instance: o.instance})
		}
		w.take(w.Leave(w.now, w.ticket(), LeaveRequest{Group: k.group, Members: l}))
	case x < 74:
		c.commit(group)
	case x < 77:
		w.take(w.Fetch(w.now, w.ticket(), FetchRequest{Group: group, All: true}))
	case x < 79:
		w.take(w.DeleteOffsets(w.now, w.ticket(), DeleteOffsetsRequest{Group: group, Offsets: []PartitionRef{{c.topic(), r.Int32N(3)}}}))
	case x < 81:
		w.take(w.DeleteGroup(w.now, w.ticket(), group))
	case x < 82:
		w.take(w.TopicsDeleted(w.now, []karst.TopicID{topicID(1 + r.IntN(2))}, func(string) bool { return r.IntN(2) == 0 }))
	case x < 83:
		w.take(w.Describe(w.now, w.ticket(), group))
	case x < 84:
		w.reload(w.cfg)
		clear(c.generations) // of what was under way nothing is left
	case x < 98:
		w.advance(time.Duration(r.IntN(3000)) * time.Millisecond)
	default:
		w.advance(time.Duration(r.IntN(15)) * time.Minute)
	}
}

func (c *chaos) topic() string { return proptest.Pick(c.r, []string{"t", "u", "v"}) }

// somebody is one who was told an id, or claims to be a bit of another.
func (c *chaos) somebody(group string) known {
	if len(c.known) == 0 || c.r.IntN(20) == 0 {
		return known{group: group, member: proptest.Pick(c.r, []string{"", "nobody"}), generation: c.r.Int32N(4) - 1}
	}
	recent := c.known[max(0, len(c.known)-6):]
	k := recent[c.r.IntN(len(recent))]
	switch c.r.IntN(25) {
	case 0:
		k.generation--
	case 1:
		k.instance = new("i")
	case 2:
		k.group = group
	}
	return k
}

func (c *chaos) join(group string) {
	r, w := c.r, c.w
	q := JoinRequest{
		Group: group, Client: Client{ID: "c", Host: "/h"}, ProtocolType: proptest.Pick(r, []string{consumerType, consumerType, consumerType, "connect", ""}),
		SessionTimeout:   time.Duration(500+r.IntN(10000)) * time.Millisecond,
		RebalanceTimeout: time.Duration(r.IntN(20000)-1) * time.Millisecond,
		NeedMemberID:     r.IntN(2) == 0, CanSkip: r.IntN(2) == 0,
	}
	if r.IntN(3) == 0 {
		q.Instance = new(proptest.Pick(r, []string{"i", "j"}))
	}
	if r.IntN(2) == 0 {
		k := c.somebody(group)
		q.Group, q.Member, q.Instance = k.group, k.member, k.instance
	}
	for _, p := range proptest.Pick(r, [][]string{{"x"}, {"x"}, {"x", "y"}, {"y", "x"}, {"y"}, {"x", "x"}, {}}) {
		metadata := subscription(proptest.Pick(r, []string{"t", "t", "u"}))
		if r.IntN(10) == 0 {
			metadata = metadata[:r.IntN(len(metadata))]
		}
		q.Protocols = append(q.Protocols, Protocol{Name: p, Metadata: metadata})
	}
	ticket := w.ticket()
	effects := w.Join(w.now, ticket, q)
	c.learn(q.Group, q.Instance, effects)
	w.take(effects)
}

// learn notes what joins were answered. Who is answered later is told by asking
// again.
func (c *chaos) learn(group string, instance *string, effects []coordinator.Effect) {
	for _, e := range effects {
		for _, a := range e.Answers {
			j, ok := a.Body.(JoinAnswer)
			if !ok || j.Member == "" {
				continue
			}
			k := known{group: group, member: j.Member, generation: j.Generation}
			if g := c.w.groups[group]; g != nil && g.byID[j.Member] != nil {
				k.instance, k.leads = g.byID[j.Member].instance, j.Leader == j.Member
			} else if j.Err != nil {
				k.instance = instance
			}
			for _, m := range j.Members {
				k.members = append(k.members, m.Member)
			}
			c.known = append(c.known, k)
		}
	}
}

func (c *chaos) sync() {
	k := c.somebody("a")
	if g := c.w.groups[k.group]; g != nil && c.r.IntN(4) > 0 {
		k.generation = g.generation // as a client that has had its answer
		if mb := g.byID[g.leader]; mb != nil && c.r.IntN(2) == 0 {
			k = known{group: k.group, member: mb.id, instance: mb.instance, generation: g.generation}
			for _, mb := range g.members {
				k.members = append(k.members, mb.id)
			}
		}
	}
	q := SyncRequest{Group: k.group, Member: k.member, Generation: k.generation, Instance: k.instance}
	for i, m := range k.members {
		q.Assignments = append(q.Assignments, Assignment{Member: m, Bytes: fmt.Appendf(nil, "%d of %d%s", i, k.generation, strings.Repeat("!", 100*(c.r.IntN(20)/19)))})
	}
	c.w.take(c.w.Sync(c.w.now, c.w.ticket(), q))
}

func (c *chaos) commit(group string) {
	r := c.r
	q := CommitRequest{Group: group, Generation: -1, Retention: -1, ByEpoch: r.IntN(2) == 0}
	if r.IntN(3) > 0 {
		k := c.somebody(group)
		q.Group, q.Member, q.Generation, q.Instance = k.group, k.member, k.generation, k.instance
	}
	if r.IntN(5) == 0 {
		q.Retention = time.Duration(r.IntN(600)) * time.Second
	}
	for range r.IntN(3) {
		q.Offsets = append(q.Offsets, CommitOffset{
			Topic: TopicRef{c.topic(), topicID(r.IntN(3))}, Partition: r.Int32N(3), Offset: karst.Offset(r.IntN(1000)),
			Epoch: karst.Epoch(r.IntN(5) - 1), Metadata: proptest.Pick(r, []string{"", "meta", "toomanybytes"}),
		})
	}
	c.w.take(c.w.Commit(c.w.now, c.w.ticket(), q))
}

// look checks what holds after every step.
func (c *chaos) look(t *testing.T) {
	t.Helper()
	if err := c.w.invariants(); err != nil {
		t.Fatal(err)
	}
	for id := range c.generations {
		if c.w.groups[id] == nil {
			delete(c.generations, id)
		}
	}
	for id, g := range c.w.groups {
		if before := c.generations[id]; g.generation < before {
			t.Fatalf("group %q goes from generation %d to %d", id, before, g.generation)
		}
		c.generations[id] = g.generation
	}
	if at := c.w.Deadline(); !at.IsZero() && at.After(c.w.now) {
		if effects := c.w.Expire(c.w.now); len(effects) > 0 || !c.w.Deadline().Equal(at) {
			t.Fatalf("before %v there are %d effects and then %v", at, len(effects), c.w.Deadline())
		}
	}
}

// TestMemory bounds what members and offsets take: a group of ten with one offset
// each, ten thousand members in all.
func TestMemory(t *testing.T) {
	const groups, members, most = 1000, 10, 3000 // bytes
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	m := NewMachine(Config{MaxSession: time.Minute, MetadataMax: 100})
	now := time.UnixMilli(1e12)
	for g := range groups {
		id := fmt.Sprint("group-", g)
		for range members {
			m.Join(now, 1, JoinRequest{
				Group: id, Client: Client{ID: "consumer", Host: "/127.0.0.1"}, SessionTimeout: time.Minute, RebalanceTimeout: time.Minute,
				ProtocolType: consumerType, Protocols: []Protocol{{"range", subscription("orders")}, {"cooperative-sticky", subscription("orders")}},
			})
		}
	}
	for !m.Deadline().After(now) {
		m.Expire(now)
	}
	for id, g := range m.groups {
		for i, mb := range g.members {
			m.Commit(now, 1, CommitRequest{Group: id, Member: mb.id, Generation: g.generation, Offsets: []CommitOffset{{Topic: TopicRef{Name: "orders"}, Partition: int32(i)}}})
		}
	}
	if n := m.Counts(); n.CompletingRebalance != groups || n.Members != groups*members {
		t.Fatalf("%+v", n)
	}
	each := (heap() - before) / (groups * members)
	t.Logf("%d bytes for each member", each)
	if each > most {
		t.Errorf("%d bytes for each member, at most %d", each, most)
	}
	runtime.KeepAlive(m)
}

// TestBounds: what clients can make a machine remember without end is refused.
func TestBounds(t *testing.T) {
	w := newWorld(Config{MaxSession: time.Minute, RecordMax: fixed(1000)})
	join := func(change func(r *JoinRequest)) error {
		r := JoinRequest{Group: "g", ProtocolType: "x", NeedMemberID: true, SessionTimeout: time.Minute, Protocols: []Protocol{{Name: "p"}}}
		change(&r)
		w.answer = nil
		w.take(w.Join(w.now, w.ticket(), r))
		if a, ok := w.answer.(JoinAnswer); ok {
			return a.Err
		}
		return nil
	}
	long := strings.Repeat("x", maxString+1)
	for what, change := range map[string]func(r *JoinRequest){
		"protocols":     func(r *JoinRequest) { r.Protocols = make([]Protocol, protocolsMax+1) },
		"metadata":      func(r *JoinRequest) { r.Protocols[0].Metadata = make([]byte, offerRecords*1000+1) },
		"protocol name": func(r *JoinRequest) { r.Protocols[0].Name = long },
		"protocol type": func(r *JoinRequest) { r.ProtocolType = long },
		"client id":     func(r *JoinRequest) { r.Client.ID = long[:maxString-36] },
		"instance id":   func(r *JoinRequest) { r.Instance = new(long[:maxString-36]) },
	} {
		if err := join(change); !slices.Contains([]string{errText(karst.InvalidRequest.Errorf(""))[:8]}, errText(err)[:8]) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := join(func(r *JoinRequest) { r.Group = long }); errText(err) != "invalid group id" {
		t.Errorf("group id: %v", err)
	}
	for range pendingMax {
		if err := join(func(*JoinRequest) {}); errText(err) != "member id required" {
			t.Fatal(err)
		}
	}
	if err := join(func(*JoinRequest) {}); err == nil || err.(*karst.Error).Code != karst.CoordinatorNotAvailable { //nolint:errorlint // answers promise it
		t.Fatal(err)
	}
	w.advance(time.Minute)
	if err := join(func(*JoinRequest) {}); errText(err) != "member id required" {
		t.Fatal(err)
	}
}

func fixed(n int64) func() int64 { return func() int64 { return n } }
