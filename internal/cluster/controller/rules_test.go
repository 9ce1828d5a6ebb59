package controller

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
)

func code(err error) karst.Code {
	if e, ok := errors.AsType[*karst.Error](err); ok {
		return e.Code
	}
	return karst.Unknown
}

func noBad(_ *metadata.Image, _ metadata.Resource, m map[string]string) error {
	if _, ok := m["bad"]; ok {
		return karst.InvalidConfig.Errorf("Unknown topic config name: bad")
	}
	return nil
}

// TestTopicRules are Kafka's, as ReplicationControlManager has them.
func TestTopicRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, mem.New("rules"), Config{Partitions: 4, ReplicationFactor: 2, ValidateConfigs: noBad})
		defer n.shutdown(t)
		_, err := n.CreateTopic(t.Context(), TopicSpec{Name: "early", Partitions: 1, ReplicationFactor: 1})
		if code(err) != karst.InvalidReplication {
			t.Errorf("without brokers: %v", err)
		}
		for id := range karst.BrokerID(2) {
			_, err := n.Register(t.Context(), Registration{ID: id})
			must(t, err)
		}
		n.topic(t, "a.b")
		both := []karst.BrokerID{1, 0}
		for _, c := range []struct {
			spec TopicSpec
			want karst.Code
		}{
			{TopicSpec{Name: "", Partitions: 1, ReplicationFactor: 1}, karst.InvalidTopic},
			{TopicSpec{Name: "..", Partitions: 1, ReplicationFactor: 1}, karst.InvalidTopic},
			{TopicSpec{Name: "a/b", Partitions: 1, ReplicationFactor: 1}, karst.InvalidTopic},
			{TopicSpec{Name: strings.Repeat("a", 250), Partitions: 1, ReplicationFactor: 1}, karst.InvalidTopic},
			{TopicSpec{Name: "a.b", Partitions: 1, ReplicationFactor: 1}, karst.TopicExists},
			{TopicSpec{Name: "a_b", Partitions: 1, ReplicationFactor: 1}, karst.InvalidTopic},
			{TopicSpec{Name: "x", Partitions: 0, ReplicationFactor: 1}, karst.InvalidPartitions},
			{TopicSpec{Name: "x", Partitions: -2, ReplicationFactor: 1}, karst.InvalidPartitions},
			{TopicSpec{Name: "x", Partitions: 1, ReplicationFactor: 0}, karst.InvalidReplication},
			{TopicSpec{Name: "x", Partitions: 1, ReplicationFactor: -1, Assignment: [][]karst.BrokerID{both}}, karst.InvalidRequest},
			{TopicSpec{Name: "x", Partitions: -1, ReplicationFactor: -1, Assignment: [][]karst.BrokerID{{9}}}, karst.InvalidAssignment},
			{TopicSpec{Name: "x", Partitions: -1, ReplicationFactor: -1, Assignment: [][]karst.BrokerID{{1, 1}}}, karst.InvalidAssignment},
			{TopicSpec{Name: "x", Partitions: -1, ReplicationFactor: -1, Assignment: [][]karst.BrokerID{both, {1}}}, karst.InvalidAssignment},
			{TopicSpec{Name: "x", Partitions: -1, ReplicationFactor: -1, Assignment: [][]karst.BrokerID{{}}}, karst.InvalidAssignment},
			{TopicSpec{Name: "x", Partitions: 1, ReplicationFactor: 1, Configs: map[string]string{"bad": "1"}}, karst.InvalidConfig},
			{TopicSpec{Name: "x", Partitions: 1, ReplicationFactor: 1, Configs: map[string]string{"k": "\xff"}}, karst.InvalidConfig},
			{TopicSpec{Name: "x", Partitions: 1, ReplicationFactor: 1, Configs: map[string]string{"k": strings.Repeat("v", configValueMax+1)}}, karst.InvalidConfig},
		} {
			if _, err := n.CreateTopic(t.Context(), c.spec); code(err) != c.want {
				t.Errorf("%+v: %v, want code %d", c.spec, err, c.want)
			}
		}
		s, err := n.CreateTopic(t.Context(), TopicSpec{Name: "v", Partitions: -1, ReplicationFactor: -1, ValidateOnly: true})
		must(t, err)
		if _, ok := n.replica.Image().Topic("v"); ok || s.Partitions != 4 || s.ReplicationFactor != 2 || s.ID.IsZero() {
			t.Errorf("validate only: %+v, there: %v", s, ok)
		}
		checkGrowth(t, n)
	})
}

