package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// history is what the members of one group and the monitor saw, to be judged when
// all is over. Times are microseconds of the one clock they share.
type history struct {
	data *dataSet

	mu         sync.Mutex
	seen       [][]bool // partition, offset
	missing    int
	duplicates int
	spans      []span
	commits    []fact
	starts     []fact
	reads      []fact
	looks      int // of the monitor
	position   []int64
	back       bool // a position is less than it was
	refused    map[string]int
	failures   []string
	last       time.Time // when records were seen last
	pause      time.Duration
}

// span is records that a member saw, before it committed them.
type span struct {
	at                      int64
	partition, first, count int64
}

// fact is a committed position: known to somebody at known, asked for at asked.
type fact struct {
	who               string
	asked, known      int64
	partition, offset int64
}

func newHistory(d *dataSet) *history {
	h := &history{data: d, seen: make([][]bool, groupPartitions), missing: d.records, position: make([]int64, groupPartitions), refused: map[string]int{}}
	for p := range h.seen {
		h.seen[p] = make([]bool, d.end(p))
		h.position[p] = -1
	}
	return h
}

func (h *history) failed(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = append(h.failures, what)
}

// line takes what a member says.
func (h *history) line(who, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var s span
	var sum uint32
	f := fact{who: who}
	switch kind, rest, _ := strings.Cut(text, " "); kind {
	case "R":
		if n, err := fmt.Sscanf(rest, "%d %d %d %d %d", &s.at, &s.partition, &s.first, &s.count, &sum); n != 5 {
			h.failures = append(h.failures, fmt.Sprintf("%s: %s: %v", who, text, err))
			return
		}
		h.records(who, s, sum)
	case "C":
		if n, _ := fmt.Sscanf(rest, "%d %d %d", &f.known, &f.partition, &f.offset); n == 3 {
			h.commits = append(h.commits, f)
		}
	case "S":
		if n, _ := fmt.Sscanf(rest, "%d %d %d", &f.asked, &f.partition, &f.offset); n == 3 {
			h.starts = append(h.starts, f)
		}
	case "X":
		_, what, _ := strings.Cut(rest, " ")
		h.refused[what]++
	case "F":
		h.failures = append(h.failures, who+": "+rest)
	}
}

// records notes that records were seen; h is locked.
func (h *history) records(who string, s span, sum uint32) {
	if want, ok := h.data.sum(s.partition, s.first, s.count); !ok || want != sum {
		h.failures = append(h.failures, fmt.Sprintf("%s: records %+v are not those that were produced", who, s))
		return
	}
	h.spans = append(h.spans, s)
	for k := range s.count {
		if at := &h.seen[s.partition][s.first+k]; *at {
			h.duplicates++
		} else {
			*at = true
			h.missing--
		}
	}
	if now := time.Now(); h.missing > 0 || h.pause == 0 {
		if !h.last.IsZero() {
			h.pause = max(h.pause, now.Sub(h.last))
		}
		h.last = now
	}
}

// read takes committed positions that the monitor was told.
func (h *history) read(asked, known int64, at map[int32]kadm.OffsetResponse) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks++
	for p := range h.position {
		offset := int64(-1)
		if o, ok := at[int32(p)]; ok { //nolint:gosec // it is small
			offset = o.At
		}
		if offset != h.position[p] {
			h.back = h.back || offset < h.position[p]
			h.reads = append(h.reads, fact{who: "monitor", asked: asked, known: known, partition: int64(p), offset: offset})
			h.position[p] = offset
		}
	}
}

// atEnd says whether everything was seen and committed, and whether something went
// wrong.
func (h *history) atEnd() (done, wrong bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	done = h.missing == 0
	for p, offset := range h.position {
		done = done && offset == h.data.end(p)
	}
	return done, h.back || len(h.failures) > 0
}

