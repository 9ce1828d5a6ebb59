package metadata

import (
	"bytes"
	"testing"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
)

// pair is the controller's replica, with its term, and a follower's that has all
// that was written before.
func pair(t *testing.T) (st store.Store, c *Replica, term *Term, f *Replica) {
	t.Helper()
	st = mem.New("pair")
	c = newReplica(t, st)
	term = takeOver(t, c)
	register(t, c, term, 1)
	f = newReplica(t, st)
	must(t, f.Load(t.Context()))
	return st, c, term, f
}

// push hands the follower what the controller has for it, in steps of most bytes.
func push(t *testing.T, c, f *Replica, most int) (steps int) {
	t.Helper()
	for {
		all, ok := c.Since(f.Entered(), most)
		if !ok {
			t.Fatalf("nothing is known of what comes after %s", f.Entered())
		}
		if len(all) == 0 {
			return steps
		}
		steps++
		must(t, f.Push(t.Context(), all))
	}
}

// What is pushed is what the bucket has, without a look at it: commits, and terms
// that begin.
func TestPush(t *testing.T) {
	_, c, term, f := pair(t)
	f.store = nil // it is not read
	register(t, c, term, 3)
	if n := push(t, c, f, 1<<20); n != 1 {
		t.Errorf("%d steps", n)
	}
	same(t, f.Image(), c.Image())
	must(t, term.Next(t.Context()))
	register(t, c, term, 1)
	must(t, term.Next(t.Context()))
	must(t, term.Next(t.Context()))    // a term without commits
	if n := push(t, c, f, 1); n != 3 { // claims take no room
		t.Errorf("%d steps", n)
	}
	same(t, f.Image(), c.Image())
	if got := f.Entered(); got != (Position{Term: 4}) {
		t.Errorf("it is at %s", got)
	}
	if held, err := f.Holder(t.Context()); err != nil || held.Term != 4 || held.Host != "h" {
		t.Errorf("held by %+v, %v", held, err)
	}
	// In the new term its first commit is what comes next.
	register(t, c, term, 1)
	push(t, c, f, 1<<20)
	same(t, f.Image(), c.Image())
}

// What is no news is passed over, in any order and however often it comes.
func TestPushTwice(t *testing.T) {
	_, c, term, f := pair(t)
	at := f.Entered()
	register(t, c, term, 2)
	must(t, term.Next(t.Context()))
	register(t, c, term, 2)
	all, ok := c.Since(at, 1<<20)
	if !ok || len(all) != 5 {
		t.Fatalf("%d entries, %v", len(all), ok)
	}
	told := 0
	f.Listen(func(*Image, *Delta) { told++ })
	for n := range all {
		must(t, f.Push(t.Context(), all[:n+1]))
	}
	must(t, f.Push(t.Context(), all))
	same(t, f.Image(), c.Image())
	if told != 4 {
		t.Errorf("listeners were told of %d commits", told)
	}
}

// A gap sends the follower to the bucket: in commits, in terms, and where a claim
// continues another history than the follower's.
func TestPushGaps(t *testing.T) {
	for name, cut := range map[string]func(all []Entry) []Entry{
		"a commit is missing": func(all []Entry) []Entry { return all[1:] },
		"a claim is missing":  func(all []Entry) []Entry { return all[3:] },
		"a claim is early":    func(all []Entry) []Entry { return all[2:] },
		"a claim of elsewhere": func(all []Entry) []Entry {
			claim := *all[2].Claim
			claim.Check++
			all[2].Claim = &claim
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, c, term, f := pair(t)
			at := f.Entered()
			register(t, c, term, 2)
			must(t, term.Next(t.Context()))
			register(t, c, term, 1)
			all, _ := c.Since(at, 1<<20)
			must(t, f.Push(t.Context(), cut(all)))
			same(t, f.Image(), c.Image())
		})
	}
}

// What cannot be the next commit is refused, and the bucket still has the truth.
// (Single bits are the affair of TLS.)
func TestPushDamaged(t *testing.T) {
	_, c, term, f := pair(t)
	was := f.Image()
	at := f.Entered()
	register(t, c, term, 2)
	all, _ := c.Since(at, 1<<20)
	first, second := all[0], all[1]
	early := second
	early.Number--
	short := first
	short.Commit = short.Commit[:len(short.Commit)-1]
	for name, e := range map[string]Entry{"another commit": early, "a commit cut short": short, "nothing": {Term: first.Term, Number: first.Number}} {
		if err := f.Push(t.Context(), []Entry{e}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if f.Image() != was {
		t.Error("the image has moved")
	}
	must(t, f.CatchUp(t.Context()))
	same(t, f.Image(), c.Image())
}

// Since remembers so much, and no more; it says when the bucket has to be read.
func TestSinceBounds(t *testing.T) {
	_, c, term, f := pair(t)
	at := f.Entered()
	register(t, c, term, feedMax-1)
	if all, ok := c.Since(at, 1<<30); !ok || len(all) != feedMax-1 {
		t.Errorf("%d entries, %v", len(all), ok)
	}
	register(t, c, term, 2)
	if all, ok := c.Since(at, 1<<30); ok {
		t.Errorf("%d entries of what it does not remember", len(all))
	}
	if n := len(c.feed.entries); n != feedMax {
		t.Errorf("%d entries are remembered", n)
	}
	if all, ok := c.Since(Position{Term: 9, Number: 9}, 1); !ok || len(all) != 0 {
		t.Errorf("one that is ahead was told %d entries, %v", len(all), ok)
	}
	// A replica that began with a snapshot knows what came since.
	_, err := WriteSnapshot(t.Context(), c.store.(store.Store), c.Image())
	must(t, err)
	late := newReplica(t, c.store.(store.Store))
	must(t, late.Load(t.Context()))
	if all, ok := late.Since(c.Entered(), 1); !ok || len(all) != 0 {
		t.Errorf("one that has all was told %d entries, %v", len(all), ok)
	}
	if _, ok := late.Since(at, 1); ok {
		t.Error("it remembers what it never read")
	}
}

// FuzzDecodeRegistration: what is decoded is encoded to the same.
func FuzzDecodeRegistration(f *testing.F) {
	f.Add(EncodeRegistration(&Registration{
		ID: -1, Process: ProcessID{1, 15: 2}, Rack: "r", Host: "h", Port: 9092, Peer: "h:1", WALURL: "mem://x", Supports: 1,
		Listeners: []Endpoint{{Name: "A", Host: "a", Port: 1}},
	}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRegistration(b)
		if err != nil {
			return
		}
		again, err := DecodeRegistration(EncodeRegistration(&r))
		if err != nil || !bytes.Equal(EncodeRegistration(&again), EncodeRegistration(&r)) {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}
