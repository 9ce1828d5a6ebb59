package metadata

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/karst-io/karst"
)

// TestApply runs transcripts: each command is one commit of one record; the
// answer is what changed, or why it was refused.
//
//	register id=0 [supports=2]                                adds an incarnation of a broker
//	feature [name=karst.version] level=2
//	drain id=0 [since=1000]
//	fence | forget | release inc=1
//	topic name=t leaders=(1,1)                   topic ids count from 1
//	delete topic=1
//	place topic=1 partition=0 leader=2
//	commit inc=1 req=1 [settled=(counter,request)] [trim=3] [adopt end=9 held=(4) stopped=(0)]
//	  topic=1 partition=0 epoch=0 range=(0,10) [object=seg1-5] [logstart=3] [to=2] [state=full|delta]
//	show                                         the whole image
//	deletable objects=(seg1-5,wal1-3)
func TestApply(t *testing.T) {
	datadriven.Walk(t, "testdata/apply", func(t *testing.T, path string) {
		s := &script{img: NewImage(karst.ClusterID{1})}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out := s.run(t, d)
			if err := s.img.CheckInvariants(); err != nil {
				d.Fatalf(t, "%v", err)
			}
			return out
		})
	})
}

type script struct {
	img    *Image
	topics int
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	args := argsOf(d.CmdArgs)
	inc := karst.Incarnation(args.number("inc"))
	switch d.Cmd {
	case "register":
		return s.apply(&RegisterBroker{Incarnation: s.img.nextIncarnation, Registration: Registration{
			ID: karst.BrokerID(args.number("id")), Supports: int32(args.number("supports")),
		}})
	case "feature":
		return s.apply(&SetFeature{Name: cmp.Or(args.text("name"), LevelFeature), Level: int32(args.number("level"))})
	case "drain":
		return s.apply(&DrainBroker{ID: karst.BrokerID(args.number("id")), Drained: true, Since: karst.Timestamp(args.number("since"))})
	case "fence":
		return s.apply(&FenceIncarnation{Incarnation: inc})
	case "forget":
		return s.apply(&ForgetIncarnation{Incarnation: inc})
	case "release":
		return s.apply(&ReleaseHeld{Incarnation: inc})
	case "topic":
		r := &CreateTopic{ID: topicID(s.topics + 1), Name: args.text("name")}
		for _, l := range args["leaders"] {
			r.Partitions = append(r.Partitions, NewPartition{Leader: karst.Incarnation(number(l))})
		}
		s.topics++
		return s.apply(r)
	case "delete":
		return s.apply(&DeleteTopic{ID: topicID(args.number("topic"))})
	case "place":
		return s.apply(&PlaceLeaders{Placements: []Placement{{Partition: args.partition(), Leader: karst.Incarnation(args.number("leader"))}}})
	case "commit":
		return s.apply(requestOf(args, d.Input))
	case "show":
		return show(s.img)
	case "deletable":
		var out []string
		for _, o := range args["objects"] {
			out = append(out, fmt.Sprintf("%s %v", o, s.img.Deletable(objectOf(o))))
		}
		return strings.Join(out, "\n") + "\n"
	default:
		d.Fatalf(t, "unknown command")
		return ""
	}
}

func (s *script) apply(r Record) string {
	b := NewBatch(s.img)
	if err := b.Try(r); err != nil {
		return "refused: " + err.Error() + "\n"
	}
	c := &Commit{Position: Position{Term: 1, Number: s.img.position.Number + 1}, Predecessor: s.img.check, Records: b.Records}
	_, check := EncodeCommit(c)
	img, d, err := Apply(s.img, c, check)
	if err != nil {
		return "BROKEN: " + err.Error() + "\n"
	}
	s.img = img
	var out strings.Builder
	out.WriteString("ok")
	for _, tp := range d.Dropped {
		fmt.Fprintf(&out, ", dropped %s", short(tp))
	}
	for _, o := range d.Unreferenced {
		fmt.Fprintf(&out, ", unreferenced %s", shortObject(o))
	}
	return out.String() + "\n"
}

