package model

import (
	"fmt"
	"hash/maphash"
	"slices"
)

// step is one action with its arguments, for traces.
type step struct {
	act     action
	a, b, c uint8
}

// explorer visits every reachable state of one configuration, breadth first, so
// that the first loss it meets has a shortest trace.
type explorer struct {
	Config
	Rules

	seed   maphash.Seed
	table  []int32   // index into states + 1, by hash
	states [][]state // in chunks: they are many
	count  int
	from   []int32 // the state before
	by     []step  // and the step from there
	counts [actions]int
	limit  int

	images  interned[image]
	commits interned[commit]
	logged  interned[logged]

	at        int32 // the state being expanded
	cur, next state // it, and the one being made
	loss      string
	trace     []step
}

// chunk is how many states are allocated at once.
const chunk = 1 << 14

func (x *explorer) state(n int32) *state { return &x.states[n/chunk][n%chunk] }

// interned gives equal values one number, from 2 on: 0 and 1 are the caller's.
type interned[T comparable] struct {
	ids map[T]uint16
	all []T
}

func (t *interned[T]) id(v T) uint16 {
	if id, ok := t.ids[v]; ok {
		return id
	}
	if t.ids == nil {
		t.ids = map[T]uint16{}
	}
	if len(t.all) > 1<<16-3 {
		panic("BUG: more values than the model has names for: use smaller bounds")
	}
	id := uint16(len(t.all) + 2)
	t.ids[v] = id
	t.all = append(t.all, v)
	return id
}

func (t *interned[T]) of(id uint16) *T { return &t.all[id-2] }

// Result is what exploring a configuration came to.
type Result struct {
	States int
	Whole  bool           // every reachable state was visited
	Loss   string         // the property that does not hold, "" if all do
	Trace  []string       // the steps to there
	Counts map[string]int // how often each action was taken, by its name
}

// Explore visits the states that a configuration can reach under some rules, up
// to the first loss, or to limit states.
func Explore(c Config, r Rules, limit int) Result {
	x := &explorer{Config: c, Rules: r, seed: maphash.MakeSeed(), table: make([]int32, 1<<12), limit: limit}
	x.begin()
	x.add(step{})
	whole := true
	for x.at = 0; int(x.at) < x.count && x.loss == ""; x.at++ {
		if x.count >= limit {
			whole = false
			break
		}
		x.cur = *x.state(x.at)
		x.expand()
	}
	res := Result{States: x.count, Whole: whole && x.loss == "", Loss: x.loss, Counts: map[string]int{}}
	for _, s := range x.trace {
		res.Trace = append(res.Trace, s.String())
	}
	for a, n := range x.counts {
		res.Counts[action(a).name()] += n
	}
	return res
}

// fork begins a step from the current state.
func (x *explorer) fork() *state {
	x.next = x.cur
	return &x.next
}

// failed notes that the step being made breaks a property by itself.
func (x *explorer) failed(format string, args ...any) {
	if x.loss == "" {
		x.loss = fmt.Sprintf(format, args...)
	}
}

// took ends a step.
func (x *explorer) took(act action, a, b, c uint8) {
	if x.trace != nil {
		return // a loss was found in another step from the same state
	}
	x.counts[act]++
	s := step{act, a, b, c}
	x.tidy(&x.next)
	if x.loss != "" || x.add(s) {
		if x.loss == "" {
			x.check(&x.next)
		}
		if x.loss != "" {
			x.trace = x.steps(s)
		}
	}
}

// steps is the way to the current state, and the step from there.
func (x *explorer) steps(last step) []step {
	all := []step{last}
	for at := x.at; at > 0; at = x.from[at] {
		all = append(all, x.by[at])
	}
	slices.Reverse(all)
	return all
}

// add adds the next state, unless it is known.
func (x *explorer) add(by step) bool {
	if 2*x.count >= len(x.table) {
		x.grow()
	}
	at := x.slot(&x.next)
	if x.table[at] != 0 {
		return false
	}
	if x.count%chunk == 0 {
		x.states = append(x.states, make([]state, chunk))
	}
	*x.state(int32(x.count)) = x.next
	x.count++
	x.from = append(x.from, x.at)
	x.by = append(x.by, by)
	x.table[at] = int32(x.count)
	return true
}

// slot is the place of a state in the table.
func (x *explorer) slot(s *state) int {
	mask := len(x.table) - 1
	at := int(maphash.Comparable(x.seed, *s)) & mask
	for x.table[at] != 0 && *x.state(x.table[at] - 1) != *s {
		at = (at + 1) & mask
	}
	return at
}

func (x *explorer) grow() {
	x.table = make([]int32, 4*len(x.table))
	for n := range int32(x.count) {
		x.table[x.slot(x.state(n))] = n + 1
	}
}

// expand takes every step from the current state.
func (x *explorer) expand() {
	for inc := range x.Incarnations {
		x.broker(inc)
	}
	for c := range x.Controllers {
		x.controller(c)
	}
	x.follow()
	x.collect()
}
