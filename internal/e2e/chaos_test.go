package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// chaos is one run of a cluster under faults, several at once and at random.
type chaos struct {
	t *testing.T
	*fleet

	drawing sync.Mutex // guards what follows
	random  *rand.Rand
	began   time.Time
	busy    []bool // processes that a fault is at
	tales   []string
	outcome outcome
}

// outcome is what a run is reported as.
type outcome struct {
	Name     string         `json:"name"`
	Seed     uint64         `json:"seed"`
	Store    string         `json:"store"`
	Faults   map[string]int `json:"faults"`
	Acked    int            `json:"acknowledged"`
	Read     int            `json:"read"`
	Write    float64        `json:"write_recovery_s"` // of the last partition, after healing
	ReadSec  float64        `json:"read_recovery_s"`
	Seconds  float64        `json:"seconds"`
	Failed   bool           `json:"failed"`
	Controls int            `json:"faults_of_controllers"`
	Started  int            `json:"started_again"` // brokers that gave up starting while the store was in trouble
}

// healMax bounds the time in which every partition is written and read again
// after all is well, without a restart.
const healMax = 30 * time.Second

// TestClusterChaos kills, stops and freezes brokers of a cluster, parts them from
// each other, from the store and from clients, in both directions or one, and
// makes the store throttle, answer late or not at all, all at once and at random;
// then nothing acknowledged is lost, doubled or out of order, no reader saw
// anything else, and everything goes on without a restart of who was not killed.
//
//	KARST_TEST_CHAOS_RUNS     runs per store, 1 by default
//	KARST_TEST_CHAOS_SECONDS  of faults in each, 10 by default
//	KARST_TEST_CHAOS_REPORT   a folder for a line per run and what brokers said
//	KARST_TEST_SEED           the first run's seed, to have its faults again
func TestClusterChaos(t *testing.T) {
	endToEnd(t)
	runs := setting(t, "KARST_TEST_CHAOS_RUNS", 1)
	first := uint64(setting(t, "KARST_TEST_SEED", int(rand.Uint32())))
	for _, kind := range []string{"file", "s3"} {
		if want := os.Getenv("KARST_TEST_STORE"); want != "" && want != kind {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			for k := range runs {
				seed := first + uint64(k)
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					if runs > 1 {
						t.Parallel() // go test -parallel says how many
					}
					c := &chaos{t: t, random: rand.New(rand.NewPCG(seed, 0)), outcome: outcome{Name: t.Name(), Seed: seed, Store: kind, Faults: map[string]int{}}}
					c.run()
				})
			}
		})
	}
	if folder := os.Getenv("KARST_TEST_CHAOS_REPORT"); folder != "" {
		sumUp(t, folder)
	}
}

const chaosRate = 300 // records a second of each producer

func (c *chaos) run() {
	t := c.t
	t.Helper()
	report := os.Getenv("KARST_TEST_CHAOS_REPORT")
	c.fleet = newFleet(t, fleetSpec{
		brokers: 3, clients: 2, s3: c.outcome.Store == "s3", slow: true, logs: report,
		flags: []string{"--flush.interval=2s", "--log.retention.check.interval=1s", "--store.timeout=5s", "--wal.stall.timeout=8s", "--delete.grace=2s"},
	})
	c.startAll()
	c.busy = make([]bool, len(c.nodes))
	c.began = time.Now()
	defer c.tell(report)

	const partitions = 12
	l := &load{t: t, ledger: newLedger("ledger", partitions), followed: newView(partitions, maphash.MakeSeed())}
	if _, err := c.admin(c.clients[0]).CreateTopic(t.Context(), partitions, 1, nil, l.ledger.topic); err != nil {
		t.Fatal(err)
	}
	for k, at := range c.clients {
		l.producers = append(l.producers, goProducer(t, c.nodes[k].addr(), l.ledger, fmt.Sprintf("go%d", k), chaosRate, append(c.options(at), kgo.MaxBufferedRecords(1<<20))...))
	}
	l.ledger.options = c.options(c.clients[0])
	ctx, cancel := context.WithCancel(context.Background())
	l.endFollow = cancel
	follower := consumer(t, c.nodes[0].addr(), l.ledger)
	l.follows.Go(func() { l.ledger.follow(ctx, follower, l.followed) })
	t.Cleanup(func() {
		cancel()
		l.follows.Wait()
	})
	l.flowing(1000, time.Minute)

	c.faults(time.Duration(setting(t, "KARST_TEST_CHAOS_SECONDS", 10)) * time.Second)
	c.supervise()
	c.alive()
	c.recovered(l)
	if t.Failed() {
		return
	}
	c.note("healed, ending")
	l.end()
	c.alive()
	for k := range c.nodes {
		c.process(k).waitReady()
	}
	c.outcome.Acked = l.ledger.acknowledged()
	c.outcome.Read = l.ledger.verify(t, c.nodes[0].addr(), l.followed)
	t.Logf("%d acknowledged, %d read back and compared; %.1f s to the last partition written, %.1f s to the last one read; %v",
		c.outcome.Acked, c.outcome.Read, c.outcome.Write, c.outcome.ReadSec, c.outcome.Faults)
}

