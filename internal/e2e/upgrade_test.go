package e2e

import (
	"context"
	"fmt"
	"hash/maphash"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// next is a build that reads one level more than the one under test, and writes a
// changed record once the cluster is at that level.
func next(t *testing.T) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.next == "" {
		out := filepath.Join(sharedDir(t), "karst-next")
		run(t, 5*time.Minute, "go", "build", "-tags", "karst_next", "-ldflags", "-X main.version=next", "-o", out, "../../cmd/karst")
		shared.next = out
	}
	return shared.next
}

// mixed is brokers on one bucket, each of which may be of another build.
type mixed struct {
	t       *testing.T
	store   storeURL
	nodes   []*node
	running []*process
}

func newMixed(t *testing.T, s storeURL, brokers int) *mixed {
	t.Helper()
	c := &mixed{t: t, store: s, running: make([]*process, brokers)}
	for id := range brokers {
		c.nodes = append(c.nodes, newNode(t, s, "--broker.id", strconv.Itoa(id+1)))
	}
	return c
}

// start starts a broker of a build.
func (c *mixed) start(at int, binary string) *process {
	c.t.Helper()
	n := c.nodes[at]
	p := &process{node: n, log: &tail{t: c.t}, dir: c.t.TempDir(), ended: make(chan struct{}), began: time.Now()}
	p.cmd = exec.CommandContext(context.Background(), binary, append([]string{
		"serve", "--store", c.store.url, "--listen", n.addr(), "--http", address(n.http), "--memory", n.memory,
	}, n.flags...)...)
	p.cmd.Dir = p.dir
	p.cmd.Env = append([]string{"HOME=" + p.dir, "TMPDIR=" + p.dir, "PATH=" + os.Getenv("PATH")}, c.store.env...)
	p.cmd.Stderr, p.cmd.Stdout = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	c.t.Cleanup(func() {
		p.kill()
		if c.t.Failed() {
			c.t.Logf("log of broker %d, process %d:\n%s", at+1, p.cmd.Process.Pid, p.log)
		}
	})
	c.running[at] = p
	return p
}

// stop stops a broker as a rolling restart does.
func (c *mixed) stop(at int) {
	c.t.Helper()
	p := c.running[at]
	p.signal(syscall.SIGTERM)
	if code := p.wait(30 * time.Second); code != 0 {
		c.t.Fatalf("broker %d: exit code %d\n%s", at+1, code, p.log)
	}
}

// roll replaces the brokers by those of a build, one after the other; after each
// one, between is called.
func (c *mixed) roll(binary string, between func(at int)) {
	c.t.Helper()
	for at := range c.nodes {
		c.stop(at)
		c.start(at, binary).waitReady()
		between(at)
	}
}

