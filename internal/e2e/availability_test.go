package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// availability writes to every partition of a topic every 20 ms with Java,
// librdkafka and franz-go, reads it with franz-go, and notes when each partition
// answers.
type availability struct {
	t *testing.T
	*fleet

	system string
	load   *load
	report string

	late   bool // the cluster was, by what a quick client saw
	noting sync.Mutex
	heard  map[string][][]time.Time // client, partition: acknowledgements, or records read
}

const (
	partitionsWatched = 12
	probesPerSecond   = 50 // of each partition and client
	// awayAfter is the silence of a partition that counts as its being away. Every
	// client writes to it every 20 ms, so it is some ten records late.
	awayAfter = 300 * time.Millisecond
)

// TestAvailability notes how long partitions cannot be written or read when a
// broker is killed, frozen, cut off, stopped or added.
//
// Everything that was acknowledged is read back and compared at the end.
//
//	KARST_TEST_AVAILABILITY  a folder for the measurements, a page and graphs of them;
//	                         without it only a controller is killed and a broker stopped
//	KARST_TEST_SYSTEM        file, s3 or kafka, or none for the page alone; file and s3
//	                         without it
//	KARST_TEST_EVENTS        how often each event is repeated, 1 by default
//	KARST_TEST_ONLY          one event
func TestAvailability(t *testing.T) {
	endToEnd(t)
	systems, report := []string{"file", "s3"}, os.Getenv("KARST_TEST_AVAILABILITY")
	if s := os.Getenv("KARST_TEST_SYSTEM"); s != "" {
		systems = []string{s}
	}
	for _, system := range systems {
		if system == "none" {
			continue
		}
		t.Run(system, func(t *testing.T) {
			a := &availability{t: t, system: system, report: report, heard: map[string][][]time.Time{}}
			a.begin()
			times := setting(t, "KARST_TEST_EVENTS", 1)
			for _, e := range a.wanted() {
				for k := range max(1, times*e.share/100) {
					a.one(e, k)
				}
			}
			a.end()
		})
	}
	if report != "" {
		reportAvailability(t, report)
	}
}

// wanted are the events that are asked for.
func (a *availability) wanted() []happening {
	only := os.Getenv("KARST_TEST_ONLY")
	return slices.DeleteFunc(a.events(), func(e happening) bool {
		if only != "" {
			return e.name != only
		}
		return a.report == "" && e.name != "kill-controller" && e.name != "stop"
	})
}

