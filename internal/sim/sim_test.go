package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
)

// seedsDefault takes some seconds of one core. Long runs:
//
//	KARST_TEST_SIM_SEEDS=10000 go test ./internal/sim -run TestSim -count=1 -timeout 10h
const seedsDefault = 40

// setting reads a number from the environment.
func setting(t *testing.T, name string, def uint64) uint64 {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return def
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// bubble runs f in a world of its own, and returns the world.
func bubble(t *testing.T, seed uint64, f func(w *World)) (w *World) {
	t.Helper()
	var log io.Writer
	if os.Getenv("KARST_TEST_SIM_LOG") != "" {
		log = os.Stderr
	}
	synctest.Test(t, func(*testing.T) {
		w = NewWorld(seed, log)
		f(w)
		w.Close()
	})
	return w
}

// TestSim plays scenarios drawn from seeds and wants nothing found.
func TestSim(t *testing.T) {
	if mutated {
		t.Skip("a guard is taken away")
	}
	seeds := setting(t, "KARST_TEST_SIM_SEEDS", seedsDefault)
	first := setting(t, "KARST_TEST_SIM_FIRST", 1)
	covered, events, records, commits := coverage{}, map[string]int{}, 0, 0
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := bubble(t, seed, func(w *World) { w.Play(draw(rand.New(rand.NewPCG(seed, 3)))) })
			for _, f := range w.Findings() {
				t.Error(f)
			}
			if t.Failed() {
				t.Logf("again: KARST_TEST_SIM_FIRST=%d KARST_TEST_SIM_SEEDS=1 KARST_TEST_SIM_LOG=1 go test ./internal/sim -run TestSim -count=20", seed)
			}
			covered.add(w.Injected())
			records += w.Acknowledged()
			commits += w.Commits()
			for k, n := range w.Events() {
				events[k] += n
			}
		})
	}
	var injected int64
	for _, n := range covered {
		injected += n
	}
	hits := tellHits(t, events)
	t.Logf("%d seeds, %d records and %d offset commits acknowledged, %d faults injected; events %v", seeds, records, commits, injected, events)
	if seeds >= seedsDefault {
		wantCovered(t, seeds, covered, events)
	}
	for _, a := range actions { // the rarest happens in one world of fifty
		if hits[a.name] == 0 && seeds >= 300 {
			t.Errorf("never happened: %s", a.name)
		}
	}
	if !testing.Verbose() {
		return
	}
	for _, k := range covered.keys() {
		t.Logf("%-10s %-8s %-10s %7d", k.Kind, k.Op, k.Caller, covered[k])
	}
}

// tellHits logs how often what happened to clusters, and what it hit, and takes it
// out of the events.
func tellHits(t *testing.T, events map[string]int) map[string]int {
	t.Helper()
	hits := map[string]int{}
	for _, a := range actions {
		key := inCluster + a.name
		hits[a.name] = events[key]
		line := fmt.Sprintf("%-24s %4d", a.name, events[key])
		delete(events, key)
		for _, what := range append([]string{"the controller", "a follower"}, moments...) {
			key := inCluster + a.name + " / " + what
			line += fmt.Sprintf(", %s %d", what, events[key])
			delete(events, key)
		}
		t.Log(line)
	}
	return hits
}

// wantCovered fails if a class of fault or event that the default run is to have
// never happened: then the scenarios no longer reach it.
func wantCovered(t *testing.T, seeds uint64, covered coverage, events map[string]int) {
	t.Helper()
	writes := []faults.Kind{faults.Slow, faults.Before, faults.After, faults.Throttled, faults.Late, faults.Hung, faults.Crashed}
	for _, k := range writes {
		for _, c := range []store.Caller{store.CallerWAL, store.CallerMetadata, store.CallerFlush} {
			op := store.OpCreate
			if c == store.CallerFlush {
				op = store.OpPut
			}
			if k == faults.Crashed && c != store.CallerWAL {
				continue // too rare in so few seeds
			}
			if k == faults.Hung && c == store.CallerMetadata && seeds < 300 {
				continue // likewise
			}
			if covered[faults.Count{Kind: k, Op: op, Caller: c}] == 0 {
				t.Errorf("never happened: %s of a %s by %s", k, op, c)
			}
		}
	}
	for _, k := range []faults.Kind{faults.Slow, faults.Before, faults.Throttled, faults.Truncated, faults.Flipped} {
		for _, c := range []store.Caller{store.CallerMetadata, store.CallerTail, store.CallerRecovery} {
			if covered[faults.Count{Kind: k, Op: store.OpGet, Caller: c}] == 0 {
				t.Errorf("never happened: %s of a get by %s", k, c)
			}
		}
	}
	for _, e := range []string{
		"crash", "clean restart", "zombie", "cut off", "outage", "connections reset", "batch retried", "incremental fetch",
		"topic created", "topic deleted", "partitions added", "records deleted", "offsets listed", "delivery timed out",
		"fetch error OFFSET_OUT_OF_RANGE", "fetch error FENCED_LEADER_EPOCH", "produce error REQUEST_TIMED_OUT", "produce error NOT_LEADER_FOR_PARTITION",
		"assigned", "group settled", "member crashed", "member left", "member id given", "offsets fetched", "fetch of offsets while loading",
		"fetch of offsets refused", "commit of an old generation refused", "heartbeat error REBALANCE_IN_PROGRESS", "heartbeat error UNKNOWN_MEMBER_ID",
	} {
		if events[e] == 0 {
			t.Errorf("never happened: %s", e)
		}
	}
}
