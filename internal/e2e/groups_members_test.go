package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// protocol is how a group's members share partitions.
type protocol string

const (
	eager       protocol = "eager"       // range, which all clients have
	cooperative protocol = "cooperative" // cooperative-sticky
)

// program is a client as a member: its command takes BOOTSTRAP TOPIC GROUP
// PROTOCOL RECORDS_PER_SECOND. It prints, with times in microseconds,
//
//	A time partitions                     it was assigned so many more
//	S time partition offset               it begins there, as it learned after time
//	R time partition first count sum      it saw these records, before it commits them
//	C time partition offset               a commit was acknowledged before time
//	X time error                          a commit or a look at positions failed
//	F what                                something is wrong
//
// and leaves when its standard input ends.
type program func(t *testing.T, args ...string) *exec.Cmd

func librdkafkaMember(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(context.Background(), python(t), append([]string{"testdata/groups/member.py"}, args...)...)
}

func javaMember(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	flags := []string{"-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", javaMembers(t), "Member"}
	return exec.CommandContext(context.Background(), "java", append(flags, args...)...)
}

// javaMembers is the class path of the Java member.
func javaMembers(t *testing.T) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	classes := filepath.Join(sharedDir(t), "groups")
	jars := strings.TrimSpace(string(run(t, 5*time.Minute, "../../scripts/clients.sh", "java")))
	if _, err := os.Stat(classes); err != nil {
		run(t, time.Minute, "javac", "-d", classes, "-cp", jars, "testdata/groups/Member.java")
	}
	return classes + ":" + jars
}

// franzMember is this test binary, see TestGroupMember.
func franzMember(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), os.Args[0], "-test.run=^TestGroupMember$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), memberSetting+"="+strings.Join(args, " "))
	return cmd
}

const memberSetting = "KARST_TEST_GROUP_MEMBER"

// crowd is a group whose members come and go.
type crowd struct {
	t       *testing.T
	name    string
	clients []program // of the members, in turn
	args    []string
	history *history

	mu      sync.Mutex
	ending  bool
	members []*member
	started int
	crashed int
	left    int
	calm    chan struct{} // closed when members need come and go no more
	readers sync.WaitGroup
}

// member is one process of a crowd.
type member struct {
	name   string
	cmd    *exec.Cmd
	in     io.Closer
	log    *tail
	ended  chan struct{}
	killed bool // before it ended; the crowd is locked
	asked  bool // to leave
}

func newCrowd(t *testing.T, n *node, d *dataSet, rate int, name string, p protocol, clients ...program) *crowd {
	t.Helper()
	c := &crowd{
		t: t, name: name, clients: clients, history: newHistory(d), calm: make(chan struct{}),
		args: []string{n.addr(), d.topic, name, string(p), strconv.Itoa(rate)},
	}
	for _, p := range clients {
		p(t, c.args...) // fetch and compile what it needs before the clock runs
	}
	t.Cleanup(func() {
		c.mu.Lock()
		for _, m := range c.members {
			_ = m.cmd.Process.Kill()
		}
		c.mu.Unlock()
		c.readers.Wait()
	})
	return c
}

// churn lets members come and go until the crowd is to be calm.
func (c *crowd) churn() {
	for range membersLeast {
		c.join()
	}
	for step := 0; ; step++ {
		select {
		case <-c.calm:
			return
		case <-time.After(4*time.Second + time.Duration(step%3)*time.Second):
		}
		switch step % 4 {
		case 0, 2:
			c.join()
		case 1:
			c.crash()
		case 3:
			c.leave()
		}
	}
}

// join starts a member.
func (c *crowd) join() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending || len(c.members) >= membersMost {
		return
	}
	m := &member{name: fmt.Sprintf("%s-%d", c.name, c.started), log: &tail{t: c.t}, ended: make(chan struct{})}
	m.cmd = c.clients[c.started%len(c.clients)](c.t, c.args...)
	m.cmd.Stderr = m.log
	in, err := m.cmd.StdinPipe()
	if err != nil {
		c.history.failed(err.Error())
		return
	}
	m.in = in
	out, err := m.cmd.StdoutPipe()
	if err == nil {
		err = m.cmd.Start()
	}
	if err != nil {
		c.history.failed(err.Error())
		return
	}
	c.started++
	c.members = append(c.members, m)
	c.readers.Go(func() { c.listen(m, out) })
}

// listen reads what a member says until it ends.
func (c *crowd) listen(m *member, out io.Reader) {
	defer close(m.ended)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // and what was cut by a kill does not count
		}
		c.history.line(m.name, strings.TrimSpace(line))
	}
	err := m.cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !m.killed && (err != nil || !m.asked) {
		c.history.failed(fmt.Sprintf("%s ended: %v\n%s", m.name, err, m.log))
	}
}

// take removes the member that has been there longest.
func (c *crowd) take(mark func(m *member)) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending || len(c.members) == 0 {
		return nil
	}
	m := c.members[0]
	c.members = c.members[1:]
	mark(m)
	return m
}

// crash is kill -9 for a member.
func (c *crowd) crash() {
	if m := c.take(func(m *member) { m.killed = true; c.crashed++ }); m != nil {
		_ = m.cmd.Process.Kill()
		<-m.ended
	}
}

// leave lets a member leave as it should.
func (c *crowd) leave() {
	if m := c.take(func(m *member) { m.asked = true; c.left++ }); m != nil {
		c.await(m)
	}
}

// leaveMax bounds how long a member may need to leave; it may be that the broker
// is away.
const leaveMax = 2 * time.Minute

