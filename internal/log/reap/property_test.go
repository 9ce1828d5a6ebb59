package reap

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store/object"
)

// A chaos is random writers, commits of unknown outcome, failovers and topic
// deletions around reapers that see old images. After each step everything that
// the image references exists, and so does what an adoption would still read.
type chaos struct {
	*world
	rnd     *rand.Rand
	rule    func(Image) Image // a broken predicate, or nil
	past    []*metadata.Image
	next    karst.Incarnation // to register
	writers map[karst.Incarnation]*writer
	flight  []*metadata.CommitRequest // offered: they may be applied at any time, or never
	topics  int
}

// writer is one incarnation's WAL and counters.
type writer struct {
	inc     karst.Incarnation
	durable karst.Number
	holds   map[karst.Number]map[karst.TopicPartition]entry // of each WAL number
	end     map[karst.TopicPartition]karst.Offset           // of what it appended
	epoch   map[karst.TopicPartition]karst.Epoch
	counter karst.Number
	request uint64
	tomb    karst.Number
}

type entry struct {
	base  karst.Offset
	epoch karst.Epoch
}

func newChaos(t testing.TB, seed uint64, rule func(Image) Image) *chaos {
	c := &chaos{rnd: rand.New(rand.NewPCG(seed, 1)), rule: rule, writers: map[karst.Incarnation]*writer{}, next: 1}
	c.world = &world{t: t, data: newWorld(t).data, img: metadata.NewImage(karst.ClusterID{9}), wishes: map[karst.TopicPartition]karst.Offset{}}
	c.join()
	c.join()
	c.createTopic()
	return c
}

func (c *chaos) step(rs ...metadata.Record) error {
	err := c.apply(rs...)
	if err == nil {
		c.past = append(c.past, c.img)
	}
	return err
}

func (c *chaos) join() {
	inc := c.next
	if c.step(&metadata.RegisterBroker{Incarnation: inc, Registration: metadata.Registration{ID: karst.BrokerID(inc)}}) != nil {
		return
	}
	c.next++
	c.writers[inc] = &writer{
		inc: inc, holds: map[karst.Number]map[karst.TopicPartition]entry{},
		end: map[karst.TopicPartition]karst.Offset{}, epoch: map[karst.TopicPartition]karst.Epoch{},
	}
	r := c.reaper(Config{Grace: 1, SweepPause: 1}, inc)
	r.d.Image = func() Image {
		var img Image = c.past[len(c.past)-1-c.rnd.IntN(min(len(c.past), 4))]
		if c.rule != nil {
			img = c.rule(img)
		}
		return img
	}
}

func (c *chaos) createTopic() {
	live := c.live()
	if len(live) == 0 {
		return
	}
	c.topics++
	np := make([]metadata.NewPartition, 2)
	for i := range np {
		np[i].Leader = live[c.rnd.IntN(len(live))]
	}
	_ = c.step(&metadata.CreateTopic{ID: karst.TopicID{byte(c.topics)}, Name: fmt.Sprint("t", c.topics), Partitions: np})
}

func (c *chaos) live() (all []karst.Incarnation) {
	for b := range c.img.Brokers() {
		if b.Phase == metadata.Live {
			all = append(all, b.Incarnation)
		}
	}
	return all
}

func (c *chaos) pick() *writer {
	live := c.live()
	if len(live) == 0 {
		return nil
	}
	return c.writers[live[c.rnd.IntN(len(live))]]
}

// produce makes one WAL object of one record for each of some led partitions.
func (c *chaos) produce(w *writer) {
	n := w.durable + 1
	in := map[karst.TopicPartition]entry{}
	for p := range c.img.Partitions() {
		if p.Leader != w.inc || c.rnd.IntN(3) == 0 {
			continue
		}
		if e, ok := w.epoch[p.ID]; !ok || e != p.Epoch {
			w.epoch[p.ID], w.end[p.ID] = p.Epoch, p.End
		}
		in[p.ID] = entry{w.end[p.ID], p.Epoch}
		w.end[p.ID]++
	}
	if len(in) == 0 {
		return
	}
	w.durable, w.holds[n] = n, in
	c.segment(walObject(w.inc, n))
}

