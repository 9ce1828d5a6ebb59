package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// soaking says how long each test of the ecosystem works with its brokers being
// killed: some seconds, or what KARST_TEST_SOAK says; then they share the
// machine.
func soaking(t *testing.T) time.Duration {
	t.Helper()
	endToEnd(t)
	seconds := setting(t, "KARST_TEST_SOAK", 0)
	if seconds == 0 {
		return 15 * time.Second
	}
	t.Parallel()
	return time.Duration(seconds) * time.Second
}

// ecosystem is the class path of Connect, MirrorMaker 2 and Streams, and of our
// programs, compiled.
func ecosystem(t *testing.T) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.ecosystem == "" {
		jars := clientOf(t, "ecosystem")
		documented(t, "from Maven Central. Each works", jarVersion(t, jars, "connect-runtime"))
		classes := filepath.Join(sharedDir(t), "ecosystem")
		run(t, time.Minute, "javac", "-encoding", "UTF-8", "-nowarn", "-d", classes, "-cp", jars, "testdata/ecosystem/Counts.java")
		shared.ecosystem = classes + ":" + jars
	}
	return shared.ecosystem
}

// jvm is a Java program that is killed and started again.
type jvm struct {
	t    *testing.T
	name string
	args func() []string
	log  *tail

	cmd   *exec.Cmd
	ended chan struct{}
	lives int
}

func newJVM(t *testing.T, name string, args func() []string) *jvm {
	t.Helper()
	j := &jvm{t: t, name: name, args: args, log: &tail{t: t}}
	t.Cleanup(func() {
		if j.cmd != nil {
			j.kill()
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, j.log)
		}
	})
	return j
}

func (j *jvm) start() {
	j.t.Helper()
	options := []string{"-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.apache.logging.log4j.level=WARN", "-cp", ecosystem(j.t)}
	j.cmd = exec.CommandContext(context.Background(), "java", append(options, j.args()...)...)
	j.cmd.Stdout, j.cmd.Stderr = j.log, j.log
	if err := j.cmd.Start(); err != nil {
		j.t.Fatal(err)
	}
	j.lives++
	j.ended = make(chan struct{})
	go func() {
		defer close(j.ended)
		_ = j.cmd.Wait()
	}()
}

// alive fails the test if the program ended by itself.
func (j *jvm) alive() {
	j.t.Helper()
	select {
	case <-j.ended:
		j.t.Fatalf("%s ended: %v\n%s", j.name, j.cmd.ProcessState, j.log)
	default:
	}
}

func (j *jvm) kill() {
	_ = j.cmd.Process.Kill()
	<-j.ended
}

func (j *jvm) stop() {
	j.t.Helper()
	_ = j.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-j.ended:
	case <-time.After(time.Minute):
		j.t.Errorf("%s does not stop", j.name)
		j.kill()
	}
}

// properties writes a Java properties file.
func properties(t *testing.T, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// disorder kills the broker with kill -9 again and again, and now and then one of
// the programs. It returns the numbers of kills.
func disorder(t *testing.T, n *node, p *process, d time.Duration, programs ...*jvm) (*process, string) {
	t.Helper()
	brokers, others := 0, 0
	for end := time.Now().Add(d); time.Now().Before(end); {
		pause := 4*time.Second + rand.N(min(d/8, 30*time.Second)+time.Second)
		for wake := time.Now().Add(pause); time.Now().Before(wake); time.Sleep(100 * time.Millisecond) {
			for _, j := range programs {
				j.alive()
			}
		}
		p.wroteNothing()
		p.kill()
		brokers++
		time.Sleep(rand.N(time.Second))
		p = n.startReady()
		if len(programs) > 0 && brokers%3 == 2 {
			j := programs[rand.IntN(len(programs))]
			j.kill()
			others++
			j.start()
		}
	}
	return p, fmt.Sprintf("%d kills of the broker, %d of its clients, in %v", brokers, others, d)
}

// flow writes numbers at a rate until it is ended, into a file or a topic.
type flow struct {
	t     *testing.T
	write func(from, to int64) error
	stop  chan struct{}
	ended sync.WaitGroup

	mu    sync.Mutex
	count int64
	err   error
}

const flowPerSecond = 200

func startFlow(t *testing.T, write func(from, to int64) error) *flow {
	t.Helper()
	f := &flow{t: t, write: write, stop: make(chan struct{})}
	f.ended.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-f.stop:
				return
			case <-tick.C:
			}
			from := f.written()
			to := from + flowPerSecond/20
			err := write(from, to)
			f.mu.Lock()
			f.count, f.err = to, err
			f.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { f.end() })
	return f
}