func (c *crowd) await(m *member) {
	_ = m.in.Close()
	select {
	case <-m.ended:
	case <-time.After(leaveMax):
		c.history.failed(fmt.Sprintf("%s does not leave:\n%s", m.name, m.log))
		_ = m.cmd.Process.Kill()
		<-m.ended
	}
}

// end lets all members leave.
func (c *crowd) end() {
	c.mu.Lock()
	members := slices.Clone(c.members)
	c.ending, c.members = true, nil
	for _, m := range members {
		m.asked = true
	}
	c.mu.Unlock()
	var leaving sync.WaitGroup
	for _, m := range members {
		leaving.Go(func() { c.await(m) })
	}
	leaving.Wait()
	c.readers.Wait()
}

// report is the crowd in figures.
func (c *crowd) report(generation int32) string {
	h := c.history
	refused := make([]string, 0, len(h.refused))
	for _, what := range slices.Sorted(maps.Keys(h.refused)) {
		refused = append(refused, fmt.Sprintf("%s %d", what, h.refused[what]))
	}
	return fmt.Sprintf("%d members, %d killed, %d left before the end; %d generations, %d commits, refused [%s]; %d records seen twice; longest pause %v; %d looks at positions",
		c.started, c.crashed, c.left, generation, len(h.commits), strings.Join(refused, ", "), h.duplicates, h.pause.Round(10*time.Millisecond), h.looks)
}

// TestGroupMember is no test but the program of franz-go's members.
func TestGroupMember(t *testing.T) {
	args := strings.Fields(os.Getenv(memberSetting))
	if len(args) == 0 {
		t.Skip("it is the program of TestGroups' members")
	}
	rate, err := strconv.Atoi(args[4])
	if err != nil {
		t.Fatal(err)
	}
	m := &franzGroup{topic: args[1], out: bufio.NewWriter(os.Stdout), ends: map[int32]kgo.EpochOffset{}}
	balancer := kgo.CooperativeStickyBalancer()
	if protocol(args[3]) == eager {
		balancer = kgo.RangeBalancer()
	}
	m.client, err = kgo.NewClient(kgo.SeedBrokers(args[0]), kgo.ConsumeTopics(args[1]), kgo.ConsumerGroup(args[2]), kgo.Balancers(balancer),
		kgo.ClientID("franz-go"), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(time.Second), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
		kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.lost), kgo.OnPartitionsLost(m.lost), kgo.AdjustFetchOffsetsFn(m.begins))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	for ctx.Err() == nil {
		began := time.Now()
		poll, end := context.WithTimeout(ctx, 200*time.Millisecond)
		n := m.turn(m.client.PollRecords(poll, max(1, rate/4)))
		end()
		m.client.AllowRebalance()
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(n)*time.Second/time.Duration(rate) - time.Since(began)):
		}
	}
	m.client.CloseAllowingRebalance()
}

// franzGroup is a member in this process.
type franzGroup struct {
	client *kgo.Client
	topic  string
	mu     sync.Mutex
	out    *bufio.Writer
	at     int64                     // of the last assignment
	ends   map[int32]kgo.EpochOffset // to be committed
}

func (m *franzGroup) say(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintf(m.out, format+"\n", args...)
	_ = m.out.Flush()
}

func now() int64 { return time.Now().UnixMicro() }

func (m *franzGroup) assigned(_ context.Context, _ *kgo.Client, got map[string][]int32) {
	m.mu.Lock()
	m.at = now()
	m.mu.Unlock()
	m.say("A %d %d", m.at, len(got[m.topic]))
}

// lost forgets what was to be committed of partitions that others get.
func (m *franzGroup) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range gone[m.topic] {
		delete(m.ends, p)
	}
}

// begins is told what was committed for the partitions assigned last.
func (m *franzGroup) begins(_ context.Context, at map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for p, o := range at[m.topic] {
		m.say("S %d %d %d", m.at, p, max(0, o.EpochOffset().Offset))
	}
	return at, nil
}

// turn tells of records, commits them and counts them.
func (m *franzGroup) turn(f kgo.Fetches) (n int) {
	f.EachPartition(func(p kgo.FetchTopicPartition) {
		if _, lost := errors.AsType[*kgo.ErrDataLoss](p.Err); lost {
			m.say("F %v", p.Err)
		}
		if len(p.Records) == 0 {
			return
		}
		first, sum := p.Records[0].Offset, uint32(0)
		for k, r := range p.Records {
			if r.Offset != first+int64(k) {
				m.say("F partition %d: offset %d where %d should be", p.Partition, r.Offset, first+int64(k))
			}
			sum += crc32.ChecksumIEEE(r.Value)
		}
		m.say("R %d %d %d %d %d", now(), p.Partition, first, len(p.Records), sum)
		last := p.Records[len(p.Records)-1]
		m.mu.Lock()
		m.ends[p.Partition] = kgo.EpochOffset{Epoch: last.LeaderEpoch, Offset: last.Offset + 1}
		m.mu.Unlock()
		n += len(p.Records)
	})
	m.commit()
	return n
}

// commit commits what is to be; what fails is tried again unless it is lost.
func (m *franzGroup) commit() {
	m.mu.Lock()
	ends := maps.Clone(m.ends)
	m.mu.Unlock()
	if len(ends) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	m.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{m.topic: ends}, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		at := now()
		if err != nil {
			m.say("X %d %s", at, strings.ReplaceAll(fmt.Sprintf("%T", err), " ", "_"))
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if e, ok := errors.AsType[*kerr.Error](kerr.ErrorForCode(p.ErrorCode)); ok {
					m.say("X %d %s", at, e.Message)
				} else {
					m.say("C %d %d %d", at, p.Partition, ends[p.Partition].Offset)
					m.mu.Lock()
					delete(m.ends, p.Partition)
					m.mu.Unlock()
				}
			}
		}
	})
}
