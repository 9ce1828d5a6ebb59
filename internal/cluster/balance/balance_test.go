package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/proptest"
)

// world is an image that plans are made of and applied to. Broker n is incarnation
// n.
type world struct {
	t       testing.TB
	img     *metadata.Image
	number  karst.Number
	rates   map[karst.TopicPartition]float64
	leaving map[karst.Incarnation]bool
	settled func(tp karst.TopicPartition) bool
}

func newWorld(t testing.TB, brokers int) *world {
	t.Helper()
	w := &world{
		t: t, img: metadata.NewImage(karst.ClusterID{1}), rates: map[karst.TopicPartition]float64{}, leaving: map[karst.Incarnation]bool{},
	}
	for range brokers {
		w.join()
	}
	return w
}

func (w *world) apply(all ...metadata.Record) {
	w.t.Helper()
	b := metadata.NewBatch(w.img)
	if err := b.Try(all...); err != nil {
		w.t.Fatal(err)
	}
	w.number++
	w.img, _ = b.Finish(metadata.Position{Term: 1, Number: w.number}, 0)
}

// join registers the next broker.
func (w *world) join() {
	w.t.Helper()
	inc := w.img.NextIncarnation()
	w.apply(&metadata.RegisterBroker{Incarnation: inc, Registration: metadata.Registration{ID: karst.BrokerID(inc), Host: "h"}})
}

func ids(all ...karst.BrokerID) []karst.BrokerID { return all }

func topicID(n int) karst.TopicID { return karst.TopicID{0: 1, 14: byte(n >> 8), 15: byte(n)} }

func part(topic, n int) karst.TopicPartition {
	return karst.TopicPartition{Topic: topicID(topic), Partition: karst.Partition(n)}
}

// topic creates topic n, each partition led by the first of its replicas.
func (w *world) topic(n int, replicas ...[]karst.BrokerID) {
	w.t.Helper()
	r := &metadata.CreateTopic{ID: topicID(n), Name: fmt.Sprint("t", n), ReplicationFactor: 1}
	for _, all := range replicas {
		r.Partitions = append(r.Partitions, metadata.NewPartition{Leader: karst.Incarnation(all[0]), Replicas: all})
	}
	w.apply(r)
}

// lone is so many partitions whose only replica is a broker.
func lone(n int, id karst.BrokerID) [][]karst.BrokerID {
	return slices.Repeat([][]karst.BrokerID{ids(id)}, n)
}

// loads are those of the rates, as brokers that measure well report them.
func (w *world) loads() map[karst.Incarnation]Load {
	all := map[karst.Incarnation]Load{}
	for b := range w.img.LiveBrokers() {
		l := Load{Hot: map[karst.TopicPartition]float64{}}
		for p := range w.img.PartitionsLedBy(b.Incarnation) {
			if r := w.rates[p.ID]; r > 0 {
				l.BytesIn += r
				l.Hot[p.ID] = r
			}
		}
		all[b.Incarnation] = l
	}
	return all
}

func (w *world) input() Input {
	return Input{Image: w.img, Loads: w.loads(), Leaving: w.leaving, Settled: w.settled}
}

// do applies a plan as leaders do that are asked to hand over.
func (w *world) do(moves []Move) {
	w.t.Helper()
	for _, m := range moves {
		p, ok := w.img.Partition(m.Partition)
		if !ok || p.Leader != m.From || p.Epoch != m.Epoch {
			w.t.Fatalf("%+v moves what incarnation %d leads at epoch %d", m, p.Leader, p.Epoch)
		}
		w.apply(&metadata.CommitRequest{Incarnation: m.From, Request: uint64(w.number) + 1, Ranges: []metadata.Range{
			{Partition: m.Partition, Epoch: m.Epoch, Start: p.End, End: p.End, NewLeader: m.To},
		}})
		if p, _ := w.img.Partition(m.Partition); p.Leader != m.To {
			w.t.Fatalf("%+v was not done", m)
		}
	}
}