func requestOf(args arguments, input string) *CommitRequest {
	r := &CommitRequest{
		Incarnation: karst.Incarnation(args.number("inc")), Request: uint64(args.number("req")),
		WALTrim: karst.Number(args.number("trim")), WALEnd: karst.Number(args.number("end")),
	}
	_, r.Adopt = args["adopt"]
	if s := args["settled"]; s != nil {
		r.Settled = Settled{Counter: karst.Number(number(s[0])), Request: uint64(number(s[1]))}
	}
	for _, n := range args["held"] {
		r.Held = append(r.Held, walObject(int(r.Incarnation), number(n)))
	}
	for _, n := range args["stopped"] {
		r.Stopped = append(r.Stopped, part(1, number(n)))
	}
	for line := range strings.Lines(input) {
		a := arguments{}
		for f := range strings.FieldsSeq(line) {
			k, v, _ := strings.Cut(f, "=")
			a[k] = strings.Split(strings.Trim(v, "()"), ",")
		}
		r.Ranges = append(r.Ranges, rangeOf(a))
	}
	return r
}

func rangeOf(a arguments) Range {
	g := Range{
		Partition: a.partition(), Epoch: karst.Epoch(a.number("epoch")),
		Start: karst.Offset(number(a["range"][0])), End: karst.Offset(number(a["range"][1])),
		LogStart: karst.Offset(a.number("logstart")), NewLeader: karst.Incarnation(a.number("to")),
	}
	o := objectOf(a.text("object"))
	if o.Kind != 0 {
		base := g.Start
		if f := a["from"]; f != nil {
			base = karst.Offset(number(f[0]))
		}
		g.Sources = []Source{source(o, base, g.End-1)}
	}
	if s := a.text("state"); s != "" {
		g.State = &StateRef{Object: o, Full: s == "full", Next: g.End}
	}
	return g
}

type arguments map[string][]string

func argsOf(all []datadriven.CmdArg) arguments {
	out := arguments{}
	for _, a := range all {
		out[a.Key] = a.Vals
	}
	return out
}

func (a arguments) text(key string) string {
	if len(a[key]) == 0 {
		return ""
	}
	return a[key][0]
}

func (a arguments) number(key string) int { return number(a.text(key)) }

func (a arguments) partition() karst.TopicPartition {
	return part(a.number("topic"), a.number("partition"))
}

func number(s string) (n int) {
	if s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			panic(err)
		}
	}
	return n
}

func objectOf(s string) ObjectID {
	var inc, n int
	if _, err := fmt.Sscanf(s, "seg%d-%d", &inc, &n); err == nil {
		return seg(inc, n)
	}
	if _, err := fmt.Sscanf(s, "wal%d-%d", &inc, &n); err == nil {
		return walObject(inc, n)
	}
	return ObjectID{}
}

func short(tp karst.TopicPartition) string { return fmt.Sprintf("%d/%d", tp.Topic[15], tp.Partition) }

func shortObject(o ObjectID) string {
	return fmt.Sprintf("%s%d-%d", map[ObjectKind]string{WALObject: "wal", SegObject: "seg"}[o.Kind], o.Writer, o.Number)
}

func show(i *Image) string {
	var out strings.Builder
	for b := range i.Brokers() {
		phase := []string{"", "live", "fenced", "adopted"}[b.Phase]
		fmt.Fprintf(&out, "incarnation %d: broker %d %s, trim %d, settled %d/%d, applied %v, end %d, held %d\n",
			b.Incarnation, b.ID, phase, b.Trim, b.Settled.Counter, b.Settled.Request, b.Applied, b.WALEnd, len(b.Held))
	}
	for p := range i.Partitions() {
		fmt.Fprintf(&out, "%s: leader %d (broker %d) epoch %d %v, log [%d,%d)", short(p.ID), p.Leader, p.Broker, p.Epoch, p.Epochs, p.LogStart, p.End)
		for _, s := range p.Sources {
			fmt.Fprintf(&out, " %s[%d,%d]", shortObject(s.Object), s.Base, s.Last)
		}
		for _, s := range p.States {
			fmt.Fprintf(&out, " state %s<%d %s", shortObject(s.Object), s.Next, map[bool]string{true: "full", false: "delta"}[s.Full])
		}
		if p.Stopped != 0 {
			fmt.Fprintf(&out, " stopped by %d", p.Stopped)
		}
		out.WriteString("\n")
	}
	refs := slices.Collect(i.Objects())
	for n, o := range refs {
		out.WriteString(map[bool]string{true: "referenced: ", false: " "}[n == 0] + shortObject(o))
	}
	return out.String() + "\n"
}