// offer uploads a segment, perhaps, and offers a flush of the WAL up to some number.
func (c *chaos) offer(w *writer) {
	b, _ := c.img.Broker(w.inc)
	if w.durable == b.Trim {
		return
	}
	k := b.Trim + 1 + karst.Number(c.rnd.IntN(int(w.durable-b.Trim)))
	w.counter++
	seg, used := segObject(w.inc, w.counter), false
	w.request++
	r := commit(w.inc, w.request, w.counter, k)
	for p := range c.img.Partitions() {
		if p.Leader != w.inc {
			continue
		}
		s, adopt := w.sources(p, b.Trim, k), c.rnd.IntN(2) == 0
		g := metadata.Range{Partition: p.ID, Epoch: p.Epoch, Start: p.End, End: p.End, Sources: s}
		if n := len(s); n > 0 {
			g.End = s[n-1].Last + 1
			if !adopt {
				g.Sources, used = []metadata.Source{src(seg, p.End, g.End-1)}, true
			}
		}
		if c.rnd.IntN(3) == 0 {
			g.LogStart = p.LogStart + karst.Offset(c.rnd.Int64N(int64(g.End-p.LogStart)+1))
		}
		if len(g.Sources) > 0 || g.LogStart > 0 {
			r.Ranges = append(r.Ranges, g)
		}
	}
	if used {
		c.segment(seg)
	}
	c.flight = append(c.flight, r)
}

// sources is what the WAL holds of a partition from its end up to number k.
func (w *writer) sources(p *metadata.PartitionState, trim, k karst.Number) (all []metadata.Source) {
	next := p.End
	for n := trim + 1; n <= k; n++ {
		if e, ok := w.holds[n][p.ID]; ok && e.epoch == p.Epoch && e.base == next {
			all = append(all, src(walObject(w.inc, n), next, next))
			next++
		}
	}
	return all
}

// adoptOne adopts a fenced incarnation: what its WAL has above the ends.
func (c *chaos) adoptOne() {
	for b := range c.img.Brokers() {
		if b.Phase != metadata.Fenced {
			continue
		}
		w := c.writers[b.Incarnation]
		if w.tomb == 0 {
			w.tomb = w.durable + 1
			c.put(walObject(w.inc, w.tomb).Name(), object.Tombstone, 0)
		}
		r := &metadata.CommitRequest{Incarnation: w.inc, Adopt: true, WALEnd: w.tomb}
		for p := range c.img.Partitions() {
			if s := w.sources(p, b.Trim, w.durable); p.Leader == w.inc && len(s) > 0 {
				r.Ranges = append(r.Ranges, rng(c.world, p.ID, s...))
			}
		}
		if err := c.step(r); err != nil {
			c.t.Fatalf("adoption refused: %v", err)
		}
		return
	}
}

func (c *chaos) placeAll() {
	live := c.live()
	if len(live) == 0 {
		return
	}
	for p := range c.img.Partitions() {
		_ = c.step(&metadata.PlaceLeaders{Placements: []metadata.Placement{{Partition: p.ID, Leader: live[c.rnd.IntN(len(live))]}}})
	}
}

func (c *chaos) one() {
	ctx := context.Background()
	w := c.pick()
	switch n := c.rnd.IntN(100); {
	case n < 25 && w != nil:
		c.produce(w)
	case n < 45 && w != nil:
		c.offer(w)
	case n < 65 && len(c.flight) > 0: // in any order, late, or never
		i := c.rnd.IntN(len(c.flight))
		r := c.flight[i]
		if c.rnd.IntN(4) > 0 {
			_ = c.step(r)
		}
		if c.rnd.IntN(2) == 0 {
			c.flight = append(c.flight[:i:i], c.flight[i+1:]...)
		}
	case n < 68:
		c.createTopic()
	case n < 70:
		_ = c.step(&metadata.DeleteTopic{ID: karst.TopicID{byte(1 + c.rnd.IntN(max(1, c.topics)))}})
	case n < 72 && w != nil && len(c.live()) > 1:
		_ = c.step(&metadata.FenceIncarnation{Incarnation: w.inc})
	case n < 76:
		c.adoptOne()
	case n < 78:
		c.placeAll()
	case n < 79 && len(c.live()) < 3:
		c.join()
	case n < 80:
		_ = c.step(&metadata.ForgetIncarnation{Incarnation: karst.Incarnation(1 + c.rnd.IntN(int(c.next)))})
	default:
		time.Sleep(time.Nanosecond)
		r := c.all[c.rnd.IntN(len(c.all))]
		if c.rnd.IntN(2) == 0 {
			_ = r.sweep(ctx)
		}
		r.listFolders(ctx)
		r.collect(ctx)
	}
}

