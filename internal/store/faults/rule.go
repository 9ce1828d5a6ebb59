package faults

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/karst-io/karst/internal/store"
)

// Kind is a way to fail.
type Kind uint8

// The kinds. Slow adds to whatever else happens; of the others a request meets
// the first whose rule matches.
const (
	Slow      Kind = iota // takes Rule.Delay longer; the effect lies somewhere in it
	Before                // fails without effect
	After                 // takes effect and fails: a lost response
	Throttled             // store.ErrThrottled, without effect
	Truncated             // a GET or LIST breaks off: some bytes or names, then an error
	Flipped               // a GET returns one wrong bit and no error
	Late                  // fails at once; the effect happens by itself after Rule.Delay
	Hung                  // returns only when ctx ends; the effect happens by itself after Rule.Delay
	Crashed               // cut off by Crash; not for rules
	KindCount
)

func (k Kind) String() string {
	return [...]string{"slow", "before", "after", "throttled", "truncated", "flipped", "late", "hung", "crashed"}[k]
}

// fits reports whether a request of the kind can fail so.
func (k Kind) fits(op store.Op) bool {
	write := op == store.OpCreate || op == store.OpPut || op == store.OpDelete
	switch k {
	case Truncated:
		return op == store.OpGet || op == store.OpList
	case Flipped:
		return op == store.OpGet
	case After, Late:
		return write
	default:
		return true
	}
}

// ErrInjected is what injected failures wrap, ErrThrottled and context errors aside.
var ErrInjected = errors.New("injected fault")

// Rule says which requests fail and how. The zero values of the conditions
// match everything.
type Rule struct {
	Kind  Kind
	Delay Delay // Slow, Late, Hung: how long; nil is no time

	Ops     []store.Op
	Callers []store.Caller
	Prefix  string        // of the name, or of the listed prefix
	From    time.Duration // since New; with To, an outage window
	To      time.Duration // since New; 0 is for ever
	Chance  float64       // 0 is always
	Skip    int64         // let the first Skip matching requests pass
	Times   int64         // then fail so many; 0 is all
}

// request is what rules look at.
type request struct {
	op     store.Op
	caller store.Caller
	name   string
	since  time.Duration
}

func (r *Rule) matches(q request) bool {
	return r.Kind.fits(q.op) &&
		(len(r.Ops) == 0 || slices.Contains(r.Ops, q.op)) &&
		(len(r.Callers) == 0 || slices.Contains(r.Callers, q.caller)) &&
		strings.HasPrefix(q.name, r.Prefix) &&
		q.since >= r.From && (r.To == 0 || q.since < r.To)
}

// Outage fails every request from from to to, half of the writes after their
// effect.
func Outage(from, to time.Duration) []Rule {
	return []Rule{
		{Kind: After, From: from, To: to, Chance: 0.5},
		{Kind: Before, From: from, To: to},
	}
}

// ObjectStore makes a local store as slow as the object store that the goals
// are measured on: lognormal writes of 30 ms (p50) and 150 ms (p99), 20 ms to
// the first byte of a read.
func ObjectStore() []Rule {
	return []Rule{
		{Kind: Slow, Delay: LognormalOf(30*time.Millisecond, 150*time.Millisecond), Ops: []store.Op{store.OpCreate, store.OpPut}},
		{Kind: Slow, Delay: Constant(20 * time.Millisecond), Ops: []store.Op{store.OpGet, store.OpHead, store.OpList, store.OpDelete}},
	}
}

// SizedObjectStore is a store whose writes take 30 ms and 12 ms per MiB.
func SizedObjectStore() []Rule {
	return []Rule{
		{Kind: Slow, Delay: Sized{Constant(30 * time.Millisecond), 12 * time.Millisecond}, Ops: []store.Op{store.OpCreate, store.OpPut}},
		{Kind: Slow, Delay: Constant(20 * time.Millisecond), Ops: []store.Op{store.OpGet, store.OpHead, store.OpList, store.OpDelete}},
	}
}
