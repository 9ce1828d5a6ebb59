package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// toolClasses are the tools by the names of Kafka's scripts.
var toolClasses = map[string]string{
	"kafka-topics":              "org.apache.kafka.tools.TopicCommand",
	"kafka-configs":             "kafka.admin.ConfigCommand",
	"kafka-console-producer":    "org.apache.kafka.tools.ConsoleProducer",
	"kafka-console-consumer":    "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"kafka-consumer-groups":     "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"kafka-groups":              "org.apache.kafka.tools.GroupsCommand",
	"kafka-get-offsets":         "org.apache.kafka.tools.GetOffsetShell",
	"kafka-delete-records":      "org.apache.kafka.tools.DeleteRecordsCommand",
	"kafka-log-dirs":            "org.apache.kafka.tools.LogDirsCommand",
	"kafka-producer-perf-test":  "org.apache.kafka.tools.ProducerPerformance",
	"kafka-consumer-perf-test":  "org.apache.kafka.tools.ConsumerPerformance",
	"kafka-verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
	"kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
	"kafka-cluster":             "org.apache.kafka.tools.ClusterTool",
	"kafka-features":            "org.apache.kafka.tools.FeatureCommand",
	"kafka-metadata-quorum":     "org.apache.kafka.tools.MetadataQuorumCommand",
	"kafka-leader-election":     "org.apache.kafka.tools.LeaderElectionCommand",
	"kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
	"kafka-e2e-latency":         "org.apache.kafka.tools.EndToEndLatency",
	"kafka-transactions":        "org.apache.kafka.tools.TransactionsCommand",
}

// TestTools runs Kafka's command line tools, and reads what they print.
//
// KARST_TEST_BOOTSTRAP runs them against another broker, which proves the test.
func TestTools(t *testing.T) {
	endToEnd(t)
	addr := os.Getenv("KARST_TEST_BOOTSTRAP")
	if addr == "" {
		n := newNode(t, oneStore(t), "--group.initial.rebalance.delay=0s")
		n.startReady()
		addr = n.addr()
	}
	b := newToolbox(t, addr)
	name := fmt.Sprintf("tools-%d", time.Now().UnixMilli())
	b.topics(name)
	b.configs(name)
	b.console(name)
	b.groups(name)
	b.offsets(name)
	b.loads(name)
	b.cluster(name)
	b.run("kafka-topics", "--delete", "--topic", name)
	b.wants(b.fails("kafka-topics", "--describe", "--topic", name), "does not exist")
}

func (b *toolbox) topics(topic string) {
	b.t.Helper()
	b.wants(b.run("kafka-topics", "--create", "--topic", topic, "--partitions", "3", "--replication-factor", "1", "--config", "retention.ms=3600000"), "Created topic "+topic)
	b.wants(b.fails("kafka-topics", "--create", "--topic", topic), "already exists")
	b.run("kafka-topics", "--create", "--topic", topic, "--if-not-exists")
	b.wants(b.run("kafka-topics", "--list"), "(?m)^"+topic+"$")
	b.wants(b.run("kafka-topics", "--describe", "--topic", topic), `PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: .*retention.ms=3600000`,
		`Partition: 2\s+Leader: 1\s+Replicas: 1\s+Isr: 1`)
	b.run("kafka-topics", "--alter", "--topic", topic, "--partitions", "4")
	b.wants(b.run("kafka-topics", "--describe", "--topic", topic), "PartitionCount: 4")
	for _, bad := range []string{"--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions", "--at-min-isr-partitions"} {
		if out := b.run("kafka-topics", "--describe", bad, "--topic", topic); bad != "--at-min-isr-partitions" && strings.TrimSpace(out) != "" {
			b.t.Errorf("%s: %s", bad, out)
		}
	}
}

