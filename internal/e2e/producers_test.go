package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// producer sends records until it is told to end; its acknowledgements go to a
// ledger.
type producer interface {
	// end makes it stop sending, wait for what it sent, and go.
	end()
}

// perSecond is what each producer tries to send.
const perSecond = 2000

// producers starts one idempotent producer of each client, with acks=all.
func producers(t *testing.T, addr string, l *ledger) []producer {
	t.Helper()
	return []producer{
		librdkafkaProducer(t, nil, addr, l, "librdkafka", perSecond), javaProducer(t, nil, addr, l, "java", perSecond), goProducer(t, addr, l, "go", perSecond),
	}
}

// external is a producer in a process of its own, which prints a line for each
// acknowledgement and ends when its standard input does.
type external struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	in    io.Closer
	log   *tail
	ended chan struct{}
}

func librdkafkaProducer(t *testing.T, at *host, addr string, l *ledger, name string, rate int, more ...string) producer {
	t.Helper()
	return startExternal(t, at, l, name, python(t),
		append([]string{"testdata/librdkafka/producer.py", addr, l.topic, fmt.Sprint(l.partitions), name, fmt.Sprint(rate)}, more...)...)
}

func javaProducer(t *testing.T, at *host, addr string, l *ledger, name string, rate int, more ...string) producer {
	t.Helper()
	return startExternal(t, at, l, name, "java",
		append([]string{"-Xmx128m", "-cp", java(t), "Producer", addr, l.topic, fmt.Sprint(l.partitions), name, fmt.Sprint(rate)}, more...)...)
}

// python is an interpreter that has the newest librdkafka.
func python(t *testing.T) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.python == "" {
		shared.python = strings.TrimSpace(string(run(t, 5*time.Minute, "../../scripts/clients.sh", "python")))
	}
	return shared.python
}

// java is the class path of the Java clients and of our programs, compiled.
func java(t *testing.T) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.java == "" {
		jars := strings.TrimSpace(string(run(t, 5*time.Minute, "../../scripts/clients.sh", "java")))
		classes := filepath.Join(sharedDir(t), "classes")
		sources, err := filepath.Glob("testdata/java/*.java")
		if err != nil {
			t.Fatal(err)
		}
		run(t, time.Minute, "javac", append([]string{"-d", classes, "-cp", jars}, sources...)...)
		shared.java = classes + ":" + jars
	}
	return shared.java
}

func startExternal(t *testing.T, at *host, l *ledger, name, program string, args ...string) *external {
	t.Helper()
	e := &external{t: t, name: name, log: &tail{t: t}, ended: make(chan struct{})}
	e.cmd = at.command(program, args...)
	e.cmd.Stderr = e.log
	in, err := e.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e.in = in
	go func() {
		defer close(e.ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var sequence, partition, offset int64
			if n, _ := fmt.Sscanf(lines.Text(), "A %d %d %d", &sequence, &partition, &offset); n == 3 {
				l.acknowledge(name, sequence, partition, offset)
				continue
			}
			l.failed(name + ": " + lines.Text())
		}
		if err := e.cmd.Wait(); err != nil {
			l.failed(fmt.Sprintf("%s: %v\n%s", name, err, e.log))
		}
	}()
	t.Cleanup(func() {
		_ = e.cmd.Process.Kill()
		<-e.ended
	})
	return e
}

// endMax bounds how long a producer may need to deliver what it has queued.
const endMax = 3 * time.Minute

func (e *external) end() {
	e.t.Helper()
	_ = e.in.Close()
	select {
	case <-e.ended:
	case <-time.After(endMax):
		e.t.Fatalf("producer %s does not end:\n%s", e.name, e.log)
	}
}

// franz is franz-go's producer, in this process.
type franz struct {
	t      *testing.T
	client *kgo.Client
	stop   chan struct{}
	sent   sync.WaitGroup
}

func goProducer(t *testing.T, addr string, l *ledger, name string, rate int, options ...kgo.Opt) producer {
	t.Helper()
	return startFranz(t, l, name, rate, append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5 * time.Millisecond), kgo.ProduceRequestTimeout(10 * time.Second), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }), kgo.AllowAutoTopicCreation(),
		kgo.UnknownTopicRetries(-1),
	}, options...)...)
}

func startFranz(t *testing.T, l *ledger, name string, rate int, options ...kgo.Opt) producer {
	t.Helper()
	client, err := kgo.NewClient(options...)
	if err != nil {
		t.Fatal(err)
	}
	f := &franz{t: t, client: client, stop: make(chan struct{})}
	f.sent.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for sequence := int64(0); ; {
			select {
			case <-f.stop:
				return
			case <-tick.C:
			}
			for range max(1, rate/50) {
				f.send(l, name, sequence)
				sequence++
			}
		}
	})
	t.Cleanup(client.Close)
	return f
}

func (f *franz) send(l *ledger, name string, sequence int64) {
	k := key(name, sequence)
	r := &kgo.Record{Topic: l.topic, Partition: int32(sequence % int64(l.partitions)), Key: []byte(k), Value: []byte(value(k, sequence))}
	f.client.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		if err != nil {
			l.failed(fmt.Sprintf("%s: %v", k, err))
			return
		}
		l.acknowledge(name, sequence, int64(r.Partition), r.Offset)
		l.sent(r)
	})
}

func (f *franz) end() {
	f.t.Helper()
	close(f.stop)
	f.sent.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), endMax)
	defer cancel()
	if err := f.client.Flush(ctx); err != nil {
		f.t.Fatalf("producer go does not end: %v", err)
	}
}
