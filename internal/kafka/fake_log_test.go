package kafka

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// fakeLog is a Log of batches in memory, whose tests say what is durable, what
// is in segments, and how slow those are.
type fakeLog struct {
	manual bool // commits are done by the test

	mu      sync.Mutex
	parts   map[karst.TopicPartition]*fakePartition
	subs    map[*fakeSub]struct{}
	commits []*fakeCommit
	held    atomic.Int64 // holds on reads
	appends int
	fail    map[karst.TopicPartition]error
}

type fakePartition struct {
	batches  []fakeBatch
	start    karst.Offset
	next     karst.Offset
	high     karst.Offset
	stable   karst.Offset // -1: high
	cold     bool         // batches are in segments
	block    chan struct{}
	coldTime time.Duration
	aborted  []engine.Aborted
	epoch    karst.Epoch

	producers []engine.ProducerState
}

type fakeBatch struct {
	base, next karst.Offset
	bytes      []byte
}

type fakeCommit struct {
	done chan struct{}
	err  error
	then func()
}

func (c *fakeCommit) Done() <-chan struct{} { return c.done }
func (c *fakeCommit) Err() error            { return c.err }

func newFakeLog() *fakeLog {
	return &fakeLog{
		parts: make(map[karst.TopicPartition]*fakePartition),
		subs:  make(map[*fakeSub]struct{}),
		fail:  make(map[karst.TopicPartition]error),
	}
}

func (l *fakeLog) at(tp karst.TopicPartition) *fakePartition {
	p := l.parts[tp]
	if p == nil {
		p = &fakePartition{stable: -1}
		l.parts[tp] = p
	}
	return p
}

// with changes a partition and tells the subscribers.
func (l *fakeLog) with(tp karst.TopicPartition, f func(p *fakePartition)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.at(tp))
	l.notify(tp)
}

func (l *fakeLog) notify(tp karst.TopicPartition) {
	for s := range l.subs {
		if s.watched[tp] {
			s.mark(tp)
		}
	}
}

// put appends a durable batch of n bytes with one record.
func (l *fakeLog) put(tp karst.TopicPartition, n int) {
	l.with(tp, func(p *fakePartition) {
		b := make([]byte, max(n, 8))
		binary.BigEndian.PutUint64(b, uint64(p.next))
		p.batches = append(p.batches, fakeBatch{p.next, p.next + 1, b})
		p.next++
		p.high = p.next
	})
}

