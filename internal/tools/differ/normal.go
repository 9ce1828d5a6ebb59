package differ

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What answers may differ in without being different:
//
//   - ids that a broker makes up, and what else is opaque, are numbered by class
//     in the order they come up: the same value has the same name throughout a
//     script;
//   - a time within an hour of now is "now";
//   - ports of this machine and its folders are "<here>";
//   - of texts for people only whether there is one counts;
//   - the order of some arrays.
//
// Everything else is compared as it is.

// opaque are the fields with made-up values, by API (or any: "") and field.
var opaque = map[[2]string]string{
	{"", "TopicID"}:            "topic",
	{"", "ClusterID"}:          "cluster",
	{"", "ProducerID"}:         "producer",
	{"", "Port"}:               "port",
	{"", "MemberID"}:           "member",
	{"JoinGroup", "LeaderID"}:  "member",
	{"Fetch", "SessionID"}:     "session",
	{"DescribeLogDirs", "Dir"}: "dir",
}

// nothing are values of opaque fields that stand for none.
var nothing = map[string]bool{"": true, "-1": true, "AAAAAAAAAAAAAAAAAAAAAA": true, "<nil>": true}

// texts are the fields with prose.
var texts = map[string]bool{"ErrorMessage": true, "Documentation": true}

// unordered are the arrays whose order means nothing, by API and path.
var unordered = map[string]bool{
	"CreateTopics.Topics":                          true,
	"CreateTopics.Topics[*].Configs":               true,
	"DeleteTopics.Topics":                          true,
	"CreatePartitions.Topics":                      true,
	"Metadata.Topics":                              true,
	"Metadata.Topics[*].Partitions":                true,
	"DescribeConfigs.Resources":                    true,
	"DescribeConfigs.Resources[*].Configs":         true,
	"ListGroups.Groups":                            true,
	"DeleteGroups.Groups":                          true,
	"DeleteRecords.Topics":                         true,
	"DeleteRecords.Topics[*].Partitions":           true,
	"ListOffsets.Topics":                           true,
	"ListOffsets.Topics[*].Partitions":             true,
	"OffsetCommit.Topics":                          true,
	"OffsetCommit.Topics[*].Partitions":            true,
	"OffsetDelete.Topics":                          true,
	"Produce.Topics":                               true,
	"Produce.Topics[*].Partitions":                 true,
	"ElectLeaders.Topics":                          true,
	"AlterReplicaLogDirs.Topics":                   true,
	"DescribeLogDirs.Dirs[*].Topics":               true,
	"DescribeLogDirs.Dirs[*].Topics[*].Partitions": true,
	"DescribeUserSCRAMCredentials.Results":         true,
	"AlterUserSCRAMCredentials.Results":            true,
	"OffsetDelete.Topics[*].Partitions":            true,
	"JoinGroup.Members":                            true,
	"DescribeGroups.Groups[*].Members":             true,
}

// identities are the fields that tell elements of an array apart, for orders and
// for comparison.
var identities = []string{"Topic", "TopicID", "Partition", "ResourceType", "ResourceName", "Name", "ConfigName", "Group", "MemberID", "ApiKey", "NodeID", "Dir", "User"}

// machine is what depends on where a broker runs: the port it listens on, and its
// folders.
var machine = regexp.MustCompile(`\b127\.0\.0\.1:[0-9]+|^(/[\w.-]+){2,}$`)

type normaliser struct {
	env  *env
	step *step
	now  int64 // ms
}

func (n *normaliser) tree(v any) any {
	for _, k := range n.step.keep {
		v = kept(v, k)
	}
	return n.value("", "", v)
}

// kept is v without the elements that a keep line leaves out.
func kept(v any, k keep) any {
	o, ok := v.(object)
	if !ok {
		return v
	}
	o = slices.Clone(o)
	for i, m := range o {
		a, ok := m.value.([]any)
		if "."+m.name != k.path || !ok {
			continue
		}
		o[i].value = slices.DeleteFunc(slices.Clone(a), func(e any) bool {
			name, err := at(e, "."+k.field)
			return err != nil || !strings.HasPrefix(fmt.Sprint(name), k.prefix)
		})
	}
	return o
}

