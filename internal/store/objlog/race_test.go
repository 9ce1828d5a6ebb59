package objlog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/hedge"
	"github.com/karst-io/karst/internal/store/mem"
)

// TestNothingConfirmedAboveTheEnd races a writer of overlapping creates with
// sealers, over a store that loses answers, delays effects and damages reads:
// design models seal.py and proof.py, on the real code.
func TestNothingConfirmedAboveTheEnd(t *testing.T) {
	for seed := range uint64(80) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newContest(t, seed).run() })
		})
	}
}

// contest is one writer against sealers over one bucket.
type contest struct {
	t       *testing.T
	rng     *rand.Rand
	bucket  *mem.Store
	writing *faults.Store // the writer's process
	sealing []*faults.Store

	mu        sync.Mutex
	confirmed map[karst.Number]bool
	headers   map[karst.Number][16]byte // nonces sent
	acked     karst.Number              // the prefix confirmed while the writer was not over
	over      bool
}

func newContest(t *testing.T, seed uint64) *contest {
	c := &contest{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), bucket: mem.New("t"),
		confirmed: map[karst.Number]bool{}, headers: map[karst.Number][16]byte{},
	}
	c.writing = faults.New(c.bucket, seed, unreliable(c.rng)...)
	for i := range 2 {
		c.sealing = append(c.sealing, faults.New(c.bucket, seed+1000*uint64(i+1), unreliable(c.rng)...))
	}
	return c
}

// unreliable draws a mixture of faults.
func unreliable(r *rand.Rand) []faults.Rule {
	chance := func() float64 { return 0.001 + 0.25*r.Float64()*r.Float64() }
	return []faults.Rule{
		{Kind: faults.Slow, Delay: faults.LognormalOf(30*time.Millisecond, time.Duration(50+r.IntN(400))*time.Millisecond)},
		{Kind: faults.After, Chance: chance()},
		{Kind: faults.Before, Chance: chance()},
		{Kind: faults.Late, Chance: chance(), Delay: faults.Uniform(2 * time.Second)},
		{Kind: faults.Hung, Chance: chance() / 4, Delay: faults.Uniform(20 * time.Second)},
		{Kind: faults.Throttled, Chance: chance()},
		{Kind: faults.Truncated, Chance: chance()},
		{Kind: faults.Flipped, Chance: chance() / 4},
	}
}

func (c *contest) run() {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Minute)
	defer cancel()
	var st store.Store = c.writing
	if c.rng.IntN(2) == 0 {
		st = hedge.New(c.writing, hedge.Config{Initial: 100 * time.Millisecond})
	}
	var wg sync.WaitGroup
	overlap, gap := 1+c.rng.IntN(16), time.Duration(c.rng.Int64N(int64(40*time.Millisecond)))
	wg.Go(func() { c.write(ctx, st, overlap, gap) })
	begin, crash := time.Duration(c.rng.Int64N(int64(3*time.Second))), c.rng.IntN(3) == 0
	if crash {
		wg.Go(func() { time.Sleep(begin); c.writing.Crash() })
	}
	ends := make([]karst.Number, 3)
	lists := make([][]Found, 3)
	seal := func(i int, st *faults.Store) {
		var err error
		if ends[i], lists[i], err = testLog(st).Seal(ctx, 1, uint64(100+i), nil); err != nil {
			c.t.Errorf("sealer %d: %v", i, err)
		}
	}
	for i, st := range c.sealing {
		wait := begin + time.Duration(c.rng.Int64N(int64(time.Second)))
		wg.Go(func() { time.Sleep(wait); seal(i, st) })
	}
	wg.Wait()
	for _, s := range append(c.sealing, c.writing) {
		s.Wait() // every late effect has happened or was dropped
	}
	if c.t.Failed() {
		return
	}
	c.sealing[0].Heal()
	seal(2, c.sealing[0])
	c.check(ends, lists)
	_ = st.Close()
}

// write creates numbers, several at once, until the log is over or the process
// is dead.
func (c *contest) write(ctx context.Context, st store.Store, overlap int, gap time.Duration) {
	l := testLog(st)
	slots := make(chan struct{}, overlap)
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	var wg sync.WaitGroup
	for n := karst.Number(1); n <= 400 && !c.done(); n++ {
		slots <- struct{}{}
		time.Sleep(gap)
		h, body := commit(l, n, fmt.Sprint(n))
		c.sent(n, h.Nonce)
		wg.Go(func() {
			err := l.Create(ctx, n, h, body)
			c.answered(n, err)
			<-slots
		})
	}
	wg.Wait()
}

func (c *contest) done() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

func (c *contest) sent(n karst.Number, nonce [16]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers[n] = nonce
}

// answered acknowledges as the WAL does: the prefix, until something is not ours.
func (c *contest) answered(n karst.Number, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.confirmed[n] = true
	case errors.Is(err, ErrOver), errors.Is(err, ErrUnknown):
		c.over = true
	default:
		c.t.Errorf("create %d: %v", n, err)
	}
	for c.confirmed[c.acked+1] {
		c.acked++
	}
}

func (c *contest) check(ends []karst.Number, lists [][]Found) {
	end := ends[2]
	for i := range ends {
		if ends[i] != end || len(lists[i]) != int(end-1) {
			c.t.Fatalf("sealers disagree: ends %v, lengths %d, %d, %d", ends, len(lists[0]), len(lists[1]), len(lists[2]))
		}
		for j, f := range lists[i] {
			if f.Damage != nil && i != 2 {
				continue // its store flipped every one of its reads: it counts as data all the same
			}
			if f.Damage != nil || f.Number != karst.Number(j+1) || [16]byte(f.Header.Nonce) != c.headers[f.Number] {
				c.t.Fatalf("sealer %d: number %d is %+v", i, j+1, f)
			}
		}
	}
	if c.acked >= end {
		c.t.Fatalf("I1: acknowledged up to %d, but the log ends at %d", c.acked, end)
	}
	if h, _, err := testLog(c.bucket).Read(c.t.Context(), end, 0); err != nil || testLog(c.bucket).Owns(end, h) {
		c.t.Fatalf("at the end %d: %+v, %v", end, h, err)
	}
	if slices.Contains(ends, 0) {
		c.t.Fatal("an end is missing")
	}
}