func (l *fakeLog) Append(_ context.Context, tp karst.TopicPartition, b []byte, hold store.Holder) (Appended, error) {
	info, err := record.Parse(b)
	if err != nil {
		return Appended{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fail[tp]; err != nil {
		return Appended{}, err
	}
	l.appends++
	p := l.at(tp)
	kept := slices.Clone(b)
	record.Stamp(kept, p.next, p.epoch)
	base := p.next
	p.next += karst.Offset(info.Count)
	p.batches = append(p.batches, fakeBatch{base, p.next, kept})
	high := p.next
	c := &fakeCommit{done: make(chan struct{}), then: func() {
		p.high = high
		l.notify(tp)
	}}
	a := Appended{Base: base, Timestamp: karst.NoTimestamp, LogStart: p.start, Commit: c}
	if l.manual {
		l.commits = append(l.commits, c)
		return a, nil
	}
	c.then()
	close(c.done)
	return a, nil
}

// settle ends all commits.
func (l *fakeLog) settle(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.commits {
		if c.err = err; err == nil {
			c.then()
		}
		close(c.done)
	}
	l.commits = nil
}

type fakeHold struct{ n *atomic.Int64 }

func (h fakeHold) Retain()  { h.n.Add(1) }
func (h fakeHold) Release() { h.n.Add(-1) }

func (l *fakeLog) ReadMemory(tp karst.TopicPartition, r engine.ReadRequest) (*engine.Read, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read(tp, r, false)
}

func (l *fakeLog) Read(ctx context.Context, tp karst.TopicPartition, r engine.ReadRequest) (*engine.Read, error) {
	l.mu.Lock()
	p := l.at(tp)
	block, delay := p.block, p.coldTime
	l.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	read, _, err := l.read(tp, r, true)
	return read, err
}

func (l *fakeLog) read(tp karst.TopicPartition, r engine.ReadRequest, segments bool) (*engine.Read, bool, error) {
	if err := l.fail[tp]; err != nil {
		return nil, false, err
	}
	p := l.at(tp)
	if err := p.check(r.CurrentEpoch); err != nil {
		return nil, false, err
	}
	if r.Offset < p.start || r.Offset > p.next {
		return nil, false, karst.OffsetOutOfRange.Err()
	}
	out := &engine.Read{HighWatermark: p.high, LastStable: p.high, LogStart: p.start}
	if p.stable >= 0 {
		out.LastStable = p.stable
	}
	out.Hold(fakeHold{&l.held})
	l.held.Add(1)
	limit := out.HighWatermark
	if r.Committed {
		limit, out.Aborted = out.LastStable, p.aborted
	}
	if r.LastFetched != karst.NoEpoch && r.LastFetched > p.epoch {
		out.Diverging = &engine.EpochEnd{Epoch: p.epoch, End: p.next}
		return out, false, nil
	}
	if p.cold && !segments {
		return out, r.Offset < limit && (r.MaxBytes > 0 || r.AtLeastOne), nil
	}
	for _, b := range p.batches {
		if b.next <= r.Offset || b.base >= limit {
			continue
		}
		if out.Size+len(b.bytes) > r.MaxBytes && (out.Size > 0 || !r.AtLeastOne) {
			break
		}
		out.Parts = append(out.Parts, b.bytes)
		out.Size += len(b.bytes)
	}
	return out, false, nil
}

func (p *fakePartition) check(current karst.Epoch) error {
	switch {
	case current == karst.NoEpoch || current == p.epoch:
		return nil
	case current < p.epoch:
		return karst.FencedLeaderEpoch.Err()
	}
	return karst.UnknownLeaderEpoch.Err()
}

func (l *fakeLog) ListOffset(ctx context.Context, tp karst.TopicPartition, at karst.Timestamp, current karst.Epoch, committed bool) (engine.Found, error) {
	l.mu.Lock()
	p := l.at(tp)
	block := p.block
	err := cmp.Or(l.fail[tp], p.check(current))
	high, start, stable := p.high, p.start, p.stable
	l.mu.Unlock()
	if err != nil {
		return engine.Found{}, err
	}
	switch {
	case at == engine.Latest && committed && stable >= 0:
		return engine.Found{Offset: stable, Timestamp: -1}, nil
	case at == engine.Latest:
		return engine.Found{Offset: high, Timestamp: -1}, nil
	case at == engine.Earliest:
		return engine.Found{Offset: start, Timestamp: -1}, nil
	case at >= 0 && block != nil:
		select {
		case <-block:
		case <-ctx.Done():
			return engine.Found{}, ctx.Err()
		}
	}
	return engine.Found{Offset: -1, Timestamp: -1, Epoch: -1}, nil
}

func (l *fakeLog) EpochEnd(tp karst.TopicPartition, current, want karst.Epoch) (engine.EpochEnd, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.at(tp)
	if err := cmp.Or(l.fail[tp], p.check(current)); err != nil {
		return engine.EpochEnd{}, err
	}
	if want > p.epoch {
		return engine.EpochEnd{Epoch: -1, End: -1}, nil
	}
	return engine.EpochEnd{Epoch: p.epoch, End: p.next}, nil
}

func (l *fakeLog) DeleteRecords(tp karst.TopicPartition, before karst.Offset) (karst.Offset, Commit, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.at(tp)
	if err := l.fail[tp]; err != nil {
		return 0, nil, err
	}
	if before == -1 {
		before = p.high
	}
	if before > p.high {
		return 0, nil, karst.OffsetOutOfRange.Err()
	}
	c := &fakeCommit{done: make(chan struct{}), then: func() { p.start = max(p.start, before) }}
	l.commits = append(l.commits, c)
	if !l.manual {
		c.then()
		close(c.done)
		l.commits = nil
	}
	return before, c, nil
}

func (l *fakeLog) Producers(_ context.Context, tp karst.TopicPartition) ([]engine.ProducerState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(tp).producers, l.fail[tp]
}

func (l *fakeLog) Size(tp karst.TopicPartition) (n int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.at(tp).batches {
		n += int64(len(b.bytes))
	}
	return n, l.fail[tp]
}

// fakeSub is a Subscription of fakeLog.
type fakeSub struct {
	l       *fakeLog
	watched map[karst.TopicPartition]bool
	changed map[karst.TopicPartition]bool
	wake    chan struct{}
}

func (l *fakeLog) Subscribe() Subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &fakeSub{l: l, watched: map[karst.TopicPartition]bool{}, changed: map[karst.TopicPartition]bool{}, wake: make(chan struct{}, 1)}
	l.subs[s] = struct{}{}
	return s
}

func (s *fakeSub) mark(tp karst.TopicPartition) {
	s.changed[tp] = true
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *fakeSub) Add(tp karst.TopicPartition) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.watched[tp] = true
	s.mark(tp)
}

