package differ

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What is wrong in a script is told with its line.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"send c1 NoSuchAPI v1 {}", "s:1: no API"},
		{"# comment\n\nfly c1", "s:3: no statement"},
		{"send c1 Metadata x {}", "s:1: \"x\" is no version"},
		{"send c1 Metadata v1 {Topics: [}", "s:1: wanted a value"},
		{"send c1 Metadata v1 {", "s: a literal is not closed"},
		{"each v 0-3\nsend c1 Metadata v$v {}", "each without end"},
		{"end", "end of nothing"},
		{"  until x = y", "nothing to belong to"},
		{"send c1 Metadata v1 {}\n  whatever", "says nothing about send"},
	} {
		if _, err := Parse("s", c.script); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.script, err, c.want)
		}
	}
}

func TestRequests(t *testing.T) {
	s, err := Parse("s", `
send c1 Metadata v1-2 {}
each v 0-3
  send c1 Heartbeat v$v/1-2 {}
  send c1 Metadata v9 {}
    mutate cut 1
end`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range s.Requests() {
		got = append(got, short([]any{r.At, r.Round, r.Key, r.Version, r.Spoilt}))
	}
	want := `["start/1",1,3,1,false] ["start/1",2,3,2,false] ` +
		`["start/2",0,12,1,false] ["start/2",1,12,1,false] ["start/2",2,12,2,false] ["start/2",3,12,2,false] ` +
		`["start/3",0,3,9,true] ["start/3",1,3,9,true] ["start/3",2,3,9,true] ["start/3",3,3,9,true]`
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

func TestCompare(t *testing.T) {
	answer := func(json ...string) []Answer {
		var all []Answer
		for i, j := range json {
			all = append(all, Answer{At: "section/1", API: "Metadata", Round: int16(i), JSON: j})
		}
		return all
	}
	for _, c := range []struct {
		name         string
		kafka, karst []Answer
		want         string
	}{
		{"equal", answer(`{"A":[1,{"B":null}]}`), answer(`{"A":[1,{"B":null}]}`), ""},
		{"value", answer(`{"A":1}`), answer(`{"A":2}`), "s/section/1/Metadata/v0 .A: 1 | 2"},
		{"missing", answer(`{"A":1}`), answer(`{}`), "s/section/1/Metadata/v0 .A: 1 | -"},
		{"null", answer(`{"A":null}`), answer(`{"A":[]}`), "s/section/1/Metadata/v0 .A: null | []"},
		{"big", answer(`{"A":9223372036854775807}`), answer(`{"A":9223372036854775806}`), "s/section/1/Metadata/v0 .A: 9223372036854775807 | 9223372036854775806"},
		{
			"element", answer(`{"A":[{"Name":"x","V":1}]}`), answer(`{"A":[{"Name":"x","V":2},{"Name":"y"}]}`),
			`s/section/1/Metadata/v0 .A[x].V: 1 | 2; s/section/1/Metadata/v0 .A[y]: - | {"Name":"y"}`,
		},
		{"order", answer(`{"A":[{"Name":"x"},{"Name":"y"}]}`), answer(`{"A":[{"Name":"y"},{"Name":"x"}]}`), "s/section/1/Metadata/v0 .A[order]: x y | y x"},
		// Opaque names may be others, but not mean two things.
		{"renamed", answer(`"<topic 1>"`, `"<topic 1>"`), answer(`"<topic 3>"`, `"<topic 3>"`), ""},
		{"swapped", answer(`"<topic 1>"`, `"<topic 1>"`), answer(`"<topic 1>"`, `"<topic 2>"`), `s/section/1/Metadata/v1 .: "<topic 1>" | "<topic 2>"`},
		{"merged", answer(`"<topic 1>"`, `"<topic 2>"`), answer(`"<topic 1>"`, `"<topic 1>"`), `s/section/1/Metadata/v1 .: "<topic 2>" | "<topic 1>"`},
		{"class", answer(`"<topic 1>"`), answer(`"<member 1>"`), `s/section/1/Metadata/v0 .: "<topic 1>" | "<member 1>"`},
	} {
		found, err := Compare("s", c.kafka, c.karst)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(strings.Join(Report(found), "; "), " (line 0)", "")
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	if _, err := Compare("s", answer(`1`), answer(`1`, `2`)); err == nil {
		t.Error("one answer too many is not noticed")
	}
}

func TestDifferenceExplains(t *testing.T) {
	known, err := parseDifferences("# comment\n*/Produce/* .A[*]: * | -\ns/x/Fetch/v1 .: 1 | *\n\tbecause\n\tof it\n")
	if err != nil || len(known) != 2 || known[0].Reason != "because of it" || known[0].API() != "Produce" || known[1].Reason != known[0].Reason {
		t.Fatalf("%+v, %v", known, err)
	}
	f := Found{Where: "s/sec/1/Produce/v3", Mismatch: Mismatch{".A[x]", "1", "-"}}
	if !known[0].Explains(f) || known[1].Explains(f) {
		t.Error("an entry does not explain what it is about, or explains more")
	}
	if f.Karst = "2"; known[0].Explains(f) {
		t.Error("a field that is there is explained as one that is not")
	}
	for _, wrong := range []string{"\treason", "a/b/c .: 1 | 2", "where .: 1 | 2\n\twhy", "a/b/c .: 1\n\twhy"} {
		if _, err := parseDifferences(wrong); err == nil {
			t.Errorf("%q is no mistake", wrong)
		}
	}
}

func TestSpoil(t *testing.T) {
	for _, c := range []struct{ how, want string }{
		{"cut 2", "00030001 00000007 0001 63 0000"},
		{"add 0102", "00030001 00000007 0001 63 00000000 0102"},
		{"set 1 ff", "00030001 00000007 0001 63 00ff0000"},
		{"set -1 ff", "00030001 00000007 0001 63 000000ff"},
		{"byte 0 7f", "00030001 00000007 0001 63 7f000000"},
		{"byte 9 7f", "00030001 00000007 0001 63 00000000"},
		{"key 5", "00050001 00000007 0001 63 00000000"},
		{"version 9", "00030009 00000007 0001 63 00000000"},
		{"client null", "00030001 00000007 ffff 00000000"},
	} {
		req := kmsg.NewPtrMetadataRequest()
		req.SetVersion(1)
		req.Topics = []kmsg.MetadataRequestTopic{}
		f := newFrame(req, "c", 7)
		if err := f.spoil(strings.Fields(c.how)); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(f.bytes()[4:]); got != strings.ReplaceAll(c.want, " ", "") {
			t.Errorf("%s: %s, want %s", c.how, got, c.want)
		}
	}
	for _, wrong := range []string{"set 3 ffff", "set x ff", "cut x", "fly", "byte 1", "add f"} {
		f := newFrame(kmsg.NewPtrMetadataRequest(), "c", 7)
		if f.spoil(strings.Fields(wrong)) == nil {
			t.Errorf("%q is no mistake", wrong)
		}
	}
}
