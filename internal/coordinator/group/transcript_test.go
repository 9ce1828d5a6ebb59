package group

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
)

// TestTranscripts runs the scripts of testdata/transcripts: requests to a machine
// and the passing of time, each with the records and answers that came of it.
// After every command the records so far are loaded anew, and must give what is
// there.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		w := newWorld(Config{
			MinSession: 6 * time.Second, MaxSession: 30 * time.Minute,
			OffsetsRetention: 24 * time.Hour, OffsetsCheck: 10 * time.Minute,
			MetadataMax: 16, RecordMax: fixed(2048),
		})
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			w.out.Reset()
			w.run(t, d)
			w.check(t)
			if w.out.Len() == 0 {
				return "nothing\n"
			}
			return w.out.String()
		})
	})
}

// world is a machine, its clock, and all that it had for effect.
type world struct {
	*Machine

	start, now time.Time
	tickets    coordinator.Ticket
	open       map[coordinator.Ticket]bool
	log        []coordinator.Record
	answer     any // the newest
	members    int // ids given out
	out        strings.Builder
}

func newWorld(cfg Config) *world {
	start := time.UnixMilli(1_700_000_000_000)
	w := &world{start: start, now: start, open: map[coordinator.Ticket]bool{}}
	cfg.NewMemberID = func(prefix string) string {
		w.members++
		return fmt.Sprintf("%s-%d", prefix, w.members)
	}
	w.Machine = NewMachine(cfg)
	w.take(w.Start(w.now))
	return w
}

// ticket is a new caller.
func (w *world) ticket() coordinator.Ticket {
	w.tickets++
	w.open[w.tickets] = true
	return w.tickets
}

// take does what a coordinator does with effects.
func (w *world) take(effects []coordinator.Effect) {
	for _, e := range effects {
		for _, r := range e.Records {
			if size := int64(len(r.Key) + len(r.Value)); w.cfg.recordMax() > 0 && size > w.cfg.recordMax() {
				panic(fmt.Sprintf("a record of %d bytes", size))
			}
			w.log = append(w.log, r)
			fmt.Fprintf(&w.out, "%s%s\n", w.recordText(r), map[bool]string{true: " (lazily)"}[e.Lazy])
		}
		for _, a := range e.Answers {
			if !w.open[a.To] {
				panic(fmt.Sprintf("ticket %d is answered twice", a.To))
			}
			delete(w.open, a.To)
			w.answer = a.Body
			fmt.Fprintf(&w.out, "#%d %s\n", a.To, w.answerText(a.Body))
		}
	}
}

// advance lets time pass and does what becomes due.
func (w *world) advance(by time.Duration) {
	until := w.now.Add(by)
	for {
		at := w.Deadline()
		if at.IsZero() || at.After(until) {
			break
		}
		if at.After(w.now) {
			w.now = at
		}
		before := w.out.Len()
		effects := w.Expire(w.now)
		w.take(effects)
		if text := w.out.String(); len(text) > before {
			w.out.Reset()
			w.out.WriteString(text[:before])
			fmt.Fprintf(&w.out, "after %s:\n%s", w.now.Sub(w.start), text[before:])
		}
	}
	w.now = until
}

// reload loads what was written into another machine, as its next leader does.
func (w *world) reload(cfg Config) {
	m := NewMachine(cfg)
	for _, r := range w.log {
		if err := m.Replay(r); err != nil {
			panic(err)
		}
	}
	w.Machine = m
	clear(w.open) // they are told to look elsewhere
	w.take(m.Start(w.now))
}

func (w *world) recordText(r coordinator.Record) string {
	if r.Key[1] == byte(keyGroup) {
		var key kmsg.GroupMetadataKey
		must(key.ReadFrom(r.Key))
		if r.Value == nil {
			return "write: group " + key.Group + " gone"
		}
		v := kmsg.NewGroupMetadataValue()
		must(v.ReadFrom(r.Value))
		text := fmt.Sprintf("write: group %s, generation %d, type %q, protocol %s, leader %s", key.Group, v.Generation, v.ProtocolType, name(v.Protocol), name(v.Leader))
		for _, m := range v.Members {
			text += fmt.Sprintf(", %s", m.MemberID)
			if m.InstanceID != nil {
				text += "/" + *m.InstanceID
			}
			if len(m.Assignment) > 0 {
				text += fmt.Sprintf("=%s", m.Assignment)
			}
		}
		return text
	}
	var key kmsg.OffsetCommitKey
	must(key.ReadFrom(r.Key))
	at := fmt.Sprintf("write: group %s, %s-%d", key.Group, key.Topic, key.Partition)
	if r.Value == nil {
		return at + " gone"
	}
	v := kmsg.NewOffsetCommitValue()
	must(v.ReadFrom(r.Value))
	at += fmt.Sprintf(" = %d", v.Offset)
	if v.Version >= 3 && v.LeaderEpoch >= 0 {
		at += fmt.Sprintf(", epoch %d", v.LeaderEpoch)
	}
	if v.Metadata != "" {
		at += fmt.Sprintf(", %q", v.Metadata)
	}
	if v.TopicID != [16]byte{} {
		at += fmt.Sprintf(", topic %d", v.TopicID[0])
	}
	if v.Version == offsetValueExpiring {
		at += ", until " + time.UnixMilli(v.ExpireTimestamp).Sub(w.start).String()
	}
	return at
}