// verify judges, and returns what is wrong. What one was told of a position before
// another asked for it bounds what the other may be told; and at any time all
// records below a position have been seen.
func (h *history) verify() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	wrong := slices.Clone(h.failures[:min(len(h.failures), wrongMax)])
	if h.missing > 0 {
		wrong = append(wrong, fmt.Sprintf("%d records were never seen", h.missing))
	}
	for p := range int64(groupPartitions) {
		known := factsOf(p, func(f fact) int64 { return f.known }, h.commits, h.reads)
		told := factsOf(p, func(f fact) int64 { return f.asked }, h.starts, h.reads)
		for _, what := range []string{wentBack(known, told), h.wentPast(p, known)} {
			if what != "" {
				wrong = append(wrong, fmt.Sprintf("partition %d: %s", p, what))
			}
		}
	}
	return wrong
}

// factsOf are the facts about a partition in the order of a time.
func factsOf(partition int64, by func(f fact) int64, facts ...[]fact) []fact {
	all := slices.DeleteFunc(slices.Concat(facts...), func(f fact) bool { return f.partition != partition })
	slices.SortStableFunc(all, func(a, b fact) int { return cmp.Compare(by(a), by(b)) })
	return all
}

// wentBack finds a position that is less than one known before it was asked for.
func wentBack(known, told []fact) string {
	most, k := fact{offset: -1}, 0
	for _, f := range told {
		for ; k < len(known) && known[k].known < f.asked; k++ {
			if known[k].offset > most.offset {
				most = known[k]
			}
		}
		if f.offset < most.offset {
			return fmt.Sprintf("%s knew at %d that %d is committed; %s asked at %d and was told %d", most.who, most.known, most.offset, f.who, f.asked, f.offset)
		}
	}
	return ""
}

// wentPast finds a position with a record below it that nobody had seen.
func (h *history) wentPast(partition int64, known []fact) string {
	var spans []span
	for _, s := range h.spans {
		if s.partition == partition {
			spans = append(spans, s)
		}
	}
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.at, b.at) })
	seen, upTo, k := make([]bool, h.data.end(int(partition))), int64(0), 0
	for _, f := range known {
		for ; k < len(spans) && spans[k].at <= f.known; k++ {
			for n := range spans[k].count {
				seen[spans[k].first+n] = true
			}
		}
		for upTo < int64(len(seen)) && seen[upTo] {
			upTo++
		}
		if f.offset > upTo {
			return fmt.Sprintf("%s knew at %d that %d is committed, and nobody had seen record %d", f.who, f.known, f.offset, upTo)
		}
	}
	return ""
}

// TestGroupHistory has histories judged that are as they should be but for one
// thing.
func TestGroupHistory(t *testing.T) {
	d := &dataSet{records: 10, sums: make([][]uint32, groupPartitions)}
	for p := range d.sums {
		d.sums[p] = []uint32{0}
	}
	for k := range uint32(10) {
		d.sums[0] = append(d.sums[0], d.sums[0][k]+1)
	}
	for name, tt := range map[string]struct{ lines, wrong string }{
		"good":                  {"R 10 0 0 5 5; C 20 0 5; S 30 0 5; R 40 0 5 5 5; C 50 0 10; M 60 70 10", ""},
		"seen twice":            {"R 10 0 0 5 5; C 20 0 3; S 30 0 3; R 40 0 3 7 7; C 50 0 10", ""},
		"late acknowledgement":  {"R 10 0 0 10 10; S 30 0 0; C 31 0 5; M 40 50 5", ""},
		"begins too early":      {"R 10 0 0 10 10; C 20 0 5; S 30 0 4", "was told 4"},
		"begins anew":           {"R 10 0 0 10 10; M 20 25 5; S 30 0 0", "was told 0"},
		"goes back":             {"R 10 0 0 10 10; M 20 25 5; M 30 35 4; M 40 45 5", "was told 4"},
		"behind a commit":       {"R 10 0 0 10 10; C 20 0 5; M 30 35 4", "was told 4"},
		"forgotten":             {"R 10 0 0 10 10; M 20 25 5; M 30 35 -1", "was told -1"},
		"never seen":            {"R 10 0 0 9 9; C 20 0 9", "1 records were never seen"},
		"skipped":               {"R 10 0 0 4 4; R 11 0 5 5 5; C 20 0 10; R 30 0 4 1 1", "nobody had seen record 4"},
		"commits what is to be": {"R 10 0 0 5 5; C 20 0 10; R 30 0 5 5 5", "nobody had seen record 5"},
		"other records":         {"R 10 0 0 10 11; R 10 0 0 10 10", "are not those that were produced"},
		"beyond the end":        {"R 10 0 0 11 11; R 10 0 0 10 10", "are not those that were produced"},
		"what a member says":    {"R 10 0 0 10 10; F out of order", "m: out of order"},
	} {
		h := newHistory(d)
		for line := range strings.SplitSeq(tt.lines, "; ") {
			var asked, known, offset int64
			if n, _ := fmt.Sscanf(line, "M %d %d %d", &asked, &known, &offset); n == 3 {
				h.read(asked, known, map[int32]kadm.OffsetResponse{0: {Offset: kadm.Offset{At: offset}}})
				continue
			}
			h.line("m", line)
		}
		wrong := h.verify()
		if found := strings.Join(wrong, "; "); tt.wrong == "" && found != "" || tt.wrong != "" && (len(wrong) != 1 || !strings.Contains(found, tt.wrong)) {
			t.Errorf("%s: %q, want %q", name, found, tt.wrong)
		}
	}
}