// recovered waits until every partition is written and read again.
func (c *chaos) recovered(l *load) {
	c.t.Helper()
	healed := time.Now()
	c.note("healed")
	behind := func(latest []time.Time) error {
		var left []string
		for p, at := range latest {
			if !at.After(healed) {
				left = append(left, fmt.Sprint(p))
			}
		}
		if left != nil {
			return fmt.Errorf("partitions %s", strings.Join(left, ", "))
		}
		return nil
	}
	if err := poll(healMax, func() error {
		l.ledger.mu.Lock()
		defer l.ledger.mu.Unlock()
		return behind(l.ledger.latest)
	}); err != nil {
		c.t.Errorf("not written again within %v of healing: %v", healMax, err)
	}
	c.outcome.Write = time.Since(healed).Seconds()
	if err := poll(healMax, func() error {
		l.followed.mu.Lock()
		defer l.followed.mu.Unlock()
		if l.followed.wrong != nil {
			return nil
		}
		return behind(l.followed.latest)
	}); err != nil {
		c.t.Errorf("not read again within %v of healing: %v", healMax, err)
	}
	c.outcome.ReadSec = time.Since(healed).Seconds()
}

// supervise starts brokers again that gave up starting, as a supervisor does: one
// that finds the store in trouble says so and ends.
func (c *chaos) supervise() {
	for k := range c.nodes {
		p := c.process(k)
		select {
		case <-p.ended:
		default:
			continue
		}
		if !strings.Contains(p.log.String(), "msg=serving ") {
			c.note("broker %d did not start, starting it again: %s", k+1, p.log)
			c.outcome.Started++
			c.launch(k)
		}
	}
}