func (a *availability) begin() {
	t := a.t
	t.Helper()
	spec := fleetSpec{brokers: 4, clients: 1, s3: a.system == "s3", slow: true, logs: a.report}
	if a.system == "kafka" {
		spec.brokers = 3 // its cluster does not take what it was not told of
		a.fleet = newKafkaFleet(t, spec)
	} else {
		a.fleet = newFleet(t, spec)
	}
	for k := range 3 {
		a.launch(k)
	}
	for k := range 3 {
		a.process(k).waitReady()
	}
	replicas := int16(1)
	if a.kafka {
		replicas = 3
	}
	at := a.clients[0]
	a.adminClient = client(t, a.nodes[0].addr(), a.options(at)...)
	l := &load{t: t, ledger: newLedger("ledger", partitionsWatched), followed: newView(partitionsWatched, maphash.MakeSeed())}
	a.load = l
	admin := a.admin(at)
	within(t, time.Minute, "topic", func() error {
		answer, err := admin.CreateTopic(t.Context(), partitionsWatched, replicas, nil, l.ledger.topic)
		return errors.Join(err, answer.Err)
	})
	for _, name := range []string{"probe", "java", "librdkafka", "franz", probeReader, standardReader} {
		a.heard[name] = make([][]time.Time, partitionsWatched)
	}
	l.ledger.heard = a.note
	l.followed.heard = func(p int64) { a.note(probeReader, p) }
	rate := probesPerSecond * partitionsWatched
	addr := a.bootstrap()
	l.producers = []producer{
		javaProducer(t, at, addr, l.ledger, "java", rate, "standard"), librdkafkaProducer(t, at, addr, l.ledger, "librdkafka", rate, "standard"),
		startFranz(t, l.ledger, "franz", rate, append(a.options(at), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1<<20))...),
		startFranz(t, l.ledger, "probe", rate, append(a.options(at), append(quick(at), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1<<20))...)...),
	}
	l.ledger.options = a.options(at)
	ctx, cancel := context.WithCancel(context.Background())
	l.endFollow = cancel
	from := map[int32]kgo.Offset{}
	for p := range partitionsWatched {
		from[int32(p)] = kgo.NewOffset().AtStart()
	}
	all := kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.ledger.topic: from})
	follower := client(t, addr, append(a.options(at), append(quick(at), all)...)...)
	l.follows.Go(func() { l.ledger.follow(ctx, follower, l.followed) })
	second := newView(partitionsWatched, l.followed.seed)
	second.heard = func(p int64) { a.note(standardReader, p) }
	more := []kgo.Opt{all}
	if a.report != "" {
		if log, err := os.Create(filepath.Join(a.report, a.system+"-franz.log")); err == nil {
			t.Cleanup(func() { _ = log.Close() })
			more = append(more, kgo.WithLogger(kgo.BasicLogger(log, kgo.LogLevelInfo, func() string { return time.Now().UTC().Format("15:04:05.000 ") })))
		}
	}
	standard := client(t, addr, append(a.options(at), more...)...)
	l.follows.Go(func() { l.ledger.follow(ctx, standard, second) })
	t.Cleanup(func() {
		cancel()
		l.follows.Wait()
	})
	l.flowing(5000, time.Minute)
}

// The readers: with quick's settings, and with franz-go's own.
const (
	probeReader    = "probe reading"
	standardReader = "franz reading"
)

// quick makes a franz-go client notice at once, so that what it waits for is the
// cluster: it asks for metadata every 50 ms, and gives up a request after a second.
func quick(at *host) []kgo.Opt {
	return []kgo.Opt{
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.MetadataMaxAge(time.Second), kgo.RetryBackoffFn(func(int) time.Duration { return 25 * time.Millisecond }),
		kgo.ProduceRequestTimeout(500 * time.Millisecond), kgo.RequestTimeoutOverhead(500 * time.Millisecond), kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.ProducerLinger(0),
		kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			defer cancel()
			return at.dial(ctx, network, addr)
		}),
	}
}

func (a *availability) note(client string, partition int64) {
	now := time.Now()
	a.noting.Lock()
	defer a.noting.Unlock()
	a.heard[client][partition] = append(a.heard[client][partition], now)
}

// end compares what was acknowledged with what is there.
func (a *availability) end() {
	a.t.Helper()
	a.load.end()
	count := a.load.ledger.verify(a.t, a.nodes[0].addr(), a.load.followed)
	a.t.Logf("%s: %d records acknowledged, %d read back", a.system, a.load.ledger.acknowledged(), count)
	if a.late {
		a.t.Error("a quick client waited longer than it should")
	}
}

// happening is something that is done to a fleet.
type happening struct {
	name   string
	share  int           // of repetitions, in percent
	window time.Duration // in which things are well again
	do     func(victim int) (undo func())
	on     func() int // the victim
	// planned events may cost no client anything but time.
	planned bool
}

