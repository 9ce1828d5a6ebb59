package kafka

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/tools/differ"
)

var update = flag.Bool("update", false, "write docs/compatibility.md")

// TestCompatibilityPage holds docs/compatibility.md to the table of APIs and to
// the differences that the header of each API's file declares.
func TestCompatibilityPage(t *testing.T) {
	const path = "../../docs/compatibility.md"
	want := compatibilityPage(t)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/compatibility.md is out of date: go test ./internal/kafka -run TestCompatibilityPage -update")
	}
}

func compatibilityPage(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Compatibility\n\nThe reference is Apache Kafka 4.3. Generated from the table of APIs in `internal/kafka` and from the header of each API's file:\n" +
		"`go test ./internal/kafka -run TestCompatibilityPage -update`.\n\n" +
		"What is not served is not advertised; a request for it closes the connection, as in Kafka.\n\n" +
		"| Key | API | Versions | Advertised from |\n|---|---|---|---|\n")
	for _, a := range APIs() {
		fmt.Fprintf(&b, "| %d | %s | %d–%d | %d |\n", a.Key, apiName(a.Key), a.Min, a.Max, a.Advertised)
	}
	b.WriteString("\n## Not served\n\nWhat Kafka 4.3 advertises beside that.\n\n| Keys | APIs | Why |\n|---|---|---|\n")
	for _, n := range notServed {
		var keys, names []string
		for _, k := range n.keys {
			keys, names = append(keys, strconv.Itoa(int(k))), append(names, apiName(k))
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.Join(keys, ", "), strings.Join(names, ", "), n.why)
	}
	b.WriteString("\n## Differences\n")
	for _, a := range APIs() {
		name := apiName(a.Key)
		for _, d := range differences(t, fileOf(name)) {
			fmt.Fprintf(&b, "\n**%s.** %s\n", name, d)
		}
	}
	b.WriteString("\n## Answers compared\n\nRequests in every version of every API, and such that are malformed, are answered by Karst as by a real Apache Kafka 4.3.0, " +
		"field by field (see [differ.md](differ.md)), except for:\n\n" + comparedDifferences(t))
	b.WriteString("\n## All APIs\n\n- A replication factor is accepted, kept and echoed; all replicas are always in sync: durability is the bucket's.\n" +
		"- `acks=1` waits for the store as `acks=all` does.\n" +
		"- Requests whose arrays hold more than 262,144 elements, tags included, close the connection. So do requests that are longer than any client's: " +
		"64 KiB to 16 MiB by API (16 MiB for those that name topics or groups, 8 MiB for Fetch, ListOffsets, DeleteRecords and OffsetForLeaderEpoch); Produce has `socket.request.max.bytes`.\n" +
		"- A response of which the client takes less than a MiB in 30 s closes the connection: it holds memory, where Kafka's holds page cache.\n")
	return b.String()
}

// comparedDifferences is a list of the reasons that the comparison of answers has
// for what it excuses, each with the APIs it is about.
func comparedDifferences(t *testing.T) string {
	t.Helper()
	all, err := differ.Differences()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for k := range int16(kmsg.MaxKey + 1) {
		names[kmsg.NameForKey(k)] = apiName(k)
	}
	var reasons []string
	apis := map[string][]string{}
	for _, d := range all {
		name := names[d.API()]
		if name == "" {
			t.Errorf("differences.txt: %s names no API", d.Where)
		}
		if apis[d.Reason] == nil {
			reasons = append(reasons, d.Reason)
		}
		if !slices.Contains(apis[d.Reason], name) {
			apis[d.Reason] = append(apis[d.Reason], name)
		}
	}
	var b strings.Builder
	for _, r := range reasons {
		fmt.Fprintf(&b, "- **%s.** %s\n", strings.Join(apis[r], ", "), r)
	}
	return b.String()
}

// notServed are the APIs that Apache Kafka 4.3 advertises and Karst does not.
var notServed = []struct {
	keys []int16
	why  string
}{
	{[]int16{24, 25, 26, 28}, "transactions, not built yet"},
	{[]int16{27}, "between Kafka's brokers, and for aborting hanging transactions; not built yet"},
	{[]int16{68, 69}, "consumer groups of KIP-848, not built yet"},
	{[]int16{76, 77, 78, 79, 90, 91, 92}, "share groups of KIP-932, not built yet"},
	{[]int16{83, 84, 85, 86, 87}, "between Kafka's brokers: the state of share groups"},
	{[]int16{88, 89}, "streams groups of KIP-1071, not built yet"},
	{[]int16{80, 81}, "voters of a metadata quorum, which does not exist: metadata are in the bucket"},
}