func (b *toolbox) configs(topic string) {
	b.t.Helper()
	of := []string{"--entity-type", "topics", "--entity-name", topic}
	b.wants(b.run("kafka-configs", append(of, "--describe")...), `retention.ms=3600000 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention.ms=3600000\}`)
	b.wants(b.run("kafka-configs", append(of, "--alter", "--add-config", "max.message.bytes=200000,cleanup.policy=[compact,delete]")...), "Completed updating config")
	b.wants(b.run("kafka-configs", append(of, "--alter", "--delete-config", "retention.ms")...), "Completed updating config")
	b.wants(b.run("kafka-configs", append(of, "--describe", "--all")...), "max.message.bytes=200000 .*DEFAULT_CONFIG:message.max.bytes=1048588",
		"cleanup.policy=compact,delete ", "(?m)^  retention.ms=604800000 sensitive=false synonyms={}$")
	b.wants(b.fails("kafka-configs", append(of, "--alter", "--add-config", "max.message.bytes=soon")...), "InvalidConfigurationException")
	b.wants(b.run("kafka-configs", append(of, "--alter", "--delete-config", "max.message.bytes,cleanup.policy")...), "Completed updating config")
	b.wants(b.run("kafka-configs", "--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"), "(?m)^  auto.create.topics.enable=true ", "(?m)^  num.partitions=1 ")
	b.wants(b.run("kafka-configs", "--entity-type", "brokers", "--entity-default", "--describe"), "Default configs for brokers")
}