func (f *flow) written() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// end ends the flow and returns how many numbers there are.
func (f *flow) end() int64 {
	f.t.Helper()
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	f.ended.Wait()
	if f.err != nil {
		f.t.Error(f.err)
	}
	return f.count
}

// fileFlow appends numbers to a file, a line for each.
func fileFlow(t *testing.T, path string) *flow {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return startFlow(t, func(from, to int64) error {
		var b strings.Builder
		for k := from; k < to; k++ {
			fmt.Fprintf(&b, "%d\n", k)
		}
		_, err := file.WriteString(b.String())
		return err
	})
}

// topicFlow produces numbers; the key, which is the remainder by 100, decides the
// partition, so that those with the same key are in order.
func topicFlow(t *testing.T, addr, topic string, partitions int) *flow {
	t.Helper()
	c := client(t, addr, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1), kgo.ProducerLinger(5*time.Millisecond))
	return startFlow(t, func(from, to int64) error {
		var records []*kgo.Record
		for k := from; k < to; k++ {
			records = append(records, &kgo.Record{Topic: topic, Partition: int32(k % 100 % int64(partitions)), Key: fmt.Append(nil, k%100), Value: fmt.Append(nil, k)})
		}
		ctx, cancel := context.WithTimeout(context.Background(), endMax)
		defer cancel()
		return c.ProduceSync(ctx, records...).FirstErr()
	})
}

// arrival is which numbers have come where they should be.
type arrival struct {
	seen   []bool
	least  int64 // all below it have come
	twice  int64
	strays int64
}

func (a *arrival) add(k int64) {
	for int64(len(a.seen)) <= k {
		a.seen = append(a.seen, false)
	}
	if a.seen[k] {
		a.twice++
	}
	a.seen[k] = true
	for a.least < int64(len(a.seen)) && a.seen[a.least] {
		a.least++
	}
}

// complete says what is missing of the first numbers.
func (a *arrival) complete(count int64) error {
	switch {
	case a.strays > 0:
		return fmt.Errorf("%d lines that are no numbers", a.strays)
	case int64(len(a.seen)) > count:
		return fmt.Errorf("%d came, only %d were written", len(a.seen), count)
	case a.least < count:
		return fmt.Errorf("%d is missing of %d; %d came", a.least, count, len(a.seen))
	}
	return nil
}

// arrived reads the lines of a file.
func arrived(path string) (*arrival, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	a := &arrival{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var k int64
		if n, _ := fmt.Sscanf(lines.Text(), "%d", &k); n != 1 {
			a.strays++
			continue
		}
		a.add(k)
	}
	return a, nil
}

// arriveMax is how long what was written may take to arrive after the last kill:
// a member of a group that was killed holds its partitions until its session
// ends.
const arriveMax = 3 * time.Minute

// flows waits until something has arrived at all.
func flows(t *testing.T, what string, some func() (bool, error), programs ...*jvm) {
	t.Helper()
	within(t, arriveMax, what+" flows", func() error {
		for _, j := range programs {
			j.alive()
		}
		time.Sleep(100 * time.Millisecond)
		ok, err := some()
		if err == nil && !ok {
			err = errors.New("nothing yet")
		}
		return err
	})
}
