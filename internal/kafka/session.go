package kafka

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/karst-io/karst"
)

// fetchTopic is a topic that a fetch asks for, as it was asked for: by name, or
// by id where the version has ids.
type fetchTopic struct {
	name string
	id   karst.TopicID
}

// fetchPartition is one partition that a fetch asks for.
type fetchPartition struct {
	topic *fetchTopic
	index int32

	// As the client asked last.
	offset   karst.Offset
	maxBytes int32
	current  karst.Epoch // leader epoch the client knows
	last     karst.Epoch // of the last record it has

	// As the client was told last; -1 before, and after an error, so that the
	// first good answer is not taken for an unchanged one.
	toldHigh  karst.Offset
	toldStart karst.Offset

	turn    uint64 // place in the session's order
	ready   bool   // the next fetch has a reason to visit it
	changed bool   // asked anew, or its subscription said so
	at      karst.TopicPartition
	watched bool // at is subscribed to
	visit   int  // its visit in the fetch that goes on; -1 for none
}

// ask takes over what a newer request asks of the same partition.
func (p *fetchPartition) ask(o *fetchPartition) {
	p.offset, p.maxBytes, p.current, p.last = o.offset, o.maxBytes, o.current, o.last
}

// session is a fetch session (KIP-227): what a client is interested in, and what
// it was told. A fetch without a session is served by a session without an id,
// that lives as long as the fetch.
//
// Between begin and end one fetch owns it: only the fields in the first group
// belong to the lock of sessions.
type session struct {
	id      int32 // 0: not in the cache
	epoch   int32 // that the next request must have
	byID    bool
	created time.Time
	used    time.Time
	size    int // partitions, as the cache counts them
	busy    bool
	dead    bool // out of the cache

	incremental bool // the answer leaves out what did not change
	partitions  map[fetchTopic]map[int32]*fetchPartition
	count       int
	turn        uint64            // the last one given
	ready       []*fetchPartition // with ready set, in any order; may hold forgotten ones
	watch       Subscription      // nil until the session has to wait
	watched     map[karst.TopicPartition]*fetchPartition
}

// forgotten is a partition that a request takes out of a session.
type forgotten struct {
	topic fetchTopic
	index int32
}

// add puts a partition at the end of the order. The caller makes sure that it is
// not there yet.
func (s *session) add(p *fetchPartition) {
	s.turn++
	p.turn, p.toldHigh, p.toldStart, p.visit = s.turn, -1, -1, -1
	s.count++
	s.touch(p)
}

// touch gives the next fetch a reason to visit a partition whose state is not
// what the client was told.
func (s *session) touch(p *fetchPartition) {
	p.changed = true
	s.keep(p)
}

// keep makes the next fetch visit p.
func (s *session) keep(p *fetchPartition) {
	if !p.ready {
		p.ready = true
		s.ready = append(s.ready, p)
	}
}

// update applies an incremental request: partitions are added, asked anew, or
// forgotten.
func (s *session) update(asked []fetchPartition, forget []forgotten) {
	if s.partitions == nil {
		s.partitions = make(map[fetchTopic]map[int32]*fetchPartition)
	}
	var of map[int32]*fetchPartition
	var topic *fetchTopic
	for i := range asked {
		o := &asked[i]
		if topic != o.topic {
			topic = o.topic
			if of = s.partitions[*topic]; of == nil {
				of = make(map[int32]*fetchPartition)
				s.partitions[*topic] = of
			}
		}
		if p := of[o.index]; p != nil {
			p.ask(o)
			s.touch(p)
			continue
		}
		of[o.index] = o
		s.add(o)
	}
	for _, f := range forget {
		s.forget(f)
	}
}

func (s *session) forget(f forgotten) {
	of := s.partitions[f.topic]
	p := of[f.index]
	if p == nil {
		return
	}
	delete(of, f.index)
	if len(of) == 0 {
		delete(s.partitions, f.topic)
	}
	s.count--
	s.unwatch(p)
	p.ready = false // inOrder leaves it out
}

// unwatch ends the subscription to a partition.
func (s *session) unwatch(p *fetchPartition) {
	if p.watched {
		p.watched = false
		if s.watched[p.at] == p {
			delete(s.watched, p.at)
			s.watch.Remove(p.at)
		}
	}
}

// watchAt subscribes to the partition that p means now. The caller reads p
// afterwards: what changes from here on is reported.
func (s *session) watchAt(p *fetchPartition, at karst.TopicPartition) {
	if s.watch == nil || (p.watched && p.at == at) {
		return
	}
	s.unwatch(p)
	if s.watched[at] != nil {
		return // a request without a session may name a partition twice
	}
	p.at, p.watched = at, true
	s.watched[at] = p
	s.watch.Add(at)
}

// collect takes what the subscription has to say.
func (s *session) collect() {
	if s.watch == nil {
		return
	}
	for _, at := range s.watch.Take() {
		if p := s.watched[at]; p != nil {
			s.touch(p)
		}
	}
}

// subscribe starts to watch; the partitions are added as they are visited.
func (s *session) subscribe(log Log) {
	s.watch = log.Subscribe()
	s.watched = make(map[karst.TopicPartition]*fetchPartition)
}

// inOrder takes the partitions to visit, in the order of the session. Those that
// stay of interest are put back by keep.
func (s *session) inOrder() []*fetchPartition {
	all := slices.DeleteFunc(s.ready, func(p *fetchPartition) bool { return !p.ready })
	s.ready = nil
	slices.SortFunc(all, func(a, b *fetchPartition) int { return cmp.Compare(a.turn, b.turn) })
	return all
}

// rotate puts p at the end of the order: it had its share.
func (s *session) rotate(p *fetchPartition) {
	s.turn++
	p.turn = s.turn
}

func (s *session) close() {
	if s.watch != nil {
		s.watch.Close()
		s.watch = nil
	}
}

// nextEpoch is the epoch after e; they wrap to 1, because 0 asks for a new
// session.
func nextEpoch(e int32) int32 {
	if e == math.MaxInt32 {
		return 1
	}
	return e + 1
}