// tool runs karst broker of a build; what it prints, and whether it succeeds.
func (c *mixed) tool(binary string, args ...string) (string, bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"broker", "--store", c.store.url}, args...)...)
	cmd.Env = append(os.Environ(), c.store.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// wants runs karst broker and wants it to succeed, or not, and to say something.
func (c *mixed) wants(succeed bool, say, binary string, args ...string) {
	c.t.Helper()
	out, ok := c.tool(binary, args...)
	if ok != succeed || !strings.Contains(out, say) {
		c.t.Fatalf("karst broker %s: succeeded %v, wanted %v and %q:\n%s", strings.Join(args, " "), ok, succeed, say, out)
	}
}

// refused wants a broker of a build not to start, and to say what to do.
func (c *mixed) refused(at int, binary string) {
	c.t.Helper()
	p := c.start(at, binary)
	if code := p.wait(30 * time.Second); code == 0 {
		c.t.Fatalf("it ended with code 0:\n%s", p.log)
	}
	if last := lastLine(p.log); !strings.Contains(last, "level 2") || !strings.Contains(last, "reads up to level 1: run a newer Karst") {
		c.t.Fatalf("it does not say what to do: %s", last)
	}
	p.wroteNothing()
}

// readers are members of a group, each of which commits what it read before others
// may have its partitions: all of them together read every record once.
type readers struct {
	t      *testing.T
	ledger *ledger
	stop   context.CancelFunc
	ended  sync.WaitGroup

	mu    sync.Mutex
	next  map[int32]int64
	wrong []string
}

func startReaders(t *testing.T, addr string, l *ledger, members int) *readers {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &readers{t: t, ledger: l, stop: cancel, next: map[int32]int64{}}
	for range members {
		c := client(t, addr, kgo.ConsumerGroup("readers"), kgo.ConsumeTopics(l.topic), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500*time.Millisecond))
		r.ended.Go(func() {
			for ctx.Err() == nil {
				r.read(ctx, c)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		r.ended.Wait()
	})
	return r
}

func (r *readers) read(ctx context.Context, c *kgo.Client) {
	fetches := c.PollFetches(ctx)
	defer c.AllowRebalance()
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	fetches.EachError(func(topic string, p int32, err error) {
		r.wrong = append(r.wrong, fmt.Sprintf("partition %d of %s: %v", p, topic, err))
	})
	fetches.EachRecord(func(record *kgo.Record) {
		if want := r.next[record.Partition]; record.Offset != want {
			r.wrong = append(r.wrong, fmt.Sprintf("partition %d: offset %d, want %d", record.Partition, record.Offset, want))
		}
		r.next[record.Partition] = record.Offset + 1
	})
	r.mu.Unlock()
	if err := c.CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil {
		r.mu.Lock()
		r.wrong = append(r.wrong, "commit: "+err.Error())
		r.mu.Unlock()
	}
}

// end waits until the group has read everything that was acknowledged.
func (r *readers) end() {
	r.t.Helper()
	within(r.t, time.Minute, "the group reads everything", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		read := 0
		for _, n := range r.next {
			read += int(n)
		}
		if want := r.ledger.acknowledged(); read < want {
			return errShort{read, want}
		}
		return nil
	})
	r.stop()
	r.ended.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, w := range r.wrong {
		if k < wrongMax {
			r.t.Errorf("group: %s", w)
		}
	}
}

// TestUpgrade rolls three brokers from one build to the next, back, and forth again
// under producers and a group, and then raises the level (R5): nobody notices, and
// the older build is refused from then on.
func TestUpgrade(t *testing.T) {
	endToEnd(t)
	older, newer := karst(t), next(t)
	c := newMixed(t, oneStore(t), 3)
	began := time.Now()
	for at := range c.nodes {
		c.start(at, older).waitReady()
	}
	const partitions = 6
	l := &load{t: t, ledger: newLedger("ledger", partitions), followed: newView(partitions, maphash.MakeSeed())}
	addr := c.nodes[0].addr()
	if _, err := adminOf(t, addr).CreateTopic(t.Context(), partitions, 3, nil, l.ledger.topic); err != nil {
		t.Fatal(err)
	}
	l.producers = []producer{goProducer(t, addr, l.ledger, "a", perSecond), goProducer(t, addr, l.ledger, "b", perSecond)}
	var ctx context.Context
	ctx, l.endFollow = context.WithCancel(context.Background())
	t.Cleanup(l.endFollow)
	alone := consumer(t, addr, l.ledger)
	l.follows.Go(func() { l.ledger.follow(ctx, alone, l.followed) })
	group := startReaders(t, addr, l.ledger, 2)
	flows := func(int) { l.flowing(2000, time.Minute) }
	flows(0)

	for range setting(t, "KARST_TEST_UPGRADES", 1) {
		c.roll(newer, func(at int) {
			flows(at)
			if at == 1 {
				c.wants(false, "broker 3 reads up to level 1, not 2", newer, "upgrade", "--level", "2")
				c.wants(true, "level 1, before: 1", newer, "upgrade")
			}
		})
		// The newer build may not write yet what the older does not read.
		c.drain(newer, "live, drained")
		c.roll(older, flows)
		c.wants(true, "level 1\n", older, "list")
	}
	c.roll(newer, flows)
	c.wants(true, "level 1; all live brokers read level 2", newer, "list")
	c.wants(true, "level 2, before: 1", newer, "upgrade")
	c.drain(newer, "live, drained since 20")
	c.wants(false, "which cannot be lowered to 1", newer, "upgrade", "--level", "1")
	c.wants(false, "run a newer Karst", older, "list")
	flows(0)
	c.stop(2)
	c.refused(2, older)
	flows(2)
	c.start(2, newer).waitReady()
	flows(2)

	l.end()
	group.end()
	count := l.ledger.verify(t, addr, l.followed)
	t.Logf("%v; %d records acknowledged, %d read back", time.Since(began).Round(time.Second), l.ledger.acknowledged(), count)
}

// drain drains broker 2, wants it to be listed as something, and lets it lead again.
func (c *mixed) drain(binary, listed string) {
	c.t.Helper()
	c.wants(true, "", binary, "drain", "2")
	c.wants(true, listed, binary, "list")
	c.wants(true, "", binary, "undrain", "2")
}