func (c *chaos) note(format string, args ...any) {
	c.drawing.Lock()
	defer c.drawing.Unlock()
	c.tales = append(c.tales, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// tell reports the run.
func (c *chaos) tell(folder string) {
	c.t.Helper()
	c.drawing.Lock()
	defer c.drawing.Unlock()
	c.outcome.Seconds, c.outcome.Failed = time.Since(c.began).Seconds(), c.t.Failed()
	if c.outcome.Failed {
		c.t.Logf("what happened (KARST_TEST_SEED=%d):\n%s", c.outcome.Seed, strings.Join(c.tales, "\n"))
	}
	if folder == "" {
		return
	}
	line, err := json.Marshal(c.outcome)
	if err != nil {
		c.t.Fatal(err)
	}
	name := filepath.Join(folder, strings.ReplaceAll(c.t.Name(), "/", "-"))
	if err := os.WriteFile(name+".json", append(line, '\n'), 0o644); err != nil {
		c.t.Error(err)
	}
	if err := os.WriteFile(name+".faults", []byte(strings.Join(c.tales, "\n")+"\n"), 0o644); err != nil {
		c.t.Error(err)
	}
	if !c.outcome.Failed {
		for _, n := range c.nodes {
			_ = os.Remove(n.log)
		}
	}
}

// fault is one kind: it begins something and returns how it ends, or nil if it
// cannot be had now.
type fault struct {
	name  string
	begin func(victim int) (end func())
}

// faults lets up to three faults at once happen, for some time, and returns when
// all of them have ended.
func (c *chaos) faults(length time.Duration) {
	kinds := c.kinds()
	until := time.Now().Add(length)
	var wg sync.WaitGroup
	for range 1 + c.draw(3) {
		wg.Go(func() {
			for time.Now().Before(until) {
				c.one(kinds[c.draw(len(kinds))])
				time.Sleep(time.Duration(c.draw(1500)) * time.Millisecond)
			}
		})
	}
	wg.Wait()
}

func (c *chaos) draw(n int) int {
	c.drawing.Lock()
	defer c.drawing.Unlock()
	return c.random.IntN(n)
}

// one begins a fault, waits, and ends it: half of them are short, the others
// last longer than a session.
func (c *chaos) one(f fault) {
	length := 100 + c.draw(2400)
	if c.draw(2) == 0 {
		length = 6500 + c.draw(6000)
	}
	victim, controls := c.draw(len(c.nodes)), false
	if c.draw(3) == 0 {
		victim, controls = c.controller(), true
	}
	end := f.begin(victim)
	if end == nil {
		return
	}
	c.drawing.Lock()
	c.outcome.Faults[f.name]++
	if controls {
		c.outcome.Controls++
	}
	c.drawing.Unlock()
	c.note("%s, broker %d (controller: %v), for %d ms", f.name, victim+1, controls, length)
	time.Sleep(time.Duration(length) * time.Millisecond)
	end()
	c.note("%s, broker %d: over", f.name, victim+1)
}

// claim takes a process for a fault; one at a time.
func (c *chaos) claim(k int) bool {
	c.drawing.Lock()
	defer c.drawing.Unlock()
	if c.busy[k] {
		return false
	}
	c.busy[k] = true
	return true
}

func (c *chaos) release(k int) {
	c.drawing.Lock()
	defer c.drawing.Unlock()
	c.busy[k] = false
}

// revive starts a broker again.
func (c *chaos) revive(k int) {
	c.launch(k)
	c.release(k)
}

func (c *chaos) kinds() []fault {
	all := []fault{
		{"kill -9", c.killed}, {"kill -9", c.killed}, {"SIGTERM", c.stopped}, {"SIGSTOP", c.frozen}, {"SIGSTOP", c.frozen},
	}
	if c.net.real() {
		all = append(all, c.network()...)
	}
	if c.slow != nil {
		all = append(all, c.store()...)
	}
	return all
}

func (c *chaos) killed(k int) func() {
	if !c.claim(k) {
		return nil
	}
	c.process(k).kill()
	return func() { c.revive(k) }
}

func (c *chaos) stopped(k int) func() {
	if !c.claim(k) {
		return nil
	}
	if err := c.stop(k); err != nil {
		c.note("%v", err) // a store that is away may keep it from stopping well
	}
	return func() { c.revive(k) }
}

func (c *chaos) frozen(k int) func() {
	if !c.claim(k) {
		return nil
	}
	p := c.process(k)
	p.freeze()
	return func() {
		p.signal(syscall.SIGCONT)
		c.release(k)
	}
}

// network are the faults of the network. A cut that overlaps with another of the
// same direction ends with the first of them: all are over at the end.
func (c *chaos) network() []fault {
	both := func(a, b *host) func() {
		c.net.cut(a, b)
		c.net.cut(b, a)
		return func() {
			c.net.join(a, b)
			c.net.join(b, a)
		}
	}
	one := func(a, b *host) func() {
		if c.draw(2) == 0 {
			a, b = b, a
		}
		c.net.cut(a, b)
		return func() { c.net.join(a, b) }
	}
	other := func(k int) *host { return c.nodes[(k+1+c.draw(len(c.nodes)-1))%len(c.nodes)].host }
	customer := func() *host { return c.clients[c.draw(len(c.clients))] }
	all := []fault{
		{"brokers parted", func(k int) func() { return both(c.nodes[k].host, other(k)) }},
		{"brokers parted, one way", func(k int) func() { return one(c.nodes[k].host, other(k)) }},
		{"broker alone", func(k int) func() { return c.alone(k, both) }},
		{"client parted", func(k int) func() { return both(c.nodes[k].host, customer()) }},
		{"client parted, one way", func(k int) func() { return one(c.nodes[k].host, customer()) }},
		{"cable pulled", func(k int) func() {
			h := c.nodes[k].host
			h.down()
			return h.up
		}},
	}
	if c.fleet.store != nil {
		all = append(all,
			fault{"store parted", func(k int) func() { return both(c.nodes[k].host, c.fleet.store) }},
			fault{"store parted, one way", func(k int) func() { return one(c.nodes[k].host, c.fleet.store) }})
	}
	return all
}

// alone parts a broker from all others, but neither from clients nor the store.
func (c *chaos) alone(k int, part func(a, b *host) func()) func() {
	var ends []func()
	for other := range c.nodes {
		if other != k {
			ends = append(ends, part(c.nodes[k].host, c.nodes[other].host))
		}
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

func (c *chaos) store() []fault {
	share := func(name string, set func(*trouble, float64)) fault {
		return fault{name, func(int) func() {
			x := 0.1 + 0.9*float64(c.draw(100))/100
			c.slow.set(func(t *trouble) { set(t, x) })
			return func() { c.slow.set(func(t *trouble) { set(t, 0) }) }
		}}
	}
	return []fault{
		share("store throttles", func(t *trouble, x float64) { t.throttled = x }),
		share("store loses answers", func(t *trouble, x float64) { t.lost = x / 2 }),
		share("store breaks connections", func(t *trouble, x float64) { t.broken = x / 2 }),
		share("store is slow", func(t *trouble, x float64) { t.slower = 20 * x }),
	}
}

// chaosSum is many runs on one store.
type chaosSum struct {
	runs, failed, acked, read, controls, started int

	write, follow []float64
	faults        map[string]int
}

// sumUp prints a table of the runs that a folder tells of.
func sumUp(t *testing.T, folder string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]*chaosSum{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var o outcome
		if err := json.Unmarshal(b, &o); err != nil {
			t.Fatal(path, err)
		}
		s := sums[o.Store]
		if s == nil {
			s = &chaosSum{faults: map[string]int{}}
			sums[o.Store] = s
		}
		s.runs, s.acked, s.read, s.controls, s.started = s.runs+1, s.acked+o.Acked, s.read+o.Read, s.controls+o.Controls, s.started+o.Started
		if o.Failed {
			s.failed++
			fmt.Printf("failed: %s\n", o.Name)
		} else {
			s.write, s.follow = append(s.write, o.Write), append(s.follow, o.ReadSec)
		}
		for name, n := range o.Faults {
			s.faults[name] += n
		}
	}
	for _, store := range slices.Sorted(maps.Keys(sums)) {
		sums[store].print(store)
	}
}

func (s *chaosSum) print(store string) {
	fmt.Printf("\n| %s | |\n|---|---|\n| runs / failed | %d / %d |\n| records acknowledged / read back | %d / %d |\n", store, s.runs, s.failed, s.acked, s.read)
	fmt.Printf("| written again after healing: p50 / p99 / max | %s |\n| read again | %s |\n", spread(s.write), spread(s.follow))
	fmt.Printf("| brokers that gave up starting while the store was in trouble, and were started again | %d |\n", s.started)
	total := 0
	for _, name := range slices.Sorted(maps.Keys(s.faults)) {
		fmt.Printf("| %s | %d |\n", name, s.faults[name])
		total += s.faults[name]
	}
	fmt.Printf("| all faults, of these aimed at the controller | %d, %d |\n", total, s.controls)
}

// spread is median, 99th percentile and maximum in seconds.
func spread(all []float64) string {
	if len(all) == 0 {
		return "-"
	}
	all = slices.Sorted(slices.Values(all))
	at := func(q float64) float64 { return all[max(0, int(math.Ceil(q*float64(len(all))))-1)] }
	return fmt.Sprintf("%.2f / %.2f / %.2f s", at(0.5), at(0.99), all[len(all)-1])
}
