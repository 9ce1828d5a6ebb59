package model

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden file")

// statesMax is more than any configuration has: 3 GB of them.
const statesMax = 10_000_000

func long() bool { return os.Getenv("KARST_TEST_MODEL") == "long" }

// withoutRules are the actions that only a rule taken away allows.
var withoutRules = []action{actNone, actGiveUp, actResumeEarly, actCollectTombstone}

// TestDesign explores every configuration to the end, and wants that no property
// fails and that every action was taken in some of them.
func TestDesign(t *testing.T) {
	counts := map[string]int{}
	for _, c := range Configs(long()) {
		t.Run(c.Name, func(t *testing.T) {
			begin := time.Now()
			r := Explore(c, AllRules(), statesMax)
			t.Logf("%d states in %v", r.States, time.Since(begin).Round(time.Millisecond))
			if r.Loss != "" {
				t.Errorf("%s\n\t%s", r.Loss, strings.Join(r.Trace, "\n\t"))
			} else if !r.Whole {
				t.Errorf("more than %d states", statesMax)
			}
			for name, n := range r.Counts {
				counts[name] += n
			}
			for _, name := range slices.Sorted(maps.Keys(r.Counts)) {
				t.Logf("%9d %s", r.Counts[name], name)
			}
		})
	}
	for a := range actions {
		if without := slices.Contains(withoutRules, a); without != (counts[a.name()] == 0) {
			t.Errorf("%q was taken %d times", a.name(), counts[a.name()])
		}
	}
}

// needed says in which configuration it is found that a rule was taken away.
var needed = []struct{ rule, config string }{
	{"PrefixOrder", "crash"},
	{"AmbiguousIsRead", "crash"},
	{"RefusalEnds", "crash"},
	{"DrainBeforeHandOver", "moves"},
	{"OutcomeBeforeAppends", "moves"},
	{"RefusalIsNoOutcome", "newcomers"},
	{"EndIsChecked", "crash"},
	{"RefusalIsWhole", "crash"},
	{"FenceFirst", "crash"},
	// Where a hand-over waits for what is in flight, no WAL holds a batch of an
	// older epoch above the end: there nothing is found.
	{"EpochFilter", "deserts"},
	{"OneCreate", "terms"},
	{"SealBeforeClaim", "rivals"},
	{"ClaimStatesEnd", "terms"},
	{"TombstonesStay", "crash"},
	{"ReferencedStays", "crash"},
	{"TrimmedBeforeCollected", "shared"},
	{"AdoptedBeforeCollected", "crash"},
	{"ClaimBeforeCollected", "terms"},
	{"HeadNeverAttempted", "proofs"},
	{"HeadWaitsForPrefix", "proofs"},
	{"CreateIsFresh", "proofs"},
}

// TestRulesAreNeeded takes away one rule after the other, and wants a loss with
// the shortest way there: testdata/losses.txt, to be read.
func TestRulesAreNeeded(t *testing.T) {
	var text strings.Builder
	rules := reflect.TypeFor[Rules]()
	for f := range rules.NumField() {
		at := slices.IndexFunc(needed, func(n struct{ rule, config string }) bool { return n.rule == rules.Field(f).Name })
		if at < 0 {
			t.Errorf("it is not said where rule %s is needed", rules.Field(f).Name)
			continue
		}
		n := needed[at]
		r := AllRules()
		reflect.ValueOf(&r).Elem().Field(f).SetBool(false)
		res := Explore(configNamed(t, n.config), r, statesMax)
		if res.Loss == "" {
			t.Errorf("without %s nothing is lost in %s (%d states)", n.rule, n.config, res.States)
		}
		fmt.Fprintf(&text, "without %s, in %s:\n\t%s\n=> %s\n\n", n.rule, n.config, strings.Join(res.Trace, "\n\t"), res.Loss)
	}
	golden(t, "losses.txt", text.String())
}

func configNamed(t *testing.T, name string) Config {
	t.Helper()
	all := Configs(false)
	at := slices.IndexFunc(all, func(c Config) bool { return c.Name == name })
	if at < 0 {
		t.Fatalf("there is no configuration %s", name)
	}
	return all[at]
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what it was: if it should be, run with -update\n%s", path, got)
	}
}
