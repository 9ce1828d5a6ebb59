package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Groups runs consumer groups of the classic protocol that do nothing but what a
// coordinator has to do with: every member has a connection of its own, joins,
// sends heartbeats and commits the offset of its one partition, by the clock.
// --rate is in commits per second over all members.
//
// Latencies: "join" from a member's first request to its assignment, "ack" of
// commits from when they were due, "heartbeat".
func Groups(ctx context.Context, s Settings, progress io.Writer) (*Report, error) {
	if s.Rate.N == 0 || !s.Rate.Records {
		return nil, errors.New("groups is an open loop: give a --rate of commits, as in 5000r")
	}
	s.Partitions = int32(s.Members)
	return withCluster(ctx, s, func(c *cluster, m *meter) (*Report, error) {
		g, err := newGroups(ctx, s, c)
		if err != nil {
			return nil, err
		}
		defer g.close(context.WithoutCancel(ctx)) // members leave, also when the run was interrupted
		joined := time.Now()
		if err := g.join(ctx); err != nil {
			return nil, err
		}
		if progress != nil {
			_, _ = fmt.Fprintf(progress, "%d members of %d groups have joined after %v\n", len(g.members), s.Groups, time.Since(joined).Round(time.Millisecond)) // for people
		}
		g.run = begin(s, progress)
		rep, err := g.run.during(ctx, m, g.load)
		if rep != nil {
			rep.Workload = "groups"
			for name, rec := range map[string]*recorder{"join": &g.joins, "heartbeat": &g.beats} {
				if h := rec.snapshot(); h.Count() > 0 {
					rep.Latency[name] = h.Summary()
				}
			}
		}
		return rep, err
	})
}

// heartbeatEvery and the session timeout are the defaults of Kafka's consumer.
const (
	heartbeatEvery = 3 * time.Second
	sessionMillis  = 45_000
)

// groups is all members of all groups.
type groups struct {
	settings     Settings
	cluster      *cluster
	run          *run
	members      []*groupMember
	joins, beats recorder
}

// roster is who of a group has joined, in which generation.
type roster struct {
	mu          sync.Mutex
	generations map[int64]int32 // by member
}

// joined notes a member's generation.
func (r *roster) joined(n int64, generation int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generations[n] = generation
}

// complete reports whether so many members are of one generation.
func (r *roster) complete(members int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := int32(-1)
	for _, g := range r.generations {
		if first >= 0 && g != first {
			return false
		}
		first = g
	}
	return len(r.generations) == members
}

// groupMember is one member, on its own connection. One goroutine uses it.
type groupMember struct {
	all        *groups
	n          int64 // of all members
	group      string
	roster     *roster
	addr       string
	conn       *conn
	id         string
	generation int32
	request    int32
	offset     int64
}

func newGroups(ctx context.Context, s Settings, c *cluster) (*groups, error) {
	g := &groups{settings: s, cluster: c}
	names := make([]string, s.Groups)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", c.topic, i)
	}
	coordinators, err := g.coordinators(ctx, names)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		r := &roster{generations: map[int64]int32{}}
		for range s.Members {
			g.members = append(g.members, &groupMember{all: g, n: int64(len(g.members)), group: name, roster: r, addr: coordinators[i]})
		}
	}
	return g, nil
}

// coordinators finds the address of each group's coordinator.
func (g *groups) coordinators(ctx context.Context, names []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, g.settings.Timeout)
	defer cancel()
	for {
		found := g.cluster.admin.FindGroupCoordinators(ctx, names...)
		err := found.Error()
		if err == nil {
			all := make([]string, len(names))
			for i, n := range names {
				f := found[n]
				all[i] = net.JoinHostPort(f.Host, strconv.Itoa(int(f.Port)))
			}
			return all, nil
		}
		if !sleepUntil(ctx, time.Now().Add(100*time.Millisecond)) {
			return nil, fmt.Errorf("find coordinators: %w", err)
		}
	}
}

// each runs f for every member at once and joins the errors of the first few.
func (g *groups) each(f func(*groupMember) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(g.members))
	for i, m := range g.members {
		wg.Go(func() { errs[i] = f(m) })
	}
	wg.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	return errors.Join(errs[:min(len(errs), 3)]...)
}

func (g *groups) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*g.settings.Timeout)
	defer cancel()
	return g.each(func(m *groupMember) error {
		err := m.join(ctx)
		for err == nil && !m.roster.complete(g.settings.Members) {
			// Who joins later makes the others join again.
			sleepUntil(ctx, time.Now().Add(joinPoll))
			if err = m.beat(); err != nil {
				err = m.settle(ctx, err)
			}
		}
		if err != nil {
			return fmt.Errorf("member %d of %s: %w", m.n, m.group, err)
		}
		return nil
	})
}

// joinPoll is the time between heartbeats while a group comes together.
const joinPoll = 500 * time.Millisecond

func (g *groups) load(send context.Context) error {
	return g.each(func(m *groupMember) error { return m.work(send) })
}

// close leaves the groups and deletes them.
func (g *groups) close(ctx context.Context) {
	_ = g.each(func(m *groupMember) error { // what is left expires
		if m.conn == nil {
			return nil
		}
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group, req.MemberID = 2, m.group, m.id
		err := m.ask(req, kmsg.NewPtrLeaveGroupResponse())
		return errors.Join(err, m.conn.Close())
	})
	ctx, cancel := context.WithTimeout(ctx, g.settings.Timeout)
	defer cancel()
	var names []string
	for _, m := range g.members {
		names = append(names, m.group)
	}
	_, _ = g.cluster.admin.DeleteGroups(ctx, slices.Compact(names)...) // as above
}