func (a *availability) events() []happening {
	crash, silent := 6*time.Second, 16*time.Second
	if a.kafka {
		crash, silent = 20*time.Second, 24*time.Second
	}
	all := []happening{
		{name: "kill", share: 100, window: crash, do: a.kill, on: a.follower},
		{name: "kill-controller", share: 100, window: crash, do: a.kill, on: a.lead},
		{name: "freeze", share: 30, window: silent, on: a.follower, do: func(k int) func() {
			p := a.process(k)
			p.freeze()
			return func() { p.signal(syscall.SIGCONT) }
		}},
		{name: "freeze-controller", share: 30, window: silent, on: a.lead, do: func(k int) func() {
			p := a.process(k)
			p.freeze()
			return func() { p.signal(syscall.SIGCONT) }
		}},
		{name: "stop", share: 60, window: crash, do: a.terminate, on: a.anybody, planned: true},
		{name: "start", share: 60, window: crash, on: a.anybody, planned: true, do: func(int) func() { return func() {} }},
	}
	if a.net.real() {
		all = append(all, happening{name: "cable", share: 30, window: silent, on: a.follower, do: func(k int) func() {
			a.nodes[k].host.down()
			return a.nodes[k].host.up
		}})
	}
	if !a.kafka {
		all = append(all, happening{name: "scale-out", share: 30, window: 10 * time.Second, planned: true, on: func() int { return 3 }, do: a.scaleOut})
	}
	return all
}

func (a *availability) kill(k int) func() {
	a.process(k).kill()
	return func() { a.launch(k) }
}

func (a *availability) terminate(k int) func() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.stop(k); err != nil {
			a.t.Error(err)
		}
	}()
	return func() {
		<-done
		a.launch(k)
	}
}

// scaleOut adds a broker, which is gone again afterwards.
func (a *availability) scaleOut(k int) func() {
	began := time.Now()
	a.launch(k)
	share := partitionsWatched / 4
	err := poll(10*time.Second, func() error {
		if n := a.leads(k); n < share {
			return fmt.Errorf("it leads %d of %d partitions", n, partitionsWatched)
		}
		return nil
	})
	if err != nil {
		a.t.Errorf("a new broker does not carry its share: %v", err)
	}
	a.t.Logf("%s: scale-out: a new broker leads its share %v after its process began", a.system, time.Since(began).Round(time.Millisecond))
	return func() {
		if err := a.stop(k); err != nil {
			a.t.Error(err)
		}
	}
}

// leads is how many partitions a broker leads.
func (a *availability) leads(k int) int {
	ctx, cancel := context.WithTimeout(a.t.Context(), 5*time.Second)
	defer cancel()
	topics, err := a.admin(a.clients[0]).ListTopics(ctx, a.load.ledger.topic)
	if err != nil {
		return -1
	}
	n := 0
	for _, p := range topics[a.load.ledger.topic].Partitions {
		if p.Err == nil && int(p.Leader) == k+1 {
			n++
		}
	}
	return n
}

func (a *availability) lead() int {
	if !a.kafka {
		return a.controller()
	}
	k, err := a.kafkaController()
	if err != nil {
		a.t.Fatal(err)
	}
	return k
}

func (a *availability) follower() int { return (a.lead() + 1 + rand.IntN(2)) % 3 }
func (a *availability) anybody() int  { return rand.IntN(3) }

// settled waits until every broker runs and leads its share again.
func (a *availability) settled() {
	a.t.Helper()
	for k := range 3 {
		a.process(k).waitReady()
	}
	within(a.t, 2*time.Minute, "every broker leads its share", func() error {
		if a.kafka {
			ctx, cancel := context.WithTimeout(a.t.Context(), 5*time.Second)
			_, _ = a.admin(a.clients[0]).ElectLeaders(ctx, 0, nil) // preferred ones; on its own it looks every five minutes
			cancel()
			time.Sleep(200 * time.Millisecond)
		}
		for k := range 3 {
			if n := a.leads(k); n < partitionsWatched/3-1 {
				time.Sleep(100 * time.Millisecond)
				return fmt.Errorf("broker %d leads %d", k+1, n)
			}
		}
		return nil
	})
	// Clients of before may still wait for requests that were lost.
	within(a.t, 2*time.Minute, "every client reaches every partition", func() error {
		time.Sleep(100 * time.Millisecond)
		now := time.Now()
		a.noting.Lock()
		defer a.noting.Unlock()
		for client, partitions := range a.heard {
			for p, times := range partitions {
				if gaps, _ := gapsOf(times, now.Add(-time.Second), now); len(gaps) > 0 || len(times) == 0 {
					return fmt.Errorf("%s, partition %d", client, p)
				}
			}
		}
		return nil
	})
}

