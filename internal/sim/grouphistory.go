package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// place is a partition for which a group commits offsets.
type place struct {
	group, topic string
	partition    int32
}

func (p place) String() string { return fmt.Sprintf("%s of %s-%d", p.group, p.topic, p.partition) }

// metadata is what is committed with a value at a place.
func (p place) metadata(value int64) string { return fmt.Sprintf("%d %s", value, p) }

// round is an answer that a member got as one of a generation.
type round struct {
	group, member, what string // member: and where it was answered
	generation          int32
	sent, answered      Tick
	// lasting: the answer says that the generation is in the log.
	lasting bool
	// sure: the answer is proved. Others are about what their coordinator knows in
	// its epoch: a deposed one may answer joins and heartbeats from memory.
	sure bool
	// The epoch of the coordinator that answered lies between these (epochs.go).
	atLeast, atMost int32
}

// heartbeat is what a round is that a coordinator may answer without looking.
const heartbeat = "heartbeat"

// assignment is what a leader gives a member: unique for each decision.
type assignment struct {
	decision int64
	member   string // instance id, or member id
	places   []place
}

func (a *assignment) encode() []byte {
	parts := []string{strconv.FormatInt(a.decision, 10), a.member}
	for _, p := range a.places {
		parts = append(parts, p.topic, strconv.Itoa(int(p.partition)))
	}
	return []byte(strings.Join(parts, "|"))
}

// decodeAssignment reads one back; false if nobody made it.
func decodeAssignment(group string, b []byte) (a assignment, ok bool) {
	parts := strings.Split(string(b), "|")
	if len(parts)%2 != 0 {
		return a, false
	}
	var err error
	if a.decision, err = strconv.ParseInt(parts[0], 10, 64); err != nil {
		return a, false
	}
	a.member = parts[1]
	for i := 2; i < len(parts); i += 2 {
		n, err := strconv.ParseInt(parts[i+1], 10, 32)
		if err != nil {
			return a, false
		}
		a.places = append(a.places, place{group, parts[i], int32(n)})
	}
	return a, true
}

// given is an assignment that a member was told.
type given struct {
	group      string
	generation int32
	source     string
	assignment
}

// groupHistory is what the clients of groups did and saw.
type groupHistory struct {
	commits map[place][]*regWrite
	fetches map[place][]regRead
	rounds  []round
	given   []given
}

func newGroupHistory() groupHistory {
	return groupHistory{commits: map[place][]*regWrite{}, fetches: map[place][]regRead{}}
}

// commit notes an offset that is about to be committed.
func (h *History) commit(p place, w *regWrite) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.groups.commits[p] = append(h.groups.commits[p], w)
}

// committed notes what became of it.
func (h *History) committed(w *regWrite, o outcome) {
	at := h.tick()
	h.mu.Lock()
	defer h.mu.Unlock()
	w.outcome, w.answered = o, at
}

// fetched notes an offset that was read.
func (h *History) fetched(p place, r regRead) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.groups.fetches[p] = append(h.groups.fetches[p], r)
}

// places are all for which something was ever to be committed in a group.
func (h *History) places(group string) []place {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []place
	for p := range h.groups.commits {
		if p.group == group {
			all = append(all, p)
		}
	}
	return all
}

// groupNames are the groups of all places.
func (h *History) groupNames() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := map[string]bool{}
	for p := range h.groups.commits {
		names[p.group] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func (h *History) round(r round) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.groups.rounds = append(h.groups.rounds, r)
}

func (h *History) give(g given) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.groups.given = append(h.groups.given, g)
}

// Commits counts the acknowledged offset commits.
func (h *History) Commits() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, all := range h.groups.commits {
		for _, w := range all {
			if w.outcome == acknowledged {
				n++
			}
		}
	}
	return n
}

// CheckGroups checks what the clients of groups did and saw.
func (h *History) CheckGroups() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range slices.SortedFunc(maps.Keys(h.groups.fetches), func(a, b place) int { return strings.Compare(a.String(), b.String()) }) {
		var writes []regWrite
		for _, w := range h.groups.commits[p] {
			writes = append(writes, *w)
		}
		checkRegister(-1, writes, h.groups.fetches[p], func(k Kind, format string, args ...any) {
			h.report(Finding{k, fmt.Sprintf("%s: ", p) + fmt.Sprintf(format, args...)})
		})
	}
	h.checkRounds()
	h.checkGiven()
}

// checkRounds wants generations that never go back: once a member was told what
// lasts of a generation, no member of an earlier one is told that all is well, by
// proof or by a coordinator that is not of an earlier epoch. While that loads the
// group it answers heartbeats without looking, as Kafka's does: they count once it
// is known to have answered something else in its epoch.
func (h *History) checkRounds() {
	byAnswer := slices.Clone(h.groups.rounds)
	slices.SortFunc(byAnswer, func(a, b round) int { return cmp.Compare(a.answered, b.answered) })
	bySent := slices.Clone(h.groups.rounds)
	slices.SortFunc(bySent, func(a, b round) int { return cmp.Compare(a.sent, b.sent) })
	type term struct {
		group string
		epoch int32
	}
	newest, loaded := map[term]round{}, map[term]bool{}
	next := 0
	for _, r := range bySent {
		for ; next < len(byAnswer) && byAnswer[next].answered < r.sent; next++ {
			n := byAnswer[next]
			at := term{n.group, n.atMost}
			if n.lasting && n.generation >= newest[at].generation {
				newest[at] = n
			}
			if n.what != heartbeat && n.atLeast == n.atMost {
				loaded[at] = true
			}
		}
		knows := r.what != heartbeat || r.atLeast == r.atMost && loaded[term{r.group, r.atLeast}]
		for at, n := range newest {
			if at.group == r.group && r.generation < n.generation && (r.sure || knows && r.atLeast >= at.epoch) {
				h.report(Finding{OldMember, fmt.Sprintf("%s: a %s of %s was answered well in generation %d (from epoch %d on), after a %s of %s in generation %d (epoch %d at most)",
					r.group, r.what, r.member, r.generation, r.atLeast, n.what, n.member, n.generation, n.atMost)})
			}
		}
	}
}

// checkGiven wants one decision in each generation, which gives no partition to
// two members.
func (h *History) checkGiven() {
	type generation struct {
		group string
		n     int32
	}
	type seat struct {
		generation
		place
	}
	first, seats := map[generation]given{}, map[seat]string{}
	for _, g := range h.groups.given {
		at := generation{g.group, g.generation}
		if f, ok := first[at]; !ok {
			first[at] = g
		} else if f.decision != g.decision {
			h.report(Finding{Split, fmt.Sprintf("%s, generation %d: %s was given decision %d, and %s decision %d", g.group, g.generation, f.source, f.decision, g.source, g.decision)})
		}
		for _, p := range g.places {
			if who, taken := seats[seat{at, p}]; taken && who != g.member {
				h.report(Finding{Split, fmt.Sprintf("%s, generation %d: %s is given to %s and to %s", g.group, g.generation, p, who, g.member)})
			}
			seats[seat{at, p}] = g.member
		}
	}
}