func (n *normaliser) value(path, field string, v any) any {
	if class := opaqueClass(n.step.api, field); class != "" && !nothing[fmt.Sprint(v)] && (class != "session" || v != int64(0)) {
		return n.env.name(class, v)
	}
	switch v := v.(type) {
	case object:
		var o object
		for _, m := range v {
			if p := path + "." + m.name; !slices.Contains(n.step.ignore, p) {
				o = append(o, member{m.name, n.value(p, m.name, m.value), m.byDefault})
			}
		}
		return o
	case []any:
		v = slices.DeleteFunc(slices.Clone(v), func(e any) bool { return n.ignored(path, e) })
		if unordered[n.step.api+path] {
			slices.SortStableFunc(v, func(a, b any) int { return strings.Compare(n.order(path, a), n.order(path, b)) })
		}
		for i := range v {
			v[i] = n.value(path+"[*]", field, v[i])
		}
		return v
	case recordLine:
		return fmt.Sprintf("%d @%v %s", v.offset, n.clock(v.time), v.text)
	case int64:
		return n.clock(v)
	case string:
		if texts[field] && v != "" {
			return "<text>"
		}
		if name, ok := n.env.expansions[v]; ok {
			return name
		}
		return machine.ReplaceAllString(v, "$1<$2$3>")
	}
	return v
}

// ignored reports whether an element is ignored by its name.
func (n *normaliser) ignored(path string, e any) bool {
	return slices.ContainsFunc(n.step.ignore, func(i string) bool {
		name, ok := strings.CutPrefix(i, path+"[")
		if !ok || !strings.HasSuffix(name, "]") || name == "*]" {
			return false
		}
		return index([]any{e}, strings.TrimSuffix(name, "]")) == 0
	})
}

func opaqueClass(api, field string) string {
	if c := opaque[[2]string{api, field}]; c != "" {
		return c
	}
	return opaque[[2]string{"", field}]
}

// clock hides a time that is about now.
func (n *normaliser) clock(v int64) any {
	const hour = 3600 * 1000
	if v > n.now-hour && v < n.now+hour {
		return "now"
	}
	return v
}

// order is what an element of the unordered array at path is sorted by: its
// identity, as far as that is not made up, and then all that is not.
func (n *normaliser) order(path string, e any) string {
	var b strings.Builder
	if o, ok := e.(object); ok {
		for _, id := range identities {
			if v, ok := o.get(id); ok && (opaqueClass(n.step.api, id) == "" || nothing[fmt.Sprint(v)]) {
				fmt.Fprintf(&b, "%020v ", v)
			}
		}
	}
	n.peek(&b, path+"[*]", "", e)
	return b.String()
}

func (n *normaliser) peek(b *strings.Builder, path, field string, v any) {
	if opaqueClass(n.step.api, field) != "" {
		return
	}
	switch v := v.(type) {
	case object:
		for _, m := range v {
			n.peek(b, path+"."+m.name, m.name, m.value)
		}
	case []any:
		all := make([]string, len(v))
		for i, e := range v {
			all[i] = n.order(path, e)
		}
		if unordered[n.step.api+path] {
			slices.Sort(all)
		}
		b.WriteString(strings.Join(all, " "))
	default:
		fmt.Fprint(b, v, " ")
	}
}

// keyOf is the identity of an element of an answer in JSON.
func keyOf(o map[string]any) (string, bool) {
	var all []string
	for _, id := range identities {
		if id == "TopicID" && len(all) > 0 {
			continue // the name is enough
		}
		if v, ok := o[id]; ok {
			all = append(all, strings.Trim(short(v), `"`))
		}
	}
	return strings.Join(all, " "), len(all) > 0
}

func sortStrings(s []string) { slices.Sort(s) }

func valueOf(p any) reflect.Value { return reflect.ValueOf(p).Elem() }

func clock(ms int64) string { return strconv.FormatInt(ms, 10) }