func checkGrowth(t *testing.T, n *node) {
	t.Helper()
	s, err := n.CreateTopic(t.Context(), TopicSpec{Name: "m", Partitions: -1, ReplicationFactor: -1, Assignment: [][]karst.BrokerID{{1, 0}, {0, 1}}})
	must(t, err)
	for _, c := range []struct {
		total int32
		to    [][]karst.BrokerID
		want  karst.Code
	}{
		{2, nil, karst.InvalidPartitions},
		{1, nil, karst.InvalidPartitions},
		{4, [][]karst.BrokerID{{0, 1}}, karst.InvalidAssignment},
		{3, [][]karst.BrokerID{{0}}, karst.InvalidAssignment},
	} {
		if err := n.CreatePartitions(t.Context(), s.ID, c.total, c.to, false); code(err) != c.want {
			t.Errorf("to %d with %v: %v", c.total, c.to, err)
		}
	}
	must(t, n.CreatePartitions(t.Context(), s.ID, 3, [][]karst.BrokerID{{1, 0}}, true))
	must(t, n.CreatePartitions(t.Context(), s.ID, 3, [][]karst.BrokerID{{1, 0}}, false))
	must(t, n.CreatePartitions(t.Context(), s.ID, 6, nil, false))
	leads := map[karst.BrokerID]int{}
	for p := range n.replica.Image().PartitionsOf(s.ID) {
		leads[p.Broker]++
	}
	if leads[0]+leads[1] != 6 || leads[0] < 2 || leads[1] < 2 {
		t.Errorf("leaders are spread %v", leads)
	}
	must(t, n.DeleteTopic(t.Context(), s.ID))
	if err := n.DeleteTopic(t.Context(), s.ID); code(err) != karst.UnknownTopicID {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestSetConfigs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, mem.New("configs"), Config{ValidateConfigs: noBad})
		defer n.shutdown(t)
		_, err := n.Register(t.Context(), Registration{ID: AssignID})
		must(t, err)
		topic := n.topic(t, "t")
		one, two := "1", "2"
		of := metadata.Resource{Topic: topic.ID}
		must(t, n.SetConfigs(t.Context(), of, []ConfigChange{{Name: "a", Value: &one}, {Name: "b", Value: &two}}, false, false))
		must(t, n.SetConfigs(t.Context(), of, []ConfigChange{{Name: "b"}, {Name: "c", Value: &one}}, false, false))
		must(t, n.SetConfigs(t.Context(), of, nil, true, true))
		if err := n.SetConfigs(t.Context(), of, []ConfigChange{{Name: "bad", Value: &one}}, false, false); code(err) != karst.InvalidConfig {
			t.Errorf("a bad config: %v", err)
		}
		s, _ := n.replica.Image().Topic("t")
		if fmt.Sprint(s.Configs) != "map[a:1 c:1]" {
			t.Errorf("configs %v", s.Configs)
		}
		must(t, n.SetConfigs(t.Context(), metadata.Resource{Broker: "0"}, []ConfigChange{{Name: "x", Value: &one}}, true, false))
		if got := n.replica.Image().BrokerConfigs("0"); got["x"] != "1" {
			t.Errorf("broker configs %v", got)
		}
	})
}

// TestListConfigs appends to lists and subtracts from them, from the default if
// none is set.
func TestListConfigs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, mem.New("lists"), Config{ListConfig: func(_ metadata.Resource, name, verb string) (string, error) {
			if name != "list" {
				return "", karst.InvalidConfig.Errorf("cannot %s", verb)
			}
			return "a,b", nil
		}})
		defer n.shutdown(t)
		of := metadata.Resource{Group: "g"}
		for _, c := range []struct {
			op          ConfigOp
			value, want string
		}{
			{ConfigAppend, "b,c", "a,b,c"},
			{ConfigSubtract, "a,x", "b,c"},
			{ConfigSubtract, "b,c", ""},
			{ConfigAppend, "d", "d"},
		} {
			must(t, n.SetConfigs(t.Context(), of, []ConfigChange{{Name: "list", Value: &c.value, Op: c.op}}, false, false))
			if got := n.replica.Image().GroupConfigs("g")["list"]; got != c.want {
				t.Errorf("%d %q: %q, want %q", c.op, c.value, got, c.want)
			}
		}
		v, long := "x", strings.Repeat("x", configValueMax+1)
		for _, ch := range []ConfigChange{{Name: "number", Value: &v, Op: ConfigAppend}, {Name: "s", Value: &long}} {
			if err := n.SetConfigs(t.Context(), of, []ConfigChange{ch}, false, false); code(err) != karst.InvalidConfig {
				t.Errorf("%s: %v", ch.Name, err)
			}
		}
		many := make([]ConfigChange, configsMax+1)
		for i := range many {
			many[i] = ConfigChange{Name: fmt.Sprint(i), Value: &v}
		}
		if err := n.SetConfigs(t.Context(), of, many, true, false); code(err) != karst.PolicyViolation {
			t.Errorf("too many configs: %v", err)
		}
		if err := n.SetConfigs(t.Context(), metadata.Resource{ClientMetrics: strings.Repeat("x", namedBytesMax)}, []ConfigChange{{Name: "s", Value: &v}}, true, false); code(err) != karst.PolicyViolation {
			t.Errorf("too long a name: %v", err)
		}
		of = metadata.Resource{Broker: "0"}
		large := strings.Repeat("x", configValueMax)
		for i := range many[:40] {
			many[i].Value = &large
		}
		if err := n.SetConfigs(t.Context(), of, many[:40], true, false); code(err) != karst.PolicyViolation {
			t.Errorf("too large configs: %v", err)
		}
		bad := "\xff"
		if err := n.SetConfigs(t.Context(), of, []ConfigChange{{Name: "s", Value: &bad}}, true, false); code(err) != karst.InvalidConfig {
			t.Errorf("what is no text: %v", err)
		}
		if err := n.SetConfigs(t.Context(), metadata.Resource{Topic: karst.TopicID{1}}, nil, true, false); code(err) != karst.UnknownTopicID {
			t.Errorf("configs of no topic: %v", err)
		}
	})
}