// lost says what is missing, "" for nothing.
func (c *chaos) lost() string {
	for o := range c.img.Objects() {
		if !c.has(o.Name()) {
			return "the image references " + o.Name()
		}
	}
	for inc, w := range c.writers {
		if w.tomb != 0 && !c.has(walObject(inc, w.tomb).Name()) {
			return "the tombstone of a WAL"
		}
		b, ok := c.img.Broker(inc)
		if !ok || b.Phase == metadata.Adopted {
			continue
		}
		for n := b.Trim + 1; n <= w.durable; n++ {
			if !c.has(walObject(inc, n).Name()) {
				return "an adoption would read " + walObject(inc, n).Name()
			}
		}
	}
	return ""
}

// run takes steps until something is lost or they are done.
func (c *chaos) run(steps int) string {
	for range steps {
		c.one()
		if s := c.lost(); s != "" {
			return s
		}
	}
	return ""
}

func TestNothingReachableIsDeleted(t *testing.T) {
	var deleted int64
	for seed := range uint64(60) {
		c := newChaos(t, seed, nil)
		if lost := c.run(250); lost != "" {
			t.Fatalf("seed %d: deleted, but %s", seed, lost)
		}
		if err := c.img.CheckInvariants(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, r := range c.all {
			deleted += r.Stats().Deleted
		}
	}
	t.Logf("%d objects deleted", deleted)
	if deleted < 1000 {
		t.Errorf("only %d objects deleted: the test looks at nothing", deleted)
	}
}

// broken is an image with another predicate.
type broken struct {
	*metadata.Image
	deletable func(*metadata.Image, metadata.ObjectID) bool
}

func (b broken) Deletable(o metadata.ObjectID) bool { return b.deletable(b.Image, o) }

// Referenced never helps out: a sweep asks it for the report's sake.
func (b broken) Referenced(metadata.ObjectID) bool { return false }

// Each rule of the predicate is needed: without it, something is lost.
func TestEachRuleIsNeeded(t *testing.T) {
	broker := func(i *metadata.Image, o metadata.ObjectID) metadata.BrokerState {
		if b, ok := i.Broker(o.Writer); ok {
			return *b
		}
		return metadata.BrokerState{}
	}
	for name, rule := range map[string]func(*metadata.Image, metadata.ObjectID) bool{
		"unreferenced alone": func(i *metadata.Image, o metadata.ObjectID) bool { return !i.Referenced(o) },
		"trimmed alone (walgc.py trimmedonly)": func(i *metadata.Image, o metadata.ObjectID) bool {
			return i.Deletable(o) || o.Kind == metadata.WALObject && o.Number <= broker(i, o).Trim
		},
		"settled alone": func(i *metadata.Image, o metadata.ObjectID) bool {
			return i.Deletable(o) || o.Kind == metadata.SegObject && o.Number <= broker(i, o).Settled.Counter
		},
		"unreferenced before settled": func(i *metadata.Image, o metadata.ObjectID) bool {
			return i.Deletable(o) || o.Kind == metadata.SegObject && !i.Referenced(o) && broker(i, o).Phase != 0
		},
		"fenced (walgc.py fencedseg)": func(i *metadata.Image, o metadata.ObjectID) bool {
			return i.Deletable(o) || !i.Referenced(o) && broker(i, o).Phase == metadata.Fenced
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(300) {
				if newChaos(t, seed, func(i Image) Image { return broken{i.(*metadata.Image), rule} }).run(250) != "" {
					return
				}
			}
			t.Error("nothing was lost without this rule")
		})
	}
}
