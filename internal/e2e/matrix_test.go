package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// aClient is a program that does all it can do with a broker, and says "ok" for
// each part; the first part is its version.
type aClient struct {
	name  string
	parts []string
	// command is the program; it is given the broker's address and a prefix for
	// topics and groups.
	command func(t *testing.T) []string
}

var (
	everyCodec = []string{"records none", "records gzip", "records snappy", "records lz4", "records zstd"}
	everyGroup = []string{"group eager", "group cooperative", "group static"}
	theAdmin   = []string{"topics", "configs", "groups"}
)

func partsOf(parts ...[]string) (joined []string) {
	for _, p := range parts {
		joined = append(joined, p...)
	}
	return joined
}

// matrix is every client but franz-go, which is a library of this program.
var matrix = []aClient{
	{"java", partsOf(everyCodec, everyGroup, theAdmin), func(t *testing.T) []string {
		t.Helper()
		return []string{"java", "-Xmx256m", "-cp", java(t), "Matrix"}
	}},
	{"java-2.8", partsOf(everyCodec, everyGroup, theAdmin), func(t *testing.T) []string {
		t.Helper()
		jars := clientOf(t, "java2")
		classes := t.TempDir()
		run(t, time.Minute, "javac", "-encoding", "UTF-8", "-nowarn", "-d", classes, "-cp", jars, "testdata/java/Matrix.java")
		return []string{"java", "-Xmx256m", "-cp", classes + ":" + jars, "Matrix"}
	}},
	{"librdkafka", partsOf(everyCodec, everyGroup, theAdmin), func(t *testing.T) []string {
		t.Helper()
		return []string{python(t), "-W", "ignore::DeprecationWarning", "testdata/librdkafka/matrix.py"}
	}},
	// The distribution's Python package has not the admin API of groups.
	{"librdkafka-debian", partsOf(everyCodec, everyGroup, []string{"topics", "configs", "groups listed"}), func(t *testing.T) []string {
		t.Helper()
		return []string{clientOf(t, "debian"), "testdata/librdkafka/matrix.py"}
	}},
	// Sarama has neither the cooperative protocol nor a way to leave a static member in its group.
	{"sarama", partsOf(everyCodec, []string{"group eager"}, theAdmin), func(t *testing.T) []string {
		t.Helper()
		return []string{clientOf(t, "sarama")}
	}},
	{"kafka-python", partsOf(everyCodec, everyGroup, theAdmin), func(t *testing.T) []string {
		t.Helper()
		return []string{clientOf(t, "kafka-python"), "testdata/kafka-python/matrix.py"}
	}},
	// Of codecs KafkaJS has gzip, and snappy as a package that is no native code.
	{"kafkajs", partsOf(everyCodec[:3], []string{"group eager"}, theAdmin), func(t *testing.T) []string {
		t.Helper()
		script, err := filepath.Abs("testdata/node/matrix.js")
		if err != nil {
			t.Fatal(err)
		}
		return []string{"env", "NODE_PATH=" + clientOf(t, "node") + "/node_modules", "node", script}
	}},
}

// clientOf is where scripts/clients.sh put a client; it says what to install if
// it cannot.
func clientOf(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(string(run(t, 5*time.Minute, "../../scripts/clients.sh", name)))
}

// TestClients lets each client create topics, produce idempotently with every
// codec it has, read back keys, headers, times and offsets by time, consume in
// groups of two members that come and go, commit, describe and delete.
//
// KARST_TEST_BOOTSTRAP runs the clients against another broker, which proves the
// programs.
func TestClients(t *testing.T) {
	endToEnd(t)
	addr := os.Getenv("KARST_TEST_BOOTSTRAP")
	if addr == "" {
		n := newNode(t, oneStore(t), "--group.initial.rebalance.delay=0s")
		n.startReady()
		addr = n.addr()
	}
	prefix := func(name string) string { return fmt.Sprintf("%s-%d", name, time.Now().UnixMilli()) }
	for _, c := range matrix {
		t.Run(c.name, func(t *testing.T) {
			command := append(c.command(t), addr, prefix(c.name))
			began := time.Now()
			said := strings.Split(strings.TrimSpace(string(run(t, 3*time.Minute, command[0], command[1:]...))), "\n")
			version, ok := strings.CutPrefix(said[0], "ok version ")
			if !ok {
				t.Fatalf("it said %q first", said[0])
			}
			did := map[string]bool{}
			for _, line := range said[1:] {
				did[strings.TrimPrefix(line, "ok ")] = true
			}
			for _, part := range c.parts {
				if !did[part] {
					t.Errorf("it did not say that it did %q", part)
				}
			}
			if len(did) != len(c.parts) {
				t.Errorf("it said %q, want %q", said[1:], c.parts)
			}
			if c.name != "librdkafka-debian" { // which is the machine's
				documented(t, "`TestClients/"+c.name+"`", version)
			}
			t.Logf("%s %s: %d parts in %v", c.name, version, len(c.parts), time.Since(began).Round(time.Second/10))
		})
	}
	t.Run("franz-go", func(t *testing.T) {
		franzMatrix(t, addr, prefix("franz-go"))
		documented(t, "`TestClients/franz-go`", franzVersion(t))
	})
}

// documented holds docs/clients.md against the version that ran: the line with
// these words names it.
func documented(t *testing.T, words, version string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if strings.Contains(line, words) {
			if !strings.Contains(line, " "+version) {
				t.Errorf("docs/clients.md does not say that version %s was run:\n%s", version, line)
			}
			return
		}
	}
	t.Errorf("docs/clients.md has no line with %q", words)
}

// jarVersion is the version of a jar in a folder of a class path.
func jarVersion(t *testing.T, jars, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(jars), name+"-[0-9]*.jar"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s in %s: %v, %v", name, jars, found, err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), name+"-"), ".jar")
}