// join joins the group and gets an assignment, however often that takes.
func (m *groupMember) join(ctx context.Context) error {
	began := time.Now()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := m.connect(ctx)
		if err == nil {
			err = m.rejoin()
		}
		var ke *kerr.Error
		switch {
		case err == nil:
			m.all.joins.record(time.Since(began))
			m.roster.joined(m.n, m.generation)
			return nil
		case errors.Is(err, kerr.UnknownMemberID):
			m.id = ""
		case !errors.As(err, &ke):
			m.disconnect()
		}
		sleepUntil(ctx, time.Now().Add(100*time.Millisecond))
	}
}

func (m *groupMember) connect(ctx context.Context) error {
	if m.conn != nil {
		return nil
	}
	c, err := dial(ctx, m.addr, m.all.settings.Timeout)
	if err != nil {
		return err
	}
	c.r = bufio.NewReaderSize(c.Conn, 512) // ten thousand of them
	m.conn = c
	return nil
}

func (m *groupMember) disconnect() {
	if m.conn != nil {
		_ = m.conn.Close() // it has failed
		m.conn = nil
	}
}

// rejoin is one round of JoinGroup and SyncGroup.
func (m *groupMember) rejoin() error {
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version = 6
	join.Group, join.MemberID, join.ProtocolType = m.group, m.id, "consumer"
	join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = sessionMillis, 300_000
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Topics = []string{m.all.cluster.topic}
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", meta.AppendTo(nil)
	join.Protocols = append(join.Protocols, protocol)
	joined := kmsg.NewPtrJoinGroupResponse()
	if err := m.ask(join, joined); err != nil {
		return err
	}
	err := kerr.ErrorForCode(joined.ErrorCode)
	if errors.Is(err, kerr.MemberIDRequired) {
		m.id = joined.MemberID
		return m.rejoin()
	}
	if err != nil {
		return err
	}
	m.id, m.generation = joined.MemberID, joined.Generation

	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version = 4
	sync.Group, sync.Generation, sync.MemberID = m.group, m.generation, m.id
	if joined.LeaderID == m.id {
		for i, member := range joined.Members {
			var assigned kmsg.ConsumerMemberAssignment
			t := kmsg.NewConsumerMemberAssignmentTopic()
			t.Topic, t.Partitions = m.all.cluster.topic, []int32{int32(i)}
			assigned.Topics = append(assigned.Topics, t)
			a := kmsg.NewSyncGroupRequestGroupAssignment()
			a.MemberID, a.MemberAssignment = member.MemberID, assigned.AppendTo(nil)
			sync.GroupAssignment = append(sync.GroupAssignment, a)
		}
	}
	synced := kmsg.NewPtrSyncGroupResponse()
	if err := m.ask(sync, synced); err != nil {
		return err
	}
	return kerr.ErrorForCode(synced.ErrorCode)
}

// work sends commits by the clock, and heartbeats, until send ends.
func (m *groupMember) work(send context.Context) error {
	s := m.all.settings
	p := pacer{schedule: schedule{
		start: m.all.run.began, rate: s.Rate.N, size: 1, first: m.n, step: int64(len(m.all.members)),
	}, queue: s.Queue, grace: s.Timeout}
	spread := heartbeatEvery * time.Duration(m.n) / time.Duration(len(m.all.members))
	beat := m.all.run.began.Add(spread)
	for {
		for due := p.due(p.next); beat.Before(due); beat = beat.Add(heartbeatEvery) {
			if !sleepUntil(send, beat) {
				return nil
			}
			if err := m.heartbeat(send, beat); err != nil {
				return err
			}
		}
		due, ok := p.wait(send)
		if !ok {
			m.all.run.dropped.Add(p.dropped)
			return nil
		}
		if err := m.commit(send, due); err != nil {
			return err
		}
	}
}

func (m *groupMember) heartbeat(ctx context.Context, due time.Time) error {
	err := m.beat()
	m.all.run.latency(&m.all.beats, due, time.Now())
	return m.settle(ctx, err)
}

// beat is one Heartbeat.
func (m *groupMember) beat() error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.Generation, req.MemberID = 3, m.group, m.generation, m.id
	resp := kmsg.NewPtrHeartbeatResponse()
	err := m.ask(req, resp)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	return err
}

func (m *groupMember) commit(ctx context.Context, due time.Time) error {
	m.offset++
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.MemberID = 7, m.group, m.generation, m.id
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = int32(m.n)%int32(m.all.settings.Members), m.offset
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.Partitions = m.all.cluster.topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp := kmsg.NewPtrOffsetCommitResponse()
	err := m.ask(req, resp)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	now := time.Now()
	m.all.run.latency(&m.all.run.ack, due, now)
	if err == nil {
		m.all.run.moved(now, 1, 1, 0)
	}
	return m.settle(ctx, err)
}

// settle counts an error and joins anew.
func (m *groupMember) settle(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if m.all.run != nil {
		m.all.run.errors.add(err)
	}
	if _, ok := errors.AsType[*kerr.Error](err); !ok {
		m.disconnect()
	}
	if err := m.join(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// ask sends a request and reads its answer.
func (m *groupMember) ask(req kmsg.Request, into kmsg.Response) error {
	m.request++
	b := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, m.request)
	if err := m.conn.SetDeadline(time.Now().Add(4 * m.all.settings.Timeout)); err != nil {
		return err
	}
	if _, err := m.conn.Write(b); err != nil {
		return err
	}
	answer, err := m.conn.read()
	if err != nil {
		return err
	}
	into.SetVersion(req.GetVersion())
	if !req.IsFlexible() {
		if len(answer) < 4 {
			return io.ErrUnexpectedEOF
		}
		return into.ReadFrom(answer[4:])
	}
	return parse(answer, m.request, into)
}