// measured is what one event did.
type measured struct {
	System  string               `json:"system"`
	Event   string               `json:"event"`
	Victim  int                  `json:"victim"`
	Planned bool                 `json:"planned"`
	Again   map[string]float64   `json:"again_s"` // client: when the last partition was there again, 0: none was away
	Pause   map[string]float64   `json:"pause_s"` // client: the longest silence of a partition
	Steps   map[string][]float64 `json:"steps"`   // client: share of partitions that are there, every 100 ms from a second before
}

const (
	stepOf     = 100 * time.Millisecond
	beforehand = time.Second
)

// one lets something happen, and measures.
func (a *availability) one(e happening, k int) {
	t := a.t
	t.Helper()
	a.settled()
	victim := e.on()
	var undo func()
	began := time.Now()
	if e.name == "start" { // what counts is what comes after a stop
		if err := a.stop(victim); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		began = time.Now()
		a.launch(victim)
		undo = func() {}
	} else {
		undo = e.do(victim)
	}
	time.Sleep(time.Until(began.Add(e.window)))
	m := a.measure(e, began)
	m.Victim = victim + 1
	undo()
	t.Logf("%s %s %d: again %v, longest pause %v", a.system, e.name, k, m.Again, m.Pause)
	if a.report != "" {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(a.report, fmt.Sprintf("%s-%s-%02d.json", a.system, e.name, k)), append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for client, again := range m.Again {
		if again < 0 {
			t.Logf("%s, %s: a partition was not there again within %v of %s", a.system, client, e.window, e.name)
			a.late = a.late || client == "probe" || client == probeReader
		}
	}
}

// measure looks at what was heard since an event.
func (a *availability) measure(e happening, began time.Time) measured {
	until := time.Now()
	m := measured{System: a.system, Event: e.name, Planned: e.planned, Again: map[string]float64{}, Pause: map[string]float64{}, Steps: map[string][]float64{}}
	steps := int((beforehand + e.window) / stepOf)
	a.noting.Lock()
	defer a.noting.Unlock()
	for client, partitions := range a.heard {
		there := make([]float64, steps)
		for _, times := range partitions {
			gaps, longest := gapsOf(times, began, until)
			m.Pause[client] = max(m.Pause[client], longest.Seconds())
			for _, g := range gaps {
				switch {
				case !g[1].Before(until):
					m.Again[client] = -1
				case m.Again[client] >= 0:
					m.Again[client] = max(m.Again[client], g[1].Sub(began).Seconds())
				}
			}
			for s := range there {
				at, away := began.Add(-beforehand+time.Duration(s)*stepOf), false
				for _, g := range gaps {
					away = away || !at.Before(g[0]) && at.Before(g[1])
				}
				if !away {
					there[s] += 1 / float64(len(partitions))
				}
			}
		}
		if _, ok := m.Again[client]; !ok {
			m.Again[client] = 0
		}
		m.Steps[client] = there
	}
	return m
}

// gapsOf are the silences of a partition that count as its being away, of those
// that reach into the time from began until until, and the longest of all.
func gapsOf(times []time.Time, began, until time.Time) (gaps [][2]time.Time, longest time.Duration) {
	last := time.Time{}
	look := func(at time.Time) {
		if !last.IsZero() && at.After(began) {
			longest = max(longest, at.Sub(last))
			if at.Sub(last) > awayAfter {
				gaps = append(gaps, [2]time.Time{last, at})
			}
		}
		last = at
	}
	from := 0
	for from < len(times) && times[from].Before(began.Add(-beforehand)) {
		from++
	}
	for _, at := range times[from:] {
		if at.After(until) {
			break
		}
		look(at)
	}
	look(until)
	return gaps, longest
}
