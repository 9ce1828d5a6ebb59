// Package balance plans which partitions change their leader: a function of the
// image and of what was measured, without state, so that a dry run shows what
// would be done.
//
// Moving a partition moves no data, so the plan is not thrifty. In order:
//
//  1. What a broker leads that is to lead nothing (drained, stopping) goes to the
//     others.
//  2. A partition goes to its assigned replicas, if its leader is none of them.
//  3. Brokers lead about as many partitions each. A plan starts when two differ by
//     more than one and a tenth of the average, and goes on until they differ by
//     one at most. What has its preferred replica there goes first, then what has
//     the least load.
//  4. Brokers carry about the same load. It starts when one carries a quarter more
//     than the average, and moves a partition only where that lowers the higher of
//     the two by a tenth at least. A partition that was moved lately stays. Where
//     the numbers would no longer be even, the one that takes gives one in exchange:
//     otherwise this rule and the one before would move a partition to and fro.
package balance

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// Load is what an incarnation does, per second.
type Load struct {
	BytesIn, BytesOut, Requests float64
	Hot                         map[karst.TopicPartition]float64 // bytes in and out of the busiest partitions
}

// Input is what a plan rests on.
type Input struct {
	Image   *metadata.Image
	Loads   map[karst.Incarnation]Load
	Leaving map[karst.Incarnation]bool // they stop
	Drained map[karst.BrokerID]bool    // what if they were drained, too
	// Settled reports whether a partition was not moved lately; nil: all.
	Settled func(tp karst.TopicPartition) bool
	// Pinned reports whether somebody asked for the leader that a partition has, so
	// that evenness is no reason to move it; nil: none.
	Pinned func(tp karst.TopicPartition) bool
	Most   int // moves at most; 1,000
}

func (in *Input) drained(id karst.BrokerID) bool { return in.Image.Drained(id) || in.Drained[id] }

// Move is a partition that is to change its leader, and why.
type Move struct {
	Partition karst.TopicPartition
	Epoch     karst.Epoch
	From, To  karst.Incarnation
	Why       string
}

// Thresholds of the package comment.
const (
	countSlack = 10      // a share of the average
	loadSlack  = 4       // a share of the average
	loadFloor  = 1 << 20 // bytes/s that are not worth a move
	loadGain   = 10      // a share of the higher load
	mostMoves  = 1000
)

// broker is one that may lead.
type broker struct {
	*metadata.BrokerState
	leads int
	load  float64
}

// plan is a plan in the making.
type plan struct {
	in    Input
	to    []*broker // who may lead, ascending by incarnation
	by    map[karst.Incarnation]*broker
	moved map[karst.TopicPartition]bool
	moves []Move
}

// Plan says what is to be moved.
func Plan(in Input) []Move {
	p := newPlan(in)
	if len(p.to) == 0 {
		return nil
	}
	p.empty()
	p.assigned()
	p.even()
	p.level()
	return p.moves
}

func newPlan(in Input) *plan {
	if in.Most <= 0 {
		in.Most = mostMoves
	}
	p := &plan{in: in, by: map[karst.Incarnation]*broker{}, moved: map[karst.TopicPartition]bool{}}
	var drained []*broker
	for s := range in.Image.LiveBrokers() {
		b := &broker{BrokerState: s, leads: in.Image.LeadCount(s.Incarnation)}
		l := in.Loads[s.Incarnation]
		b.load = l.BytesIn + l.BytesOut
		p.by[s.Incarnation] = b
		switch {
		case in.Leaving[s.Incarnation]:
		case in.drained(s.ID):
			drained = append(drained, b)
		default:
			p.to = append(p.to, b)
		}
	}
	if len(p.to) == 0 {
		p.to = drained // somebody has to lead
	}
	return p
}

func (p *plan) full() bool { return len(p.moves) >= p.in.Most }

func (p *plan) may(b *broker) bool { return slices.Contains(p.to, b) }

// of is a live broker by its id that may lead.
func (p *plan) of(id karst.BrokerID) *broker {
	for _, b := range p.to {
		if b.ID == id {
			return b
		}
	}
	return nil
}

func (p *plan) rate(from *broker, tp karst.TopicPartition) float64 {
	return p.in.Loads[from.Incarnation].Hot[tp]
}

