package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/karst-io/karst/internal/proptest"
)

func registerFindings(writes []regWrite, reads []regRead) (kinds []Kind) {
	checkRegister(-1, writes, reads, func(k Kind, _ string, _ ...any) { kinds = append(kinds, k) })
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

func TestRegister(t *testing.T) {
	w := func(value int64, sent, answered Tick, o outcome) regWrite {
		return regWrite{value: value, sent: sent, answered: answered, outcome: o, source: "w"}
	}
	r := func(value int64, sent, answered Tick) regRead {
		return regRead{value: value, sent: sent, answered: answered, source: "r"}
	}
	for name, c := range map[string]struct {
		writes []regWrite
		reads  []regRead
		want   []Kind
	}{
		"nothing written":                          {nil, []regRead{r(-1, 1, 2)}, nil},
		"what was acknowledged":                    {[]regWrite{w(1, 1, 2, acknowledged)}, []regRead{r(1, 3, 4)}, nil},
		"nothing after an acknowledgement":         {[]regWrite{w(1, 1, 2, acknowledged)}, []regRead{r(-1, 3, 4)}, []Kind{Older}},
		"nothing while it is written":              {[]regWrite{w(1, 1, 4, acknowledged)}, []regRead{r(-1, 2, 3)}, nil},
		"the older one":                            {[]regWrite{w(1, 1, 2, acknowledged), w(2, 3, 4, acknowledged)}, []regRead{r(1, 5, 6)}, []Kind{Older}},
		"the older one, asked for before":          {[]regWrite{w(1, 1, 2, acknowledged), w(2, 3, 5, acknowledged)}, []regRead{r(1, 4, 6)}, nil},
		"either of two at once":                    {[]regWrite{w(1, 1, 4, acknowledged), w(2, 2, 3, acknowledged)}, []regRead{r(1, 5, 6)}, nil},
		"both of two at once":                      {[]regWrite{w(1, 1, 4, acknowledged), w(2, 2, 3, acknowledged)}, []regRead{r(1, 5, 6), r(2, 7, 8)}, []Kind{Older}},
		"an unknown one":                           {[]regWrite{w(1, 1, 2, acknowledged), w(2, 3, 4, unknown)}, []regRead{r(2, 5, 6)}, nil},
		"an unknown one that never was":            {[]regWrite{w(1, 1, 2, acknowledged), w(2, 3, 4, unknown)}, []regRead{r(1, 5, 6)}, nil},
		"an unknown one that comes late":           {[]regWrite{w(1, 1, 2, unknown), w(2, 3, 4, acknowledged)}, []regRead{r(2, 5, 6), r(1, 7, 8)}, nil},
		"an unknown one that goes":                 {[]regWrite{w(1, 1, 2, unknown)}, []regRead{r(1, 3, 4), r(-1, 5, 6)}, []Kind{Older}},
		"an unknown one that comes and goes":       {[]regWrite{w(1, 1, 2, acknowledged), w(2, 3, 4, unknown)}, []regRead{r(1, 5, 6), r(2, 7, 8), r(1, 9, 10)}, []Kind{Older}},
		"one that was acknowledged between":        {[]regWrite{w(1, 1, 2, acknowledged), w(2, 3, 4, acknowledged)}, []regRead{r(1, 6, 7)}, []Kind{Older}},
		"a write in between, never read":           {[]regWrite{w(1, 1, 2, acknowledged), w(2, 4, 5, acknowledged)}, []regRead{r(1, 3, 3), r(1, 6, 7)}, []Kind{Older}},
		"what was refused":                         {[]regWrite{w(1, 1, 2, refused)}, []regRead{r(1, 3, 4)}, []Kind{Refused}},
		"what nobody wrote":                        {nil, []regRead{r(7, 3, 4)}, []Kind{Corrupt}},
		"what was written later":                   {[]regWrite{w(1, 5, 6, acknowledged)}, []regRead{r(1, 3, 4)}, []Kind{Corrupt}},
		"several that overlap a long one, in turn": {[]regWrite{w(1, 1, 2, acknowledged), w(2, 3, 4, acknowledged), w(3, 5, 6, acknowledged)}, []regRead{r(1, 7, 8)}, []Kind{Older}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := registerFindings(c.writes, c.reads); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestRegisterProperty compares the check with a search through all orders.
func TestRegisterProperty(t *testing.T) {
	good, bad := 0, 0
	proptest.Run(t, 400, func(t *testing.T, rng *rand.Rand) {
		var writes []regWrite
		var reads []regRead
		ticks := rng.Perm(16)
		interval := func() (Tick, Tick) {
			a, b := Tick(ticks[0]+1), Tick(ticks[1]+1)
			ticks = ticks[2:]
			return min(a, b), max(a, b)
		}
		n := 1 + rng.IntN(4)
		for v := range n {
			w := regWrite{value: int64(v), outcome: []outcome{unknown, acknowledged, acknowledged}[rng.IntN(3)]}
			w.sent, w.answered = interval()
			writes = append(writes, w)
		}
		for range 1 + rng.IntN(4) {
			r := regRead{value: int64(rng.IntN(n+1) - 1)}
			r.sent, r.answered = interval()
			reads = append(reads, r)
		}
		want := linearizable(writes, reads)
		if want {
			good++
		} else {
			bad++
		}
		if got := len(registerFindings(writes, reads)) == 0; got != want {
			t.Errorf("linearizable: %v, found: %v\n%s", want, got, fmt.Sprint(writes, reads))
		}
	})
	if good < 20 || bad < 20 {
		t.Errorf("%d good and %d bad histories: one side is hardly tried", good, bad)
	}
}

// linearizable tries every order.
func linearizable(writes []regWrite, reads []regRead) bool {
	type op struct {
		write          bool
		value          int64
		sent, answered Tick
		may            bool // it may be left out
	}
	var ops []op
	for _, w := range writes {
		o := op{true, w.value, w.sent, w.answered, false}
		if w.outcome == unknown {
			o.answered, o.may = never, true
		}
		ops = append(ops, o)
	}
	for _, r := range reads {
		ops = append(ops, op{false, r.value, r.sent, r.answered, false})
	}
	var try func(done uint, now int64) bool
	try = func(done uint, now int64) bool {
		whole := true
		for i, o := range ops {
			if done&(1<<i) != 0 {
				continue
			}
			whole = whole && o.may
			first := true // nothing that is left was answered before it was sent
			for j, p := range ops {
				first = first && (done&(1<<j) != 0 || p.answered >= o.sent)
			}
			if !first {
				continue
			}
			if o.write && try(done|1<<i, o.value) || !o.write && o.value == now && try(done|1<<i, now) {
				return true
			}
		}
		return whole
	}
	return try(0, -1)
}
