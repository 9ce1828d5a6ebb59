package effective

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/config/key"
)

var update = flag.Bool("update", false, "write the generated page")

func TestGeneratedPage(t *testing.T) {
	const path = "../../../docs/configs.md"
	if *update {
		if err := os.WriteFile(path, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Reference() {
		t.Errorf("%s is out of date: go test ./internal/config/effective -update", path)
	}
}

// said is an entry in one line: value, source, synonyms.
func said(e Entry) string {
	show := func(v *string) string {
		if v == nil {
			return "null"
		}
		return *v
	}
	s := fmt.Sprintf("%s from %d", show(e.Value), e.Source)
	for _, y := range e.Synonyms {
		s += fmt.Sprintf(", %s=%s from %d", y.Name, show(y.Value), y.Source)
	}
	return s
}

func find(t *testing.T, all []Entry, name string) Entry {
	t.Helper()
	for _, e := range all {
		if e.Name == name {
			return e
		}
	}
	t.Fatalf("no %s", name)
	return Entry{}
}

// TestPrecedence goes through the layers from the top.
func TestPrecedence(t *testing.T) {
	l := Layers{
		Broker:  map[string]string{"log.retention.ms": "3"},
		Cluster: map[string]string{"log.retention.ms": "2"},
		Static:  map[string]string{"log.retention.ms": "1", "log.retention.hours": "5"},
	}
	explicit := map[string]string{"retention.ms": "4"}
	for _, want := range []string{
		"4 from 1, retention.ms=4 from 1, log.retention.ms=3 from 2, log.retention.ms=2 from 3, log.retention.ms=1 from 4, log.retention.hours=5 from 4, log.retention.hours=168 from 5",
		"3 from 2, log.retention.ms=3 from 2, log.retention.ms=2 from 3, log.retention.ms=1 from 4, log.retention.hours=5 from 4, log.retention.hours=168 from 5",
		"2 from 3, log.retention.ms=2 from 3, log.retention.ms=1 from 4, log.retention.hours=5 from 4, log.retention.hours=168 from 5",
		"1 from 4, log.retention.ms=1 from 4, log.retention.hours=5 from 4, log.retention.hours=168 from 5",
		// Kafka leaves synonyms out that come before the config itself, here all.
		"18000000 from 5",
		"604800000 from 5",
	} {
		if got := said(find(t, l.DescribeTopic(explicit), "retention.ms")); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		value, _, _ := strings.Cut(want, " ")
		if got := fmt.Sprint(l.Topic(explicit).RetentionMS); got != value {
			t.Errorf("in effect is %s, want %s", got, value)
		}
		switch { // take the highest layer away
		case explicit != nil:
			explicit = nil
		case l.Broker != nil:
			l.Broker = nil
		case l.Cluster != nil:
			l.Cluster = nil
		case l.Static["log.retention.ms"] != "":
			l.Static = map[string]string{"log.retention.hours": "5"}
		default:
			l.Static = nil
		}
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct {
		static map[string]string
		want   int64
	}{
		{map[string]string{"log.retention.minutes": "2", "log.retention.hours": "1"}, 120_000},
		{map[string]string{"log.retention.hours": "-1"}, -1},
		{map[string]string{"log.retention.hours": "2147483647"}, 2147483647 * 3_600_000},
		{map[string]string{"log.retention.ms": "what a newer broker wrote", "log.retention.hours": "1"}, 3_600_000},
	} {
		l := Layers{Static: c.static}
		if got := l.Topic(nil).RetentionMS; got != c.want {
			t.Errorf("%v: %d, want %d", c.static, got, c.want)
		}
	}
}

// TestDefaults are shown as the table says, by name, and are valid.
func TestDefaults(t *testing.T) {
	var none Layers
	for what, all := range map[string][]Entry{
		"topic": none.DescribeTopic(nil), "broker": none.DescribeBroker(), "group": none.DescribeGroup(nil), "client metrics": DescribeClientMetrics(nil),
	} {
		if len(all) == 0 || !slices.IsSortedFunc(all, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s: %d entries, or not by name", what, len(all))
		}
		for i, e := range all {
			if i > 0 && all[i-1].Name == e.Name {
				t.Errorf("%s: %s twice", what, e.Name)
			}
			if e.Source != FromDefault || e.Doc == "" || e.Kind == configkey.Unknown {
				t.Errorf("%s: %+v", what, e)
			}
		}
	}
	for _, k := range table().brokers {
		if printed, fault := k.Parse(k.Default); !k.Null && (fault != "" || printed != k.Default) {
			t.Errorf("%s: default %q prints as %q, fault %q", k.Name, k.Default, printed, fault)
		}
	}
	if got := none.DescribeCluster(); len(got) != 0 {
		t.Errorf("nothing is set of all brokers, and %+v is shown", got)
	}
}

// TestSynonymsExist has every default of a topic's or group's config be a broker
// config with the same default.
func TestSynonymsExist(t *testing.T) {
	for _, k := range slices.Concat(table().topics, table().groups) {
		for i, server := range k.Server {
			b, known := brokerKey(server)
			if !known || i == 0 && !b.Null && b.Default != k.Default {
				t.Errorf("%s: %s is not known, or its default %q is not %q", k.Name, server, b.Default, k.Default)
			}
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	l := Layers{
		Broker: map[string]string{"listener.name.x.ssl.keystore.password": "hunter2", "a.plugin.wants.this": "hunter3"},
		Static: map[string]string{"ssl.key.password": "hunter1"},
	}
	shown := fmt.Sprintf("%+v", l.DescribeBroker())
	for _, e := range l.DescribeBroker() {
		if shown += said(e); strings.HasPrefix(e.Name, "listener.name.x.") && (!e.Sensitive || len(e.Synonyms) != 1 || e.Source != FromBroker) {
			t.Errorf("%+v", e)
		}
	}
	if strings.Contains(shown, "hunter") {
		t.Error("a secret is shown")
	}
}

func TestValidateBroker(t *testing.T) {
	for _, c := range []struct {
		name, value     string
		broker, cluster string // what is wrong, "" for nothing
	}{
		{"log.retention.ms", "5", "", ""},
		{"log.retention.ms", "x", "Not a number", "Not a number"},
		{"node.id", "5", "Cannot update these configs dynamically: [node.id]", "Cannot update"},
		{"ssl.keystore.location", "f", "only per-listener", "only per-listener"},
		{"listener.name.x.ssl.keystore.location", "f", "not changed while a broker runs", "default cluster level"},
		{"listeners", "PLAINTEXT://:1", "not changed while a broker runs: [listeners]", "default cluster level, broker id must be specified: [listeners]"},
		{"no.such.config", "f", "", ""},
		{"max.connections.per.ip", "0", "can be set to zero only if", "can be set to zero only if"},
		{"max.connections.per.ip.overrides", "::1:5,10.0.0.1:7", "", ""},
		{"max.connections.per.ip.overrides", "localhost:5", "not an address", "not an address"},
		{"max.connections.per.ip.overrides", "10.0.0.1:x", `For input string: "x"`, "For input"},
	} {
		var l Layers
		next := map[string]string{c.name: c.value}
		for cluster, want := range map[bool]string{false: c.broker, true: c.cluster} {
			err := l.ValidateBroker(next, cluster)
			switch {
			case want == "" && err != nil:
				t.Errorf("%s=%s (all: %v): %v", c.name, c.value, cluster, err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, karst.InvalidRequest.Err())):
				t.Errorf("%s=%s (all: %v): %v, want %q", c.name, c.value, cluster, err, want)
			}
		}
	}
	l := Layers{Cluster: map[string]string{"max.connections.per.ip.overrides": "::1:5"}}
	if err := l.ValidateBroker(map[string]string{"max.connections.per.ip": "0"}, false); err != nil {
		t.Errorf("zero connections but for some addresses: %v", err)
	}
}

// TestTopicsAreCheckedWithDefaults refuses what contradicts what the layers set.
func TestTopicsAreCheckedWithDefaults(t *testing.T) {
	l := Layers{Cluster: map[string]string{"log.cleaner.max.compaction.lag.ms": "10"}}
	if err := l.ValidateTopic(map[string]string{"min.compaction.lag.ms": "11"}); !errors.Is(err, karst.InvalidConfig.Err()) {
		t.Errorf("lags that contradict each other: %v", err)
	}
	if err := l.ValidateTopic(map[string]string{"min.compaction.lag.ms": "10"}); err != nil {
		t.Error(err)
	}
}

func TestChanged(t *testing.T) {
	l := Layers{Static: map[string]string{"max.connections": "7"}}
	if _, ok := l.Changed("max.connections"); ok {
		t.Error("a setting is no change")
	}
	l.Cluster = map[string]string{"max.connections": "8"}
	if n, ok := l.Changed("max.connections"); n != 8 || !ok {
		t.Errorf("%d, %v", n, ok)
	}
	l.Broker = map[string]string{"max.connections": "9"}
	if n, _ := l.Changed("max.connections"); n != 9 {
		t.Errorf("%d", n)
	}
}

func TestLists(t *testing.T) {
	for _, c := range []struct {
		of         func(name, verb string) (string, error)
		name, want string
	}{
		{TopicListOf, "cleanup.policy", "delete"},
		{TopicListOf, "retention.ms", "Can't APPEND to key retention.ms because its type is not LIST."},
		{TopicListOf, "no.such", "Can't APPEND to key no.such because its type is not LIST."},
		{ListOf, "log.cleanup.policy", "delete"},
		{ListOf, "message.max.bytes", "Config value append is not allowed for config key: message.max.bytes"},
		{ListOf, "no.such", "Unknown config name: no.such"},
	} {
		got, err := c.of(c.name, "append")
		if err != nil {
			if got = err.Error(); !errors.Is(err, karst.InvalidConfig.Err()) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