func (b *toolbox) console(topic string) {
	b.t.Helper()
	produce := func(codec, lines string) {
		b.run("kafka-console-producer", "--topic", topic, "--compression-codec", codec, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:", "<", lines)
	}
	produce("zstd", "k1:v1\nk2:v2\nk3:v3\n")
	out := b.run("kafka-console-consumer", "--topic", topic, "--group", topic, "--from-beginning", "--max-messages", "3",
		"--formatter-property", "print.key=true", "--formatter-property", "print.partition=true")
	b.wants(out, `(?m)^Partition:\d\tk1\tv1$`, `\tk2\tv2\n`, `\tk3\tv3\n`, "Processed a total of 3 messages")
	b.wants(b.run("kafka-consumer-groups", "--describe", "--group", topic), "no active members", topic+` +`+topic+` +\d +\d+ +\d+ +0 `)
	// A second consumer goes on where that one ended, and is seen while it waits.
	waits := b.start("kafka-console-consumer", "--topic", topic, "--group", topic, "--max-messages", "2", "--formatter-property", "print.key=true")
	within(b.t, toolMax, "an active member", func() error {
		if out := b.run("kafka-consumer-groups", "--describe", "--group", topic, "--state"); !strings.Contains(out, "Stable") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	b.wants(b.run("kafka-consumer-groups", "--describe", "--group", topic), `console-consumer-[-0-9a-f]+ +/127.0.0.1 +console-consumer`)
	b.wants(b.run("kafka-consumer-groups", "--describe", "--group", topic, "--members", "--verbose"), topic+`:0,1,2,3`)
	b.wants(b.run("kafka-consumer-groups", "--delete", "--group", topic), "GroupNotEmptyException") // with exit code 0
	produce("lz4", "k4:v4\nk5:v5\n")
	a := b.answer("kafka-console-consumer", waits)
	b.wants(a.out, `k4\tv4`, `k5\tv5`, "total of 2 messages")
}

func (b *toolbox) groups(topic string) {
	b.t.Helper()
	b.wants(b.run("kafka-consumer-groups", "--list", "--state"), topic+" +Empty")
	b.wants(b.run("kafka-groups", "--list"), topic+" +Classic +consumer")
	reset := func(args ...string) string {
		return b.run("kafka-consumer-groups", append([]string{"--group", topic, "--topic", topic, "--reset-offsets"}, args...)...)
	}
	b.wants(reset("--to-earliest", "--execute"), topic+` +0 +0\s`, topic+` +1 +0\s`)
	out := reset("--to-latest", "--dry-run")
	b.wants(out, topic+` +0 +\d`)
	reset("--shift-by", "1", "--execute")
	reset("--by-duration", "P1D", "--dry-run")
	b.wants(reset("--to-datetime", "2020-01-01T00:00:00.000", "--dry-run"), topic+` +0 +0\s`)
	b.wants(b.run("kafka-consumer-groups", "--delete-offsets", "--group", topic, "--topic", topic+":0"), topic+" +0 +Successful")
	b.wants(b.run("kafka-consumer-groups", "--delete", "--group", topic), "was successful")
	b.wants(b.answer("", b.start("kafka-consumer-groups", "--describe", "--group", topic)).out, "GroupIdNotFoundException")
}

func (b *toolbox) offsets(topic string) {
	b.t.Helper()
	sum := func(time string) (sum int) {
		out := b.run("kafka-get-offsets", "--topic", topic, "--time", time)
		for line := range strings.Lines(out) {
			var partition, offset int
			if n, err := fmt.Sscanf(line, topic+":%d:%d", &partition, &offset); n != 2 {
				b.t.Errorf("%q: %v", line, err)
			}
			sum += offset
		}
		return sum
	}
	if latest, earliest := sum("latest"), sum("earliest"); latest != 5 || earliest != 0 {
		b.t.Errorf("offsets from %d to %d, want 0 to 5", earliest, latest)
	}
	sum("max-timestamp")
	file := filepath.Join(b.t.TempDir(), "offsets.json")
	list := make([]string, 4)
	for p := range list {
		list[p] = fmt.Sprintf(`{"topic":%q,"partition":%d,"offset":-1}`, topic, p)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"version":1,"partitions":[%s]}`, strings.Join(list, ",")), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.wants(b.run("kafka-delete-records", "--offset-json-file", file), "partition: "+topic+`-3\s+low_watermark: \d`)
	if earliest := sum("earliest"); earliest != 5 {
		b.t.Errorf("the first offsets after records were deleted sum to %d", earliest)
	}
}

func (b *toolbox) loads(prefix string) {
	b.t.Helper()
	topic := prefix + "-perf"
	b.wants(b.run("kafka-producer-perf-test", "--topic", topic, "--num-records", "50000", "--record-size", "200", "--throughput", "-1",
		"--command-property", "acks=all", "--command-property", "enable.idempotence=true"), `50000 records sent, [\d.]+ records/sec`)
	b.wants(b.run("kafka-consumer-perf-test", "--topic", topic, "--num-records", "50000"), `, 9\.5\d+, [\d.]+, 500\d\d, `)
	b.wants(b.run("kafka-log-dirs", "--describe", "--topic-list", topic), `"partition":"`+topic+`-0","size":1\d{7},"offsetLag":0,"isFuture":false`)
	topic = prefix + "-verifiable"
	// It says what it did when its process ends, so it has one of its own.
	out := run(b.t, toolMax, "java", "-Xmx128m", "-cp", b.jars, "org.apache.kafka.tools.VerifiableProducer", "--bootstrap-server", b.addr, "--topic", topic, "--max-messages", "1000", "--acks", "-1")
	b.wants(string(out), `"name":"producer_send_success"`, `"sent":1000,"acked":1000`)
	b.wants(b.run("kafka-verifiable-consumer", "--topic", topic, "--group-id", topic, "--max-messages", "1000", "--reset-policy", "earliest"),
		`"name":"partitions_assigned"`, `"name":"records_consumed"`, `"offset":1000}],"success":true`, `"name":"shutdown_complete"`)
	b.wants(b.run("kafka-e2e-latency", "--topic", prefix+"-latency", "--num-records", "100", "--producer-acks", "all", "--record-size", "100"), "Percentiles")
}

func (b *toolbox) cluster(prefix string) {
	b.t.Helper()
	b.wants(b.run("kafka-broker-api-versions"), b.addr, `Fetch\(1\): 4 to \d+`, `Produce\(0\): 0 to \d+`)
	b.wants(b.run("kafka-cluster", "cluster-id"), `Cluster ID: \S{22}`)
	b.wants(b.run("kafka-cluster", "list-endpoints"), "unfenced +broker")
	b.wants(b.run("kafka-features", "describe"), "Feature: metadata.version")
	b.wants(b.run("kafka-metadata-quorum", "describe", "--status"), "LeaderId: +1")
	b.wants(b.run("kafka-metadata-quorum", "describe", "--replication"), "Leader")
	b.run("kafka-leader-election", "--election-type", "preferred", "--all-topic-partitions")
	b.wants(b.run("kafka-reassign-partitions", "--list"), "No partition reassignments found")
	b.wants(b.run("kafka-transactions", "describe-producers", "--topic", prefix+"-perf", "--partition", "0"), `\t49999\s`)
}

// wants wants what a tool printed to match each of the patterns.
func (b *toolbox) wants(out string, patterns ...string) {
	b.t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(out) {
			b.t.Errorf("no %q in:\n%s", p, out[max(0, len(out)-4096):])
		}
	}
}

// toolbox is a JVM that runs Kafka's command line tools.
type toolbox struct {
	t     *testing.T
	addr  string
	jars  string // class path
	in    io.WriteCloser
	cmd   *exec.Cmd
	log   *tail
	ended chan struct{}

	mu      sync.Mutex
	next    int
	waiting map[int]chan toolAnswer
}

type toolAnswer struct {
	code int
	out  string
}

func newToolbox(t *testing.T, addr string) *toolbox {
	t.Helper()
	jars := strings.TrimSpace(string(run(t, 5*time.Minute, "../../scripts/kafka-peer.sh", "classpath")))
	documented(t, "-run TestTools ", jarVersion(t, jars, "kafka-tools"))
	classes := t.TempDir()
	run(t, time.Minute, "javac", "-encoding", "UTF-8", "-nowarn", "-d", classes, "-cp", jars, "testdata/tools/Tools.java")
	b := &toolbox{t: t, addr: addr, jars: jars, log: &tail{t: t}, ended: make(chan struct{}), waiting: map[int]chan toolAnswer{}}
	b.cmd = exec.CommandContext(context.Background(), "java", "-Xmx384m", "-cp", classes+":"+jars, "Tools")
	b.cmd.Stderr = b.log
	in, err := b.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.in = in
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(b.ended)
		b.read(bufio.NewReader(out))
		_ = b.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		<-b.ended
	})
	return b
}

func (b *toolbox) read(out *bufio.Reader) {
	for {
		line, err := out.ReadString('\n')
		if err != nil {
			return
		}
		var id, code, size int
		if _, err := fmt.Sscanf(line, "%d %d %d", &id, &code, &size); err != nil {
			return
		}
		text := make([]byte, size)
		if _, err := io.ReadFull(out, text); err != nil {
			return
		}
		b.mu.Lock()
		b.waiting[id] <- toolAnswer{code, string(text)}
		b.mu.Unlock()
	}
}

// start starts a tool; its broker is added to the arguments.
func (b *toolbox) start(tool string, args ...string) <-chan toolAnswer {
	b.t.Helper()
	class, ok := toolClasses[tool]
	if !ok {
		b.t.Fatalf("no tool %q", tool)
	}
	answer := make(chan toolAnswer, 1)
	b.mu.Lock()
	b.next++
	id := b.next
	b.waiting[id] = answer
	b.mu.Unlock()
	words := []string{fmt.Sprint(id), class}
	if tool == "kafka-cluster" { // it wants its command first
		words, args = append(words, args[0]), args[1:]
	}
	words = append(append(words, "--bootstrap-server", b.addr), args...)
	if _, err := io.WriteString(b.in, strings.ReplaceAll(strings.Join(words, "\x1f"), "\n", "\x1e")+"\n"); err != nil {
		b.t.Fatal(err)
	}
	return answer
}

const toolMax = time.Minute

func (b *toolbox) answer(tool string, c <-chan toolAnswer) toolAnswer {
	b.t.Helper()
	select {
	case a := <-c:
		return a
	case <-b.ended:
		b.t.Fatalf("%s: the JVM ended\n%s", tool, b.log)
	case <-time.After(toolMax):
		b.t.Fatalf("%s does not end", tool)
	}
	return toolAnswer{}
}

// run runs a tool, which must succeed, and returns what it printed.
func (b *toolbox) run(tool string, args ...string) string {
	b.t.Helper()
	a := b.answer(tool, b.start(tool, args...))
	if a.code != 0 {
		b.t.Errorf("%s %q: exit code %d\n%s", tool, args, a.code, a.out)
	}
	return a.out
}

// fails runs a tool that must fail, and returns what it printed.
func (b *toolbox) fails(tool string, args ...string) string {
	b.t.Helper()
	a := b.answer(tool, b.start(tool, args...))
	if a.code == 0 {
		b.t.Errorf("%s %q did not fail\n%s", tool, args, a.out)
	}
	return a.out
}