func (p *plan) move(s *metadata.PartitionState, from, to *broker, why string) {
	r := p.rate(from, s.ID)
	from.leads--
	to.leads++
	from.load -= r
	to.load += r
	p.moved[s.ID] = true
	p.moves = append(p.moves, Move{Partition: s.ID, Epoch: s.Epoch, From: from.Incarnation, To: to.Incarnation, Why: why})
}

// least is who leads least; of equals who carries least, then the lowest id.
func (p *plan) least() *broker {
	return slices.MinFunc(p.to, func(a, b *broker) int {
		return cmp.Or(cmp.Compare(a.leads, b.leads), cmp.Compare(a.load, b.load), cmp.Compare(a.ID, b.ID))
	})
}

func (p *plan) most() *broker {
	return slices.MaxFunc(p.to, func(a, b *broker) int {
		return cmp.Or(cmp.Compare(a.leads, b.leads), cmp.Compare(a.load, b.load), cmp.Compare(b.ID, a.ID))
	})
}

// empty takes from those who are to lead nothing what they lead.
func (p *plan) empty() {
	for _, inc := range slices.Sorted(maps.Keys(p.by)) {
		from := p.by[inc]
		if p.may(from) {
			continue
		}
		why := fmt.Sprintf("broker %d is drained", from.ID)
		if p.in.Leaving[inc] {
			why = fmt.Sprintf("broker %d stops", from.ID)
		}
		for s := range p.in.Image.PartitionsLedBy(inc) {
			if p.full() {
				return
			}
			p.move(s, from, p.least(), why)
		}
	}
}

// assigned takes partitions to their assigned replicas.
func (p *plan) assigned() {
	for s := range p.in.Image.Reassigning() {
		from := p.by[s.Leader]
		if p.full() {
			return
		}
		if from == nil || p.moved[s.ID] {
			continue
		}
		for _, id := range s.Replicas {
			if to := p.of(id); to != nil && to != from {
				p.move(s, from, to, fmt.Sprintf("it is assigned to broker %d", id))
				break
			}
		}
	}
}

// uneven reports whether the numbers that brokers lead differ by more than is
// borne.
func (p *plan) uneven() bool {
	total := 0
	for _, b := range p.to {
		total += b.leads
	}
	return p.most().leads-p.least().leads > 1+total/len(p.to)/countSlack
}

// even evens out how many partitions each leads.
func (p *plan) even() {
	if !p.uneven() {
		return
	}
	spare := map[*broker][]*metadata.PartitionState{}
	for !p.full() {
		from, to := p.most(), p.least()
		if from.leads-to.leads <= 1 {
			return
		}
		if spare[from] == nil {
			spare[from] = p.spare(from)
		}
		s := take(spare, from, to)
		if s == nil {
			return
		}
		p.move(s, from, to, fmt.Sprintf("broker %d leads %d partitions, broker %d leads %d", from.ID, from.leads, to.ID, to.leads))
	}
}

func (p *plan) pinned(tp karst.TopicPartition) bool { return p.in.Pinned != nil && p.in.Pinned(tp) }

// spare is what a broker led at first and may give away, the busiest last.
func (p *plan) spare(from *broker) []*metadata.PartitionState {
	all := []*metadata.PartitionState{}
	for s := range p.in.Image.PartitionsLedBy(from.Incarnation) {
		if !p.moved[s.ID] && !p.pinned(s.ID) {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b *metadata.PartitionState) int {
		return cmp.Compare(p.rate(from, a.ID), p.rate(from, b.ID))
	})
	return all
}

// take takes the first partition whose preferred replica is to; else the first
// that has to among its replicas and does not prefer from, that has to among them,
// that does not prefer from; else the first.
func take(spare map[*broker][]*metadata.PartitionState, from, to *broker) *metadata.PartitionState {
	best, rank := -1, 0
	for n, s := range spare[from] {
		r := 1
		if s.Prefers() != from.ID {
			r++
		}
		if slices.Contains(s.Replicas, to.ID) {
			r += 2
		}
		if s.Prefers() == to.ID {
			r++
		}
		if r > rank {
			best, rank = n, r
		}
	}
	if best < 0 {
		return nil
	}
	s := spare[from][best]
	spare[from] = slices.Delete(spare[from], best, best+1)
	return s
}

