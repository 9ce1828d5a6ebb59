package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
)

// scenario steers towards what one guard protects from; its build tag takes the
// guard away (TestMutationIsFound), and then one of the findings is to be made.
type scenario struct {
	play     func(*World)
	findings []Kind
}

// lost are the findings that nothing but a missing guard of the log leads to.
var lost = []Kind{LostWrite, Duplicate, Reorder, WrongOffset, Changed, Vanished, Skipped, Corrupt, ObjectLost}

var scenarios = map[string]scenario{
	// I1 matters when a crash leaves a hole in the WAL, with acknowledged objects
	// above it: uploads overlap, and some take long.
	"break_prefix": {directed{
		rules:     []faults.Rule{{Kind: faults.Slow, Delay: faults.LognormalOf(60*time.Millisecond, 2*time.Second), Ops: []store.Op{store.OpCreate}, Callers: []store.Caller{store.CallerWAL}}},
		producers: 4, rounds: 4, every: 1500 * time.Millisecond, crash: true,
	}.play, []Kind{LostWrite}},
	// The nonce matters to a writer that is alive while its log is sealed, and
	// hears nothing of it: it meets the tombstone.
	"break_nonce": {directed{rules: faults.ObjectStore(), producers: 4, rounds: 4, every: 1500 * time.Millisecond, isolate: true}.play, lost},
	// The fence matters while a sealer is slow and the other incarnation is alive
	// and commits: the sealer's plan is of an image that does not know.
	"break_fence": {(*World).playFlushDuringFailover, lost},
	// The epoch matters to a partition that comes back to where it was.
	"break_epoch": {(*World).playReturn, lost},
	// A proof matters to a coordinator that does not write and is asked.
	"break_proof": {(*World).playStaleOffsets, []Kind{Older}},
	// What is in flight matters to whoever hands a partition over, when uploads take
	// long and moves are frequent.
	"break_drain": {staged{
		brokers: 3, producers: 4, rounds: 8, every: time.Second, moving: 150 * time.Millisecond,
		rules: []faults.Rule{{Kind: faults.Slow, Delay: faults.Uniform(400 * time.Millisecond), Ops: []store.Op{store.OpCreate}, Callers: []store.Caller{store.CallerWAL}}},
	}.play, lost},
	// A refusal is whole for a hand-over to a broker that is fenced meanwhile, while
	// what lies before it is uploaded.
	"break_whole": {staged{
		brokers: 3, producers: 4, rounds: 10, every: 1500 * time.Millisecond, moving: 100 * time.Millisecond, blow: crashAny,
		rules: []faults.Rule{{Kind: faults.Slow, Delay: faults.Uniform(2 * time.Second), Callers: []store.Caller{store.CallerFlush}}},
	}.play, append([]Kind{Stuck}, lost...)},
	// The seal matters to a controller that is parted from all others, and writes on.
	"break_seal": {staged{
		brokers: 3, producers: 3, rounds: 6, every: 3 * time.Second, moving: 200 * time.Millisecond, creating: 50 * time.Millisecond, blow: isolateController,
		rules: []faults.Rule{{Kind: faults.Slow, Delay: faults.Uniform(20 * time.Millisecond)}},
	}.play, append([]Kind{TopicLost, Stuck}, lost...)},
	// Adoption comes before collection for a failover that takes long.
	"break_collect": {staged{
		brokers: 3, producers: 4, rounds: 8, every: 2 * time.Second, blow: crashAny,
		tune: func(w *World) {
			w.Config.SweepInterval, w.Config.FlushInterval, w.Config.FlushBytes = 500*time.Millisecond, 20*time.Second, 1<<20
			w.Tuning.SweepDelay, w.Tuning.ReapGrace = 200*time.Millisecond, 100*time.Millisecond
		},
		rules: []faults.Rule{{Kind: faults.Slow, Delay: faults.Uniform(5 * time.Second), Callers: []store.Caller{store.CallerRecovery}}},
	}.play, append([]Kind{Stuck}, lost...)},
	// Two brokers that take the metadata from each other, no guard in particular.
	"rivals": {directed{
		rules: []faults.Rule{
			{Kind: faults.Slow, Delay: faults.Uniform(2 * time.Second), Callers: []store.Caller{store.CallerRecovery}},
			{Kind: faults.Slow, Delay: faults.Uniform(20 * time.Millisecond)},
		},
		producers: 4, rounds: 4, every: 4 * time.Second, others: true, creating: 150 * time.Millisecond,
	}.play, lost},
}

// directedMax bounds the seeds of each scenario, each of which takes seconds.
const directedMax = 15

// TestDirected wants nothing found in the scenarios while the guards are there.
func TestDirected(t *testing.T) {
	if mutated {
		t.Skip("a guard is taken away")
	}
	seeds := min(setting(t, "KARST_TEST_SIM_SEEDS", 4), directedMax)
	for name, s := range scenarios {
		for seed := uint64(1); seed <= seeds; seed++ {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				w := bubble(t, seed, s.play)
				for _, f := range w.Findings() {
					t.Error(f)
				}
				if w.Acknowledged()+w.Commits() == 0 {
					t.Error("nothing was acknowledged")
				}
			})
		}
	}
}
