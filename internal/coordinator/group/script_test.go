package group

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
)

// script is one command of a transcript.
type script struct{ *datadriven.TestData }

// word is an argument; "" if it is not there.
func (s script) word(key string) string {
	words := s.words(key)
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

func (s script) words(key string) []string {
	for _, a := range s.CmdArgs {
		if a.Key == key {
			if len(a.Vals) == 1 && a.Vals[0] == "" { // written ()
				return nil
			}
			return a.Vals
		}
	}
	return nil
}

func (s script) optional(key string) *string {
	for _, a := range s.CmdArgs {
		if a.Key == key {
			v := s.word(key)
			return &v
		}
	}
	return nil
}

func (s script) number(key string, otherwise int) int {
	if s.optional(key) == nil {
		return otherwise
	}
	n, err := strconv.Atoi(s.word(key))
	must(err)
	return n
}

func (s script) duration(key string, otherwise time.Duration) time.Duration {
	if s.optional(key) == nil {
		return otherwise
	}
	d, err := time.ParseDuration(s.word(key))
	must(err)
	return d
}

// topicID is the id of the n-th topic; none for 0.
func topicID(n int) karst.TopicID { return karst.TopicID{byte(n)} }

// run executes one command:
//
//	config      [delay=] [max-size=] [retention=]
//	join        [group=g] [member=] [instance=] [client=c] [type=consumer] [protocols=(range)]
//	            [topics=(t)] [metadata=hex] [session=30s] [rebalance=1m] [v=3]
//	sync        [group=g] member= generation= [instance=] [type=] [protocol=] [assign=(member:bytes)]
//	beat        [group=g] member= generation= [instance=]
//	leave       [group=g] [members=(member,/instance,member/instance)] [v=3]
//	commit      [group=g] [member=] [generation=-1] [instance=] [topic=t] [id=] [partitions=(0)] [offset=0]
//	            [epoch=-1] [metadata=] [retention=] [v=8]
//	fetch       [group=g] [topic=] [id=] [partitions=(0)]
//	forget      [group=g] [topic=t] [partitions=(0)]
//	delete      [group=g]
//	describe    [group=g]
//	list        and what is counted
//	gone        id=                       a topic is deleted
//	advance     the time, e.g. 10s
//	reload      [max-size=]               into the next leader's machine
func (w *world) run(t *testing.T, d *datadriven.TestData) {
	s := script{d}
	group := "g"
	if s.optional("group") != nil {
		group = s.word("group")
	}
	switch d.Cmd {
	case "config":
		w.cfg.InitialDelay = s.duration("delay", w.cfg.InitialDelay)
		w.cfg.MaxSize = s.number("max-size", w.cfg.MaxSize)
		w.cfg.OffsetsRetention = s.duration("retention", w.cfg.OffsetsRetention)
	case "join":
		w.join(s, group)
	case "sync":
		r := SyncRequest{
			Group: group, Member: s.word("member"), Generation: int32(s.number("generation", -1)),
			Instance: s.optional("instance"), ProtocolType: s.optional("type"), Protocol: s.optional("protocol"),
		}
		for _, a := range s.words("assign") {
			member, bytes, _ := strings.Cut(a, ":")
			r.Assignments = append(r.Assignments, Assignment{Member: member, Bytes: []byte(bytes)})
		}
		w.take(w.Sync(w.now, w.ticket(), r))
	case "beat":
		w.take(w.Heartbeat(w.now, w.ticket(), HeartbeatRequest{
			Group: group, Member: s.word("member"), Generation: int32(s.number("generation", -1)), Instance: s.optional("instance"),
		}))
	case "leave":
		r := LeaveRequest{Group: group, Single: s.number("v", 3) < 3}
		for _, m := range s.words("members") {
			member, instance, static := strings.Cut(m, "/")
			l := LeavingMember{Member: member}
			if static {
				l.Instance = &instance
			}
			r.Members = append(r.Members, l)
		}
		w.take(w.Leave(w.now, w.ticket(), r))
	case "describe":
		w.take(w.Describe(w.now, w.ticket(), group))
	case "list":
		for _, l := range w.List() {
			fmt.Fprintf(&w.out, "%s: %s, %s, type %q\n", l.Group, l.State, l.Type, l.ProtocolType)
		}
		fmt.Fprintf(&w.out, "%d groups, %d members, %d offsets\n", w.Counts().Groups(), w.Counts().Members, w.Counts().Offsets)
	case "advance":
		by, err := time.ParseDuration(d.CmdArgs[0].Key)
		must(err)
		w.advance(by)
	case "reload":
		w.cfg.MaxSize = s.number("max-size", w.cfg.MaxSize)
		w.reload(w.cfg)
	default:
		w.runOffsets(t, s, group)
	}
}

func (w *world) join(s script, group string) {
	v := s.number("v", 3)
	r := JoinRequest{
		Group: group, Member: s.word("member"), Instance: s.optional("instance"),
		Client:         Client{ID: "c", Host: "/127.0.0.1"},
		SessionTimeout: s.duration("session", 30*time.Second), RebalanceTimeout: s.duration("rebalance", time.Minute),
		ProtocolType: consumerType, NeedMemberID: v >= 4, CanSkip: v >= 9,
	}
	if s.optional("client") != nil {
		r.Client.ID = s.word("client")
	}
	if s.optional("type") != nil {
		r.ProtocolType = s.word("type")
	}
	protocols := []string{"range"}
	if s.optional("protocols") != nil {
		protocols = s.words("protocols")
	}
	topics := []string{"t"}
	if s.optional("topics") != nil {
		topics = s.words("topics")
	}
	metadata := subscription(topics...)
	if s.optional("metadata") != nil {
		var err error
		metadata, err = hex.DecodeString(s.word("metadata"))
		must(err)
	}
	for _, p := range protocols {
		r.Protocols = append(r.Protocols, Protocol{Name: p, Metadata: metadata})
	}
	w.take(w.Join(w.now, w.ticket(), r))
}

// runOffsets executes the commands that are about offsets.
func (w *world) runOffsets(t *testing.T, s script, group string) {
	topic := TopicRef{Name: "t", ID: topicID(s.number("id", 0))}
	if s.optional("topic") != nil {
		topic.Name = s.word("topic")
	}
	partitions := []int32{0}
	if s.optional("partitions") != nil {
		partitions = nil
		for _, p := range s.words("partitions") {
			n, err := strconv.Atoi(p)
			must(err)
			partitions = append(partitions, int32(n))
		}
	}
	switch s.Cmd {
	case "commit":
		r := CommitRequest{
			Group: group, Member: s.word("member"), Generation: int32(s.number("generation", -1)), Instance: s.optional("instance"),
			Retention: s.duration("retention", -1), ByEpoch: s.number("v", 8) >= 9,
		}
		for _, p := range partitions {
			r.Offsets = append(r.Offsets, CommitOffset{
				Topic: topic, Partition: p, Offset: karst.Offset(s.number("offset", 0)),
				Epoch: karst.Epoch(s.number("epoch", -1)), Metadata: s.word("metadata"),
			})
		}
		w.take(w.Commit(w.now, w.ticket(), r))
	case "fetch":
		r := FetchRequest{Group: group, Epoch: -1, All: s.optional("topic") == nil}
		if !r.All {
			r.Topics = []FetchTopic{{Topic: topic, Partitions: partitions}}
		}
		w.take(w.Fetch(w.now, w.ticket(), r))
	case "forget":
		r := DeleteOffsetsRequest{Group: group}
		for _, p := range partitions {
			r.Offsets = append(r.Offsets, PartitionRef{Topic: topic.Name, Partition: p})
		}
		w.take(w.DeleteOffsets(w.now, w.ticket(), r))
	case "delete":
		w.take(w.DeleteGroup(w.now, w.ticket(), group))
	case "gone":
		w.take(w.TopicsDeleted(w.now, []karst.TopicID{topic.ID}, func(string) bool { return true }))
	default:
		t.Fatalf("%s: no command %s", s.Pos, s.Cmd)
	}
}

// check compares the machine with one that loads what it wrote.
func (w *world) check(t *testing.T) {
	t.Helper()
	loaded := NewMachine(w.cfg)
	for _, r := range w.log {
		must(loaded.Replay(r))
	}
	if err := sameState(w.Machine, loaded); err != nil {
		t.Fatalf("the machine is not what a load of its records gives: %v", err)
	}
	if err := w.invariants(); err != nil {
		t.Fatal(err)
	}
}

// sameState compares a machine with one that loaded its records: the groups that
// exist, their offsets, and the members of those that are Stable or Empty. What a
// rebalance does to a group is written at its end.
func sameState(live, loaded *Machine) error {
	if a, b := live.sortedGroups(), loaded.sortedGroups(); !slices.Equal(a, b) {
		return fmt.Errorf("groups %q, loaded %q", a, b)
	}
	if live.counts.Offsets != loaded.counts.Offsets {
		return fmt.Errorf("%d offsets, loaded %d", live.counts.Offsets, loaded.counts.Offsets)
	}
	for id, g := range live.groups {
		l := loaded.groups[id]
		if a, b := offsetsText(&g.offsets), offsetsText(&l.offsets); a != b {
			return fmt.Errorf("group %q: offsets %s, loaded %s", id, a, b)
		}
		if g.state != stateStable && g.state != stateEmpty {
			continue
		}
		if a, b := groupText(g), groupText(l); a != b {
			return fmt.Errorf("group %q:\n%s\nloaded:\n%s", id, a, b)
		}
	}
	return nil
}

func offsetsText(o *offsets) string {
	text := ""
	for _, topic := range o.names() {
		for _, p := range o.topics[topic].numbers() {
			text += fmt.Sprintf("%s-%d %+v; ", topic, p, o.topics[topic].partitions[p])
		}
	}
	return text
}

// groupText is what is durable of a group.
func groupText(g *group) string {
	text := fmt.Sprintf("%v generation %d type %q protocol %s leader %q", g.state, g.generation, g.kind, name(g.protocol), g.leader)
	if g.state == stateEmpty {
		text += fmt.Sprintf(" since %d", g.changed)
	}
	if g.topicsKnown {
		text += " reads"
		topics := make([]string, 0, len(g.topics))
		for topic := range g.topics {
			topics = append(topics, topic)
		}
		slices.Sort(topics)
		text += fmt.Sprintf(" %q", topics)
	}
	for _, mb := range g.members {
		text += fmt.Sprintf("\n%s/%s %v %v %v (%x) %q", mb.id, name(mb.instance), mb.client, mb.session, mb.rebalance, mb.metadata(*g.protocol), mb.assignment)
	}
	return text
}

// invariants checks what a machine must always be.
func (w *world) invariants() error {
	counts, timers := Counts{}, 0
	waiting := map[coordinator.Ticket]bool{}
	for id, g := range w.groups {
		*counts.of(g.state)++
		counts.Members += len(g.members)
		counts.Offsets += g.offsets.len()
		timers += min(g.join.index, 1) + min(g.sync.index, 1) + len(g.pending)
		for _, mb := range g.members {
			timers += min(mb.timer.index, 1)
			if err := g.memberInvariants(mb, waiting); err != nil {
				return fmt.Errorf("group %q: member %q: %w", id, mb.id, err)
			}
		}
		if err := g.invariants(); err != nil {
			return fmt.Errorf("group %q: %w", id, err)
		}
	}
	if a, b := countsText(w.counts), countsText(counts); a != b {
		return fmt.Errorf("counts %s, should be %s", a, b)
	}
	if timers != len(w.timers.heap) {
		return fmt.Errorf("%d timers run, should be %d", len(w.timers.heap), timers)
	}
	if !maps.Equal(w.open, waiting) {
		return fmt.Errorf("tickets %v wait, the machine knows of %v", w.open, waiting)
	}
	return nil
}

func countsText(c Counts) string {
	return fmt.Sprint(c.Empty, c.PreparingRebalance, c.CompletingRebalance, c.Stable, c.Members, c.Offsets)
}

// memberInvariants checks one member, and notes what it has waiting.
func (g *group) memberInvariants(mb *member, waiting map[coordinator.Ticket]bool) error {
	if g.byID[mb.id] != mb || mb.static() && g.byName[*mb.instance] != mb {
		return errors.New("it is not found by its id")
	}
	if mb.timer.index == 0 && !mb.excused() {
		return errors.New("its session never ends")
	}
	if mb.join != 0 {
		waiting[mb.join] = true
		if g.state != statePreparing {
			return fmt.Errorf("it waits for a join while the group is %v", g.state)
		}
	}
	if mb.sync != 0 {
		waiting[mb.sync] = true
		if g.state != stateCompleting {
			return fmt.Errorf("it waits for a sync while the group is %v", g.state)
		}
	}
	return nil
}

func (g *group) invariants() error {
	joins, supports := 0, map[string]int{}
	for _, mb := range g.members {
		if mb.join != 0 {
			joins++
		}
		for _, p := range mb.protocols {
			supports[p.Name]++
		}
	}
	switch {
	case joins != g.waiting || !maps.Equal(supports, g.supports) && len(supports)+len(g.supports) > 0 || len(g.byID) != len(g.members):
		return errors.New("it counts wrongly")
	case (len(g.members) == 0) != (g.leader == "") || g.leader != "" && g.byID[g.leader] == nil:
		return fmt.Errorf("its %d members are led by %q", len(g.members), g.leader)
	case g.state == stateEmpty && len(g.members) > 0:
		return fmt.Errorf("it is Empty with %d members", len(g.members))
	case (g.join.index != 0) != (g.state == statePreparing):
		return fmt.Errorf("it is %v; the end of its join is set: %v", g.state, g.join.index != 0)
	case g.state == stateCompleting && g.sync.index == 0:
		return errors.New("it waits for syncs for ever")
	case g.sync.index != 0 && g.state != stateCompleting && g.state != stateStable:
		return fmt.Errorf("it is %v; the end of its syncs is set", g.state)
	}
	return nil
}