// leads is how many partitions each broker leads, ascending.
func (w *world) leads() (all []int) {
	for b := range w.img.LiveBrokers() {
		all = append(all, w.img.LeadCount(b.Incarnation))
	}
	return all
}

func (w *world) expect(moves []Move, want ...string) {
	w.t.Helper()
	var got []string
	for _, m := range moves {
		got = append(got, fmt.Sprintf("%d-%d: %d to %d, %s", m.Partition.Topic[15], m.Partition.Partition, m.From, m.To, m.Why))
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("planned:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEmpties(t *testing.T) {
	w := newWorld(t, 3)
	w.topic(1, ids(1), ids(1), ids(2), ids(3))
	w.apply(&metadata.DrainBroker{ID: 1, Drained: true})
	w.expect(Plan(w.input()), "1-0: 1 to 2, broker 1 is drained", "1-1: 1 to 3, broker 1 is drained")
	w.leaving[2] = true
	w.expect(Plan(w.input()), "1-0: 1 to 3, broker 1 is drained", "1-1: 1 to 3, broker 1 is drained", "1-2: 2 to 3, broker 2 stops")
	// Who is drained leads rather than who stops; alone, it keeps what it has.
	w.leaving[3] = true
	w.expect(Plan(w.input()), "1-2: 2 to 1, broker 2 stops", "1-3: 3 to 1, broker 3 stops")
	w.leaving[1] = true
	w.expect(Plan(w.input()))
	in := w.input()
	in.Leaving, in.Most = nil, 1
	w.expect(Plan(in), "1-0: 1 to 2, broker 1 is drained")
}

// All are drained: they have to lead, and as evenly as they did.
func TestAllDrained(t *testing.T) {
	w := newWorld(t, 2)
	w.topic(1, lone(4, 1)...)
	w.apply(&metadata.DrainBroker{ID: 1, Drained: true}, &metadata.DrainBroker{ID: 2, Drained: true})
	w.do(Plan(w.input()))
	if got := w.leads(); !slices.Equal(got, []int{2, 2}) {
		t.Errorf("they lead %v", got)
	}
}

func TestAssigned(t *testing.T) {
	w := newWorld(t, 3)
	w.topic(1, ids(1), ids(2), ids(3), ids(1))
	w.apply(&metadata.AssignReplicas{Assignments: []metadata.Assignment{
		{Partition: part(1, 0), Replicas: ids(3, 2), Previous: ids(1)},
		{Partition: part(1, 1), Replicas: ids(9), Previous: ids(2)}, // nobody who lives
	}})
	w.expect(Plan(w.input()), "1-0: 1 to 3, it is assigned to broker 3")
	w.leaving[3] = true
	w.expect(Plan(w.input()), "1-2: 3 to 2, broker 3 stops", "1-0: 1 to 2, it is assigned to broker 2",
		"1-1: 2 to 1, broker 2 leads 3 partitions, broker 1 leads 1")
}

// A new broker takes its share; small differences are left alone.
func TestEven(t *testing.T) {
	w := newWorld(t, 2)
	w.topic(1, lone(10, 1)...)
	w.topic(2, lone(10, 2)...)
	w.expect(Plan(w.input()))
	w.join()
	w.do(Plan(w.input()))
	if got := w.leads(); !slices.Equal(got, []int{7, 7, 6}) {
		t.Errorf("they lead %v", got)
	}
	w.expect(Plan(w.input()))

	w = newWorld(t, 2)
	w.topic(1, lone(22, 1)...)
	w.topic(2, lone(19, 2)...)
	w.expect(Plan(w.input())) // 3, and a tenth of 20 and one more are borne
	w.topic(3, lone(1, 1)...)
	w.do(Plan(w.input()))
	if got := w.leads(); !slices.Equal(got, []int{21, 21}) {
		t.Errorf("they lead %v", got)
	}
}

// What prefers the broker that takes goes first; then what has it among its
// replicas and does not prefer who gives; the busiest stay.
func TestEvenPrefers(t *testing.T) {
	w := newWorld(t, 2)
	w.topic(1, ids(1), ids(1, 2), ids(1), ids(1), ids(1), ids(1))
	w.topic(2, ids(2, 1))
	w.do([]Move{{Partition: part(2, 0), From: 2, To: 1}})
	w.rates[part(1, 0)], w.rates[part(1, 2)] = 10, 20
	const why = ", broker 1 leads %d partitions, broker 2 leads %d"
	w.expect(Plan(w.input()),
		"2-0: 1 to 2"+fmt.Sprintf(why, 7, 0), "1-1: 1 to 2"+fmt.Sprintf(why, 6, 1), "1-3: 1 to 2"+fmt.Sprintf(why, 5, 2))
}

func TestLevel(t *testing.T) {
	w := newWorld(t, 3)
	w.topic(1, lone(3, 1)...)
	w.topic(2, lone(2, 2)...)
	w.topic(3, lone(2, 3)...)
	w.rates[part(1, 0)], w.rates[part(1, 1)], w.rates[part(1, 2)] = 30e6, 20e6, 1e6
	w.rates[part(2, 0)] = 5e6
	const why = "broker 1 carries 51.0 MB/s, broker 3 0.0 MB/s, the partition %s MB/s"
	w.expect(Plan(w.input()), "1-0: 1 to 3, "+fmt.Sprintf(why, "30.0"))
	// One that was moved lately stays.
	w.settled = func(tp karst.TopicPartition) bool { return tp != part(1, 0) }
	w.expect(Plan(w.input()), "1-1: 1 to 3, "+fmt.Sprintf(why, "20.0"))
	w.settled = nil
	w.do(Plan(w.input()))
	w.expect(Plan(w.input()))

	// What one partition carries alone nobody can level; little is not worth it.
	w = newWorld(t, 2)
	w.topic(1, ids(1), ids(2))
	w.rates[part(1, 0)] = 100e6
	w.expect(Plan(w.input()))
	w.topic(2, ids(1), ids(2))
	w.rates[part(1, 0)], w.rates[part(2, 0)] = 400e3, 400e3
	w.expect(Plan(w.input()))
}

func TestExplain(t *testing.T) {
	w := newWorld(t, 3)
	w.topic(1, ids(1), ids(2), ids(3))
	w.rates[part(1, 0)] = 2e6
	w.leaving[2] = true
	w.apply(&metadata.DrainBroker{ID: 3, Drained: true})
	want := `broker 1 (incarnation 1) leads 1 partitions, 2.00 MB/s in, 0.00 MB/s out, 0 requests/s
broker 2 (incarnation 2) stops, leads 1 partitions, 0.00 MB/s in, 0.00 MB/s out, 0 requests/s
broker 3 (incarnation 3) is drained, leads 1 partitions, 0.00 MB/s in, 0.00 MB/s out, 0 requests/s
move t1-1 from broker 2 to broker 1: broker 2 stops
move t1-2 from broker 3 to broker 1: broker 3 is drained`
	if got := strings.Join(Explain(w.input()), "\n"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	w.leaving = nil
	w.apply(&metadata.DrainBroker{ID: 3})
	if got := Explain(w.input()); len(got) != 4 || !strings.HasPrefix(got[3], "nothing to move") {
		t.Errorf("%q", got)
	}
	// Of nobody there is nothing to say.
	if got := Explain(Input{Image: metadata.NewImage(karst.ClusterID{})}); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// A plan that is done, and the next, and the next: they come to an end, and on the
// way nothing moves to who may not lead, from who does not, or in too large steps.
func TestPlansConverge(t *testing.T) {
	proptest.Run(t, 200, func(t *testing.T, r *rand.Rand) {
		w := drawWorld(t, r)
		most := 0
		if r.IntN(2) == 0 {
			most = 1 + r.IntN(50)
		}
		rounds, total := 0, 0
		for ; ; rounds++ {
			in := w.input()
			in.Most = most
			moves := Plan(in)
			w.check(in, moves)
			if len(moves) == 0 {
				break
			}
			w.do(moves)
			total += len(moves)
			if n := w.img.PartitionCount(); rounds > 20+3*n {
				t.Fatalf("%d moves in %d rounds, and no end: %d partitions, they lead %v\n%s",
					total, rounds, n, w.leads(), strings.Join(Explain(in), "\n"))
			}
		}
		if most == 0 && total > 3*w.img.PartitionCount() {
			t.Errorf("%d moves of %d partitions", total, w.img.PartitionCount())
		}
	})
}

func drawWorld(t *testing.T, r *rand.Rand) *world {
	t.Helper()
	brokers := 1 + r.IntN(8)
	w := newWorld(t, brokers)
	anybody := func() karst.BrokerID { return karst.BrokerID(1 + r.IntN(brokers)) }
	skewed := r.IntN(3) == 0
	for n := range 1 + r.IntN(6) {
		replicas := make([][]karst.BrokerID, 1+r.IntN(20))
		for k := range replicas {
			all := ids(anybody())
			if skewed {
				all[0] = 1
			}
			for range r.IntN(3) {
				if id := anybody(); !slices.Contains(all, id) {
					all = append(all, id)
				}
			}
			replicas[k] = all
		}
		w.topic(n, replicas...)
	}
	for p := range w.img.Partitions() {
		if r.IntN(4) == 0 {
			w.rates[p.ID] = float64(uint64(1)<<r.IntN(30)) * r.Float64()
		}
		if r.IntN(20) == 0 {
			w.apply(&metadata.AssignReplicas{Assignments: []metadata.Assignment{{Partition: p.ID, Replicas: ids(anybody()), Previous: p.Replicas}}})
		}
	}
	for id := range karst.BrokerID(brokers) {
		switch r.IntN(8) {
		case 0:
			w.apply(&metadata.DrainBroker{ID: id + 1, Drained: true})
		case 1:
			w.leaving[karst.Incarnation(id+1)] = true
		}
	}
	return w
}

// check holds a plan against what plans promise.
func (w *world) check(in Input, moves []Move) {
	w.t.Helper()
	most := in.Most
	if most == 0 {
		most = 1000
	}
	if len(moves) > most {
		w.t.Fatalf("%d moves, %d at most", len(moves), most)
	}
	undrained := false
	for b := range w.img.LiveBrokers() {
		undrained = undrained || !w.leaving[b.Incarnation] && !w.img.Drained(b.ID)
	}
	seen := map[karst.TopicPartition]bool{}
	for _, m := range moves {
		to, ok := w.img.Broker(m.To)
		switch {
		case !ok || to.Phase != metadata.Live || w.leaving[m.To] || undrained && w.img.Drained(to.ID):
			w.t.Fatalf("%+v: incarnation %d may not lead", m, m.To)
		case m.From == m.To || seen[m.Partition] || m.Why == "":
			w.t.Fatalf("%+v: to itself, or twice, or for no reason", m)
		}
		seen[m.Partition] = true
	}
}

// BenchmarkPlan plans for 100,000 partitions that 50 brokers lead: when nothing is
// to do, when one came, and when all came back to one.
func BenchmarkPlan(b *testing.B) {
	const brokers, topics, partitions = 50, 100, 1000
	for _, c := range []struct {
		name    string
		leaders int
	}{{"even", brokers}, {"one new", brokers - 1}, {"one has all", 1}} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b, brokers)
			n := 0
			for topic := range topics {
				replicas := make([][]karst.BrokerID, partitions)
				for p := range replicas {
					id := func(k int) karst.BrokerID { return karst.BrokerID(1 + (n+k)%c.leaders) }
					replicas[p] = ids(id(0))
					if c.leaders > 2 {
						replicas[p] = ids(id(0), id(1), id(2))
					}
					w.rates[part(topic, p)] = 1000
					n++
				}
				w.topic(topic, replicas...)
			}
			in := w.input()
			for inc, l := range in.Loads { // they tell of the busiest only
				for tp := range l.Hot {
					if len(l.Hot) > 256 {
						delete(l.Hot, tp)
					}
				}
				in.Loads[inc] = l
			}
			b.ReportAllocs()
			for b.Loop() {
				Plan(in)
			}
		})
	}
}