// level levels the load, one partition per pair of brokers.
func (p *plan) level() {
	var total float64
	for _, b := range p.to {
		total += b.load
	}
	average := total / float64(len(p.to))
	for range p.to {
		from := slices.MaxFunc(p.to, func(a, b *broker) int { return cmp.Compare(a.load, b.load) })
		to := slices.MinFunc(p.to, func(a, b *broker) int { return cmp.Compare(a.load, b.load) })
		if from.load < average+average/loadSlack+loadFloor {
			return
		}
		back, ok := p.exchange(from, to)
		if !ok || len(p.moves)+1+len(back) > p.in.Most {
			return
		}
		s := p.hottest(from, to, back)
		if s == nil {
			return
		}
		why := fmt.Sprintf("broker %d carries %.1f MB/s, broker %d %.1f MB/s, the partition %.1f MB/s",
			from.ID, from.load/1e6, to.ID, to.load/1e6, p.rate(from, s.ID)/1e6)
		p.move(s, from, to, why)
		for _, s := range back {
			p.move(s, to, from, fmt.Sprintf("in exchange, so that broker %d does not lead too many", to.ID))
		}
	}
}

// exchange is what to gives for a partition that it is given: nothing, or, where
// the numbers would be uneven, what it has that carries least; false if it has
// nothing.
func (p *plan) exchange(from, to *broker) (back []*metadata.PartitionState, ok bool) {
	from.leads--
	to.leads++
	uneven := p.uneven()
	from.leads++
	to.leads--
	if !uneven {
		return nil, true
	}
	for _, s := range p.spare(to) {
		if p.settled(s.ID) {
			return []*metadata.PartitionState{s}, true
		}
	}
	return nil, false
}

func (p *plan) settled(tp karst.TopicPartition) bool { return p.in.Settled == nil || p.in.Settled(tp) }

// hottest is the partition whose move makes the two most alike, with what is given
// in exchange; nil if none gains enough.
func (p *plan) hottest(from, to *broker, back []*metadata.PartitionState) *metadata.PartitionState {
	var best *metadata.PartitionState
	high := from.load * (loadGain - 1) / loadGain // to be below it
	var less float64
	for _, s := range back {
		less += p.rate(to, s.ID)
	}
	hot := p.in.Loads[from.Incarnation].Hot
	for _, tp := range slices.SortedFunc(maps.Keys(hot), karst.TopicPartition.Compare) {
		s, ok := p.in.Image.Partition(tp)
		if !ok || s.Leader != from.Incarnation || p.moved[tp] || p.pinned(tp) || !p.settled(tp) {
			continue
		}
		after := max(from.load-hot[tp]+less, to.load+hot[tp]-less)
		if len(s.Replicas) > 1 && !slices.Contains(s.Replicas, to.ID) {
			after *= 1.05 // its replicas would change
		}
		if after < high {
			best, high = s, after
		}
	}
	return best
}

// Explain says in lines what a plan rests on and what it does.
func Explain(in Input) []string {
	p := newPlan(in)
	var lines []string
	for _, inc := range slices.Sorted(maps.Keys(p.by)) {
		b := p.by[inc]
		state := "leads"
		switch {
		case in.Leaving[inc]:
			state = "stops, leads"
		case in.drained(b.ID):
			state = "is drained, leads"
		}
		l := in.Loads[inc]
		lines = append(lines, fmt.Sprintf("broker %d (incarnation %d) %s %d partitions, %.2f MB/s in, %.2f MB/s out, %.0f requests/s",
			b.ID, inc, state, b.leads, l.BytesIn/1e6, l.BytesOut/1e6, l.Requests))
	}
	moves := Plan(in)
	for _, m := range moves {
		name := m.Partition.Topic.String()
		if t, ok := in.Image.TopicByID(m.Partition.Topic); ok {
			name = t.Name
		}
		from, to := p.by[m.From], p.by[m.To]
		lines = append(lines, fmt.Sprintf("move %s-%d from broker %d to broker %d: %s", name, m.Partition.Partition, from.ID, to.ID, m.Why))
	}
	if len(moves) == 0 {
		lines = append(lines, "nothing to move: brokers differ by less than what a move is worth")
	}
	return lines
}