func (w *world) answerText(body any) string {
	switch a := body.(type) {
	case ErrAnswer:
		return errText(a.Err)
	case JoinAnswer:
		if a.Err != nil {
			return errText(a.Err) + ", member " + orNone(a.Member)
		}
		text := fmt.Sprintf("joined: generation %d, type %s, protocol %s, leader %s, member %s", a.Generation, name(a.ProtocolType), name(a.Protocol), a.Leader, a.Member)
		if a.SkipAssignment {
			text += ", skip assignment"
		}
		for i, m := range a.Members {
			text += map[bool]string{true: ", of "}[i == 0] + m.Member
			if m.Instance != nil {
				text += "/" + *m.Instance
			}
			text += fmt.Sprintf("(%s) ", readable(m.Metadata))
		}
		return strings.TrimSpace(text)
	case SyncAnswer:
		if a.Err != nil {
			return errText(a.Err)
		}
		return fmt.Sprintf("synced: type %s, protocol %s, assignment %q", name(a.ProtocolType), name(a.Protocol), a.Assignment)
	case LeaveAnswer:
		text := errText(a.Err)
		for _, m := range a.Members {
			text += fmt.Sprintf(", %s: %s", orNone(m.Member)+map[bool]string{true: "/" + name(m.Instance)}[m.Instance != nil], errText(m.Err))
		}
		return text
	case CommitAnswer:
		return errText(a.Err) + errTexts(a.Errs)
	case DeleteOffsetsAnswer:
		return errText(a.Err) + errTexts(a.Errs)
	case FetchAnswer:
		text := errText(a.Err)
		for _, t := range a.Topics {
			for _, p := range t.Offsets {
				text += fmt.Sprintf(", %s-%d = %d", t.Topic.Name, p.Partition, p.Offset)
				if p.Epoch >= 0 {
					text += fmt.Sprintf(" at epoch %d", p.Epoch)
				}
				if p.Metadata != "" {
					text += fmt.Sprintf(" %q", p.Metadata)
				}
			}
		}
		return text
	case Description:
		text := fmt.Sprintf("%s: %s, type %q, protocol %q", errText(a.Err), a.State, a.ProtocolType, a.Protocol)
		for _, m := range a.Members {
			text += fmt.Sprintf("; %s%s of %s at %s: (%s) %q", m.Member, map[bool]string{true: "/" + name(m.Instance)}[m.Instance != nil], m.Client.ID, m.Client.Host, readable(m.Metadata), m.Assignment)
		}
		return text
	}
	panic(fmt.Sprintf("an answer of type %T", body))
}

// errText is the kind of an error; those for what is no group matter are spelt out.
func errText(err error) string {
	if err == nil {
		return "ok"
	}
	names := map[karst.Code]string{
		karst.UnknownMember: "unknown member", karst.IllegalGeneration: "illegal generation",
		karst.InconsistentProtocol: "inconsistent protocol", karst.InvalidSessionTimeout: "invalid session timeout",
		karst.RebalanceInProgress: "rebalance in progress", karst.MemberIDRequired: "member id required",
		karst.GroupFull: "group full", karst.FencedInstance: "fenced instance", karst.NonEmptyGroup: "non-empty group",
		karst.GroupNotFound: "group not found", karst.GroupSubscribed: "group subscribed",
		karst.InvalidGroupID: "invalid group id", karst.OffsetMetadataTooLarge: "offset metadata too large",
	}
	e := err.(*karst.Error) //nolint:errorlint // answers promise it
	if n := names[e.Code]; n != "" {
		return n
	}
	return fmt.Sprintf("error %d: %s", e.Code, e.Message)
}

func errTexts(errs []error) string {
	text := ""
	for _, err := range errs {
		text += ", " + errText(err)
	}
	return text
}

func name(s *string) string {
	if s == nil {
		return "none"
	}
	return *s
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// readable is the topics of a subscription, or what is none.
func readable(b []byte) string {
	topics := map[string]struct{}{}
	if len(b) == 0 || !subscribedTopics(b, topics) {
		return hex.EncodeToString(b)
	}
	all := make([]string, 0, len(topics))
	for t := range topics {
		all = append(all, t)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func subscription(topics ...string) []byte {
	s := kmsg.NewConsumerMemberMetadata()
	s.Version, s.Topics = 3, topics
	return s.AppendTo(nil)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
