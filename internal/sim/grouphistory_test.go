package sim

import (
	"slices"
	"testing"
)

// TestCheckGroups plants in a history what it may not have.
func TestCheckGroups(t *testing.T) {
	at := place{"g", "s0", 0}
	answer := func(generation int32, sent, answered Tick, lasting, sure bool) round {
		what := heartbeat
		if lasting {
			what = "commit"
		}
		return round{group: "g", member: "m", what: what, generation: generation, sent: sent, answered: answered, lasting: lasting, sure: sure}
	}
	in := func(epoch int32, r round) round {
		r.atLeast, r.atMost = epoch, epoch
		return r
	}
	give := func(generation int32, decision int64, member string, places ...place) given {
		return given{group: "g", generation: generation, assignment: assignment{decision: decision, member: member, places: places}}
	}
	for name, c := range map[string]struct {
		history groupHistory
		want    []Kind
	}{
		"nothing": {},
		"generations that rise": {groupHistory{rounds: []round{
			answer(1, 1, 2, true, true), answer(2, 3, 4, true, true),
		}}, nil},
		"a generation that goes back": {groupHistory{rounds: []round{
			answer(2, 1, 2, true, true), answer(1, 3, 4, false, true),
		}}, []Kind{OldMember}},
		"an old member, asked before": {groupHistory{rounds: []round{
			answer(2, 1, 3, true, true), answer(1, 2, 4, false, true),
		}}, nil},
		"an old member at a deposed coordinator": {groupHistory{rounds: []round{
			in(5, answer(2, 1, 2, true, true)), in(4, answer(1, 3, 4, false, false)),
		}}, nil},
		"an old member at a deposed coordinator that proves it": {groupHistory{rounds: []round{
			in(5, answer(2, 1, 2, true, true)), in(4, answer(1, 3, 4, false, true)),
		}}, []Kind{OldMember}},
		"an old member at the same coordinator": {groupHistory{rounds: []round{
			in(5, answer(2, 1, 2, true, true)), in(5, answer(1, 3, 4, false, false)),
		}}, []Kind{OldMember}},
		"an old member at a later coordinator": {groupHistory{rounds: []round{
			in(5, answer(2, 1, 2, true, true)), in(6, answer(2, 3, 4, true, false)), in(6, answer(1, 5, 6, false, false)),
		}}, []Kind{OldMember}},
		"a heartbeat while a later coordinator may be loading": {groupHistory{rounds: []round{
			in(5, answer(2, 1, 2, true, true)), in(6, answer(1, 5, 6, false, false)),
		}}, nil},
		"a generation that was never in the log": {groupHistory{rounds: []round{
			answer(2, 1, 2, false, true), answer(1, 3, 4, true, true),
		}}, nil},
		"an old generation after two": {groupHistory{rounds: []round{
			answer(3, 1, 2, true, true), answer(2, 3, 4, true, true), answer(2, 5, 6, true, true),
		}}, []Kind{OldMember}},
		"one assignment": {groupHistory{given: []given{
			give(1, 7, "a", at), give(1, 7, "b"), give(1, 7, "a", at), give(2, 8, "b", at),
		}}, nil},
		"two decisions": {groupHistory{given: []given{give(1, 7, "a"), give(1, 8, "b")}}, []Kind{Split}},
		"two owners":    {groupHistory{given: []given{give(1, 7, "a", at), give(1, 7, "b", at)}}, []Kind{Split}},
		"an older offset": {groupHistory{
			commits: map[place][]*regWrite{at: {{value: 1, sent: 1, answered: 2, outcome: acknowledged}, {value: 2, sent: 3, answered: 4, outcome: acknowledged}}},
			fetches: map[place][]regRead{at: {{value: 1, sent: 5, answered: 6}}},
		}, []Kind{Older}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			h.groups = c.history
			h.CheckGroups()
			var got []Kind
			for _, f := range h.Findings() {
				got = append(got, f.Kind)
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v", h.Findings(), c.want)
			}
		})
	}
}

func TestAssignmentRoundTrip(t *testing.T) {
	a := assignment{decision: 12, member: "m-1", places: []place{{"g", "s0", 0}, {"g", "s1", 2}}}
	b, ok := decodeAssignment("g", a.encode())
	if !ok || b.decision != a.decision || b.member != a.member || !slices.Equal(a.places, b.places) {
		t.Errorf("got %+v", b)
	}
	for _, bad := range []string{"", "x|m", "1", "1|m|s0", "1|m|s0|x"} {
		if _, ok := decodeAssignment("g", []byte(bad)); ok {
			t.Errorf("%q was taken for an assignment", bad)
		}
	}
}