// monitor reads the committed positions of all groups, again and again.
type monitor struct {
	t        *testing.T
	admin    *kadm.Client
	data     *dataSet
	crowds   []*crowd
	stop     context.CancelFunc
	stopped  sync.WaitGroup
	finished chan struct{}
}

func startMonitor(t *testing.T, addr string, d *dataSet, crowds []*crowd) *monitor {
	t.Helper()
	m := &monitor{
		t: t, data: d, crowds: crowds, finished: make(chan struct{}),
		admin: kadm.NewClient(client(t, addr, kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))),
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.stopped.Go(func() {
		for ctx.Err() == nil {
			m.look(ctx)
			if m.complete() {
				close(m.finished)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	t.Cleanup(m.end)
	return m
}

// look reads positions once. That the broker is away is no failure.
func (m *monitor) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var groups []string
	for _, c := range m.crowds {
		groups = append(groups, c.name)
	}
	asked := now()
	told := m.admin.FetchManyOffsets(ctx, groups...)
	known := now()
	for _, c := range m.crowds {
		if r, ok := told[c.name]; ok && r.Err == nil && r.Fetched.Error() == nil {
			c.history.read(asked, known, r.Fetched[m.data.topic])
		}
	}
}

// last reads a crowd's positions when all is over.
func (m *monitor) last(c *crowd) {
	m.t.Helper()
	within(m.t, time.Minute, "positions after the end", func() error {
		asked := now()
		told, err := m.admin.FetchOffsets(m.t.Context(), c.name)
		if err == nil {
			err = told.Error()
		}
		if err == nil {
			c.history.read(asked, now(), told[m.data.topic])
		}
		return err
	})
	if done, _ := c.history.atEnd(); !done {
		m.t.Errorf("%s: in the end the positions are %v", c.name, c.history.position)
	}
}

// complete says whether all groups are at their end, or one cannot get there.
func (m *monitor) complete() bool {
	all := true
	for _, c := range m.crowds {
		done, wrong := c.history.atEnd()
		if wrong {
			return true
		}
		all = all && done
	}
	return all
}

// wait waits for the end of all groups, and says whether it came.
func (m *monitor) wait(limit time.Duration) bool {
	select {
	case <-m.finished:
		return true
	case <-time.After(limit):
		return false
	}
}

func (m *monitor) end() {
	m.stop()
	m.stopped.Wait()
}

// String is how far the groups are.
func (m *monitor) String() string {
	var b strings.Builder
	for _, c := range m.crowds {
		h := c.history
		h.mu.Lock()
		fmt.Fprintf(&b, "%s: %d missing, positions %v, failures %q, refused %v\n", c.name, h.missing, h.position, h.failures, h.refused)
		h.mu.Unlock()
	}
	return b.String()
}

// generation is how often a group has been balanced.
func generation(t *testing.T, addr, group, topic string) int32 {
	t.Helper()
	c := client(t, addr, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.Balancers(kgo.RangeBalancer(), kgo.CooperativeStickyBalancer()))
	var generation int32
	within(t, time.Minute, "generation of "+group, func() error {
		if _, generation = c.GroupMetadata(); generation <= 0 {
			return fmt.Errorf("%d", generation)
		}
		return nil
	})
	return generation - 1
}