// kafkaVersions are what Apache Kafka 4.3.0 answers to ApiVersions.
var kafkaVersions = map[int16][2]int16{
	0: {0, 13}, 1: {4, 18}, 2: {1, 11}, 3: {0, 13}, 8: {2, 10}, 9: {1, 10}, 10: {0, 6}, 11: {0, 9}, 12: {0, 4}, 13: {0, 5}, 14: {0, 5},
	15: {0, 6}, 16: {0, 5}, 17: {0, 1}, 18: {0, 4}, 19: {2, 7}, 20: {1, 6}, 21: {0, 2}, 22: {0, 5}, 23: {2, 4}, 24: {0, 5}, 25: {0, 4},
	26: {0, 5}, 27: {1, 2}, 28: {0, 5}, 29: {1, 3}, 30: {1, 3}, 31: {1, 3}, 32: {1, 4}, 33: {0, 2}, 34: {1, 2}, 35: {1, 5}, 36: {0, 2},
	37: {0, 3}, 38: {1, 3}, 39: {1, 2}, 40: {1, 2}, 41: {1, 3}, 42: {0, 2}, 43: {0, 2}, 44: {0, 1}, 45: {0, 1}, 46: {0, 0}, 47: {0, 0},
	48: {0, 1}, 49: {0, 1}, 50: {0, 0}, 51: {0, 0}, 55: {0, 2}, 57: {0, 2}, 60: {0, 2}, 61: {0, 0}, 64: {0, 0}, 65: {0, 0}, 66: {0, 2},
	68: {0, 1}, 69: {0, 1}, 74: {0, 1}, 75: {0, 0}, 76: {1, 1}, 77: {1, 1}, 78: {1, 2}, 79: {1, 2}, 80: {0, 1}, 81: {0, 0}, 83: {0, 0},
	84: {0, 0}, 85: {0, 1}, 86: {0, 0}, 87: {0, 1}, 88: {0, 0}, 89: {0, 0}, 90: {0, 1}, 91: {0, 0}, 92: {0, 0},
}

// What is served is advertised at Kafka's versions, and what Kafka serves beside
// that is listed with a reason.
func TestVersionsAreKafkas(t *testing.T) {
	left := maps.Clone(kafkaVersions)
	for _, a := range APIs() {
		if want, ok := left[a.Key]; !ok || want != [2]int16{a.Advertised, a.Max} {
			t.Errorf("%s is advertised as %d–%d, by Kafka as %v", apiName(a.Key), a.Advertised, a.Max, want)
		}
		delete(left, a.Key)
	}
	for _, n := range notServed {
		for _, k := range n.keys {
			if _, ok := left[k]; !ok {
				t.Errorf("%s is served, or not by Kafka", apiName(k))
			}
			delete(left, k)
		}
	}
	for k := range left {
		t.Errorf("%s is neither served nor listed as not served", apiName(k))
	}
}

// apiName is Kafka's own name of an API: package kmsg has capitals, and a word, of
// its own.
func apiName(key int16) string {
	return strings.NewReplacer("ACL", "Acl", "SASL", "Sasl", "SCRAM", "Scram", "ID", "Id", "PartitionAssignments", "PartitionReassignments").
		Replace(kmsg.NameForKey(key))
}

// fileOf is the file that implements an API: CreateTopics is in create_topics.go.
func fileOf(api string) string {
	var b strings.Builder
	for i, r := range api {
		if unicode.IsUpper(r) && i > 0 && !unicode.IsUpper(rune(api[i-1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String() + ".go"
}

// differences are the paragraphs of a file's comments that begin with "Different"
// or "Difference".
func differences(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatalf("every API has a file of its own: %v", err)
	}
	var all []string
	ast.Inspect(f, func(n ast.Node) bool {
		if c, ok := n.(*ast.CommentGroup); ok {
			for p := range strings.SplitSeq(c.Text(), "\n\n") {
				if strings.HasPrefix(p, "Differen") {
					_, said, _ := strings.Cut(strings.Join(strings.Fields(p), " "), ": ")
					all = append(all, strings.ToUpper(said[:1])+said[1:])
				}
			}
		}
		return true
	})
	return all
}