func (s *fakeSub) Remove(tp karst.TopicPartition) {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	delete(s.watched, tp)
	delete(s.changed, tp)
}

func (s *fakeSub) Wait() <-chan struct{} { return s.wake }

func (s *fakeSub) Take() []karst.TopicPartition {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	select {
	case <-s.wake:
	default:
	}
	var all []karst.TopicPartition
	for tp := range s.changed {
		all = append(all, tp)
	}
	clear(s.changed)
	return all
}

func (s *fakeSub) Close() {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	delete(s.l.subs, s)
}

func (l *fakeLog) subscriptions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.subs)
}

// fixedImages is an Images whose image a test replaces.
type fixedImages struct {
	img atomic.Pointer[metadata.Image]
}

func (f *fixedImages) Image() *metadata.Image { return f.img.Load() }

func (f *fixedImages) apply(t *testing.T, records ...metadata.Record) {
	t.Helper()
	b := metadata.NewBatch(f.img.Load())
	if err := b.Try(records...); err != nil {
		t.Fatal(err)
	}
	img, _ := b.Finish(metadata.Position{Term: 1, Number: f.img.Load().Position().Number + 1}, 0)
	f.img.Store(img)
}

// dataWorld is what the data APIs need, without a network.
type dataWorld struct {
	t      *testing.T
	log    *fakeLog
	images *fixedImages
	server *Server
}

const (
	selfInc  karst.Incarnation = 1 // broker 1, this one
	otherInc karst.Incarnation = 2 // broker 2, in rack r2
)

var (
	topicT = karst.TopicID{1}
	topicU = karst.TopicID{2}
	topicI = karst.TopicID{3} // internal
	topicC = karst.TopicID{4} // compacted only
)

func newDataWorld(t *testing.T) *dataWorld {
	w := &dataWorld{t: t, log: newFakeLog(), images: &fixedImages{}}
	w.images.img.Store(metadata.NewImage(karst.ClusterID{9}))
	parts := func(n int, leader karst.Incarnation) []metadata.NewPartition {
		all := make([]metadata.NewPartition, n)
		for i := range all {
			all[i] = metadata.NewPartition{Leader: leader, Replicas: []karst.BrokerID{1}}
		}
		return all
	}
	w.images.apply(t,
		&metadata.RegisterBroker{Incarnation: selfInc, Registration: metadata.Registration{ID: 1, Host: "one", Port: 9092}},
		&metadata.RegisterBroker{Incarnation: otherInc, Registration: metadata.Registration{
			ID: 2, Host: "two", Port: 9093, Rack: "r2", Listeners: []metadata.Endpoint{{Name: "IN", Host: "two", Port: 9093}, {Name: "OUT", Host: "two.out", Port: 1}},
		}},
		&metadata.CreateTopic{ID: topicT, Name: "t", ReplicationFactor: 1, Partitions: parts(8, selfInc)},
		&metadata.CreateTopic{ID: topicU, Name: "u", ReplicationFactor: 1, Partitions: parts(1, otherInc)},
		&metadata.CreateTopic{ID: topicI, Name: "__consumer_offsets", Internal: true, ReplicationFactor: 1, Partitions: parts(1, selfInc)},
		&metadata.CreateTopic{ID: topicC, Name: "c", ReplicationFactor: 1, Configs: map[string]string{"cleanup.policy": "compact"}, Partitions: parts(1, selfInc)},
	)
	w.server = &Server{deps: Deps{Configs: &testCluster{}}, draining: make(chan struct{}), records: newRecords(w.log, w.images, 1, 128<<20)}
	return w
}

// move hands partition p of topic t over.
func (w *dataWorld) move(p int32, to karst.Incarnation) {
	w.t.Helper()
	s, _ := w.images.Image().Partition(tpT(p))
	w.images.apply(w.t, &metadata.CommitRequest{Incarnation: s.Leader, Request: uint64(w.images.Image().Position().Number), Ranges: []metadata.Range{
		{Partition: s.ID, Epoch: s.Epoch, Start: s.End, End: s.End, NewLeader: to},
	}})
}

// end checks that nothing is left behind.
func (w *dataWorld) end() {
	w.t.Helper()
	w.server.records.close()
	if n := w.log.held.Load(); n != 0 {
		w.t.Errorf("%d reads were not released", n)
	}
}

func tpT(p int32) karst.TopicPartition {
	return karst.TopicPartition{Topic: topicT, Partition: karst.Partition(p)}
}