// TestConfigsOfOneResourceAtOnce loses none of the changes that share a commit.
func TestConfigsOfOneResourceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New("at once"), 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(50 * time.Millisecond)})
		n := start(t, st, Config{})
		defer n.shutdown(t)
		v := "x"
		var wg sync.WaitGroup
		for k := range 50 {
			wg.Go(func() {
				if err := n.SetConfigs(t.Context(), metadata.Resource{Group: "g"}, []ConfigChange{{Name: fmt.Sprint(k), Value: &v}}, false, false); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if img := n.replica.Image(); len(img.GroupConfigs("g")) != 50 || img.Position().Number > 4 {
			t.Errorf("%d configs in %d commits", len(img.GroupConfigs("g")), img.Position().Number)
		}
	})
}

// TestGroupCommit puts what waits during one create into the next.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New("group"), 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(50 * time.Millisecond)})
		n := start(t, st, Config{})
		_, err := n.Register(t.Context(), Registration{ID: 0})
		must(t, err)
		was := n.replica.Image().Position().Number
		var wg sync.WaitGroup
		for k := range 100 {
			wg.Go(func() {
				if _, err := n.CreateTopic(t.Context(), TopicSpec{Name: fmt.Sprint("t", k%50), Partitions: 1, ReplicationFactor: 1}); err != nil && code(err) != karst.TopicExists {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if now := n.replica.Image(); now.Position().Number > was+2 || now.TopicCount() != 50 {
			t.Errorf("%d topics in %d commits", now.TopicCount(), now.Position().Number-was)
		}
		n.shutdown(t)
		if err := n.DeleteTopic(t.Context(), karst.TopicID{1}); code(err) != karst.NotController {
			t.Errorf("after the end: %v", err)
		}
	})
}

// TestOutage outlasts the stall timeout: proposals learn that the outcome is
// unknown, and a new Run goes on by itself.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := faults.New(mem.New("outage"), 1)
		n := start(t, st, Config{StallTimeout: 5 * time.Second})
		_, err := n.Register(t.Context(), Registration{ID: 0})
		must(t, err)
		for _, r := range faults.Outage(0, 0) {
			st.Add(r)
		}
		_, err = n.CreateTopic(t.Context(), TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: 1})
		if code(err) != karst.TimedOut {
			t.Errorf("during the outage: %v", err)
		}
		if err := <-n.ended; err == nil || errors.Is(err, ErrDeposed) {
			t.Errorf("Run: %v", err)
		}
		st.Heal()
		n.run(t)
		if _, err := n.CreateTopic(t.Context(), TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: 1}); err != nil && code(err) != karst.TopicExists {
			t.Errorf("after the outage: %v", err)
		}
		n.shutdown(t)
	})
}

// TestLargeCommits splits what waits into commits of bounded size.
func TestLargeCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, mem.New("large"), Config{CommitBytes: 4 << 10})
		defer n.shutdown(t)
		_, err := n.Register(t.Context(), Registration{ID: 0})
		must(t, err)
		specs := make([]TopicSpec, 100)
		for k := range specs {
			specs[k] = TopicSpec{Name: fmt.Sprint("t", k), Partitions: 30, ReplicationFactor: 1}
		}
		was := n.replica.Image().Position().Number
		results, err := n.CreateTopics(t.Context(), specs)
		must(t, err)
		for _, r := range results {
			must(t, r.Err)
		}
		if commits := n.replica.Image().Position().Number - was; commits < 10 || commits > 50 {
			t.Errorf("%d commits", commits)
		}
	})
}
