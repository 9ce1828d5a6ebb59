package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/metadata"
)

// fakeLog is a log whose store answers when the test says so.
type fakeLog struct {
	mu      sync.Mutex
	parts   map[karst.TopicPartition]*fakePartition
	flights []*fakeCommit
	nudges  []bool
	reads   []karst.TopicPartition // at their log start
	refuse  bool                   // appends
	broken  map[karst.TopicPartition]error
	hold    chan struct{} // reads wait for it, if there is one
	started karst.Number
	durable karst.Number
	proofs  int        // that were asked for
	proved  chan error // Prove takes its answer here
	batches int
}

type fakePartition struct {
	epoch    karst.Epoch
	batches  []record.Batch
	next, hw karst.Offset
}

type fakeCommit struct {
	part *fakePartition
	end  karst.Offset
	done chan struct{}
	err  error
}

func (c *fakeCommit) Done() <-chan struct{} { return c.done }
func (c *fakeCommit) Err() error            { return c.err }

func newFakeLog() *fakeLog {
	return &fakeLog{
		parts:  map[karst.TopicPartition]*fakePartition{},
		broken: map[karst.TopicPartition]error{},
		proved: make(chan error, 100),
	}
}

func (l *fakeLog) part(tp karst.TopicPartition) *fakePartition {
	p := l.parts[tp]
	if p == nil {
		p = &fakePartition{}
		l.parts[tp] = p
	}
	return p
}

func (l *fakeLog) Append(tp karst.TopicPartition, b []byte) (Commit, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, err := record.Parse(b)
	if err != nil {
		return nil, err
	}
	p := l.part(tp)
	if l.refuse || i.Epoch != p.epoch {
		return nil, karst.NotLeader.Errorf("not led at epoch %d", i.Epoch)
	}
	record.Stamp(b, p.next, i.Epoch)
	i.Base = p.next
	p.batches = append(p.batches, record.Batch{Info: i, Bytes: b})
	p.next = i.Next()
	c := &fakeCommit{part: p, end: p.next, done: make(chan struct{})}
	l.flights = append(l.flights, c)
	l.batches++
	return c, nil
}

func (l *fakeLog) Read(ctx context.Context, tp karst.TopicPartition, r engine.ReadRequest) (*engine.Read, error) {
	l.mu.Lock()
	hold := l.hold
	l.reads = append(l.reads, tp)
	l.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.broken[tp]; err != nil {
		return nil, err
	}
	p := l.part(tp)
	if r.CurrentEpoch != p.epoch {
		return nil, karst.FencedLeaderEpoch.Errorf("epoch %d", r.CurrentEpoch)
	}
	read := &engine.Read{HighWatermark: p.hw}
	for _, b := range p.batches {
		if b.Info.Last() < r.Offset || b.Info.Base >= p.hw {
			continue
		}
		half := len(b.Bytes) / 2 // a part need not be a whole batch
		read.Parts = append(read.Parts, b.Bytes[:half], b.Bytes[half:])
		read.Size += len(b.Bytes)
		if len(read.Parts) == 4 {
			break
		}
	}
	return read, nil
}

func (l *fakeLog) LogStart(karst.TopicPartition) karst.Offset { return 0 }

func (l *fakeLog) Nudge(lazy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nudges = append(l.nudges, lazy)
}

func (l *fakeLog) Started() karst.Number {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.started
}

func (l *fakeLog) Confirmed() karst.Number {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

func (l *fakeLog) Prove(ctx context.Context) error {
	l.set(func() { l.proofs++ })
	select {
	case err := <-l.proved:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle ends the commits of the first n flights; -1 for all.
func (l *fakeLog) settle(n int, err error) {
	l.mu.Lock()
	if n < 0 {
		n = len(l.flights)
	}
	ended := l.flights[:n]
	l.flights = l.flights[n:]
	for _, c := range ended {
		if c.err = err; err == nil {
			c.part.hw = max(c.part.hw, c.end)
		}
	}
	l.mu.Unlock()
	for _, c := range ended {
		close(c.done)
	}
}

// toy is a machine of counters. Each change of one is a record with what it is
// afterwards.
type toy struct {
	counters map[string]int
	parked   map[string][]Ticket
	at       time.Time
	started  bool
	failing  bool // Replay
}

func newToy(int32) *toy {
	return &toy{counters: map[string]int{}, parked: map[string][]Ticket{}}
}

func (m *toy) Replay(r Record) error {
	if m.failing {
		return errors.New("cannot replay")
	}
	if r.Value == nil {
		delete(m.counters, string(r.Key))
		return nil
	}
	n, err := strconv.Atoi(string(r.Value))
	m.counters[string(r.Key)] = n
	return err
}

func (m *toy) Start(time.Time) []Effect { m.started = true; return nil }
func (m *toy) Deadline() time.Time      { return m.at }

func (m *toy) Expire(now time.Time) []Effect {
	m.at = time.Time{}
	return []Effect{m.set("expired", m.counters["expired"]+1)}
}

func (m *toy) set(key string, n int) Effect {
	m.counters[key] = n
	return Effect{Key: key, Records: []Record{{Key: []byte(key), Value: []byte(strconv.Itoa(n))}}}
}

type toyOp = func(m *toy, now time.Time, t Ticket) []Effect

// add adds to a counter and answers what it is then.
func add(key string, n int) toyOp {
	return func(m *toy, _ time.Time, t Ticket) []Effect {
		e := m.set(key, m.counters[key]+n)
		e.Answers = []Answer{{t, m.counters[key]}}
		return []Effect{e}
	}
}

// get answers what a counter is.
func get(key string) toyOp {
	return func(m *toy, _ time.Time, t Ticket) []Effect {
		return []Effect{{Key: key, Answers: []Answer{{t, m.counters[key]}}}}
	}
}

// park waits for unpark.
func park(key string) toyOp {
	return func(m *toy, _ time.Time, t Ticket) []Effect {
		m.parked[key] = append(m.parked[key], t)
		return nil
	}
}

func unpark(key string) toyOp {
	return func(m *toy, _ time.Time, t Ticket) []Effect {
		e := Effect{Key: key, Answers: []Answer{{t, 0}}}
		for _, p := range m.parked[key] {
			e.Answers = append(e.Answers, Answer{p, m.counters[key]})
		}
		delete(m.parked, key)
		return []Effect{e}
	}
}

var toyTopic = karst.TopicID{7}

func part(n int) karst.TopicPartition {
	return karst.TopicPartition{Topic: toyTopic, Partition: karst.Partition(n)}
}

// world is a Runtime over a fakeLog, and the metadata it follows.
type world struct {
	*Runtime[*toy]
	t      *testing.T
	log    *fakeLog
	img    *metadata.Image
	loaded func(m *toy, now time.Time) []Effect // what restart is to give a Runtime
	end    func()                               // Run
}

// newWorld runs a Runtime in the current bubble that leads n partitions, which
// are loaded when it returns unless load is false.
func newWorld(t *testing.T, cfg Config, n int, load bool) *world {
	t.Helper()
	cfg.Topic, cfg.Self = "toys", 1
	w := &world{t: t, log: newFakeLog(), img: metadata.NewImage(karst.ClusterID{1})}
	w.restart(cfg)
	w.change(&metadata.RegisterBroker{Incarnation: 1, Registration: metadata.Registration{ID: 1}})
	create := &metadata.CreateTopic{ID: toyTopic, Name: "toys"}
	for range n {
		create.Partitions = append(create.Partitions, metadata.NewPartition{Leader: 1, Replicas: []karst.BrokerID{1}})
	}
	if !load {
		w.log.hold = make(chan struct{})
	}
	w.log.mu.Lock()
	for p := range n {
		w.log.part(part(p)).epoch = 0
	}
	w.log.mu.Unlock()
	if n > 0 {
		w.change(create)
	}
	synctest.Wait()
	return w
}

// restart makes a new Runtime that knows nothing.
func (w *world) restart(cfg Config) {
	w.Runtime = New(cfg, Deps[*toy]{
		Log: w.log, Decoder: record.NewDecoder(record.NewCodecs(record.Limits{})), New: newToy, Loaded: w.loaded, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Run(ctx)
	}()
	w.end = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
}

func (w *world) change(records ...metadata.Record) {
	w.t.Helper()
	b := metadata.NewBatch(w.img)
	if err := b.Try(records...); err != nil {
		w.t.Fatal(err)
	}
	at := w.img.Position()
	img, d := b.Finish(metadata.Position{Term: 1, Number: at.Number + 1}, 0)
	w.img = img
	w.log.mu.Lock()
	for p := range img.PartitionsOf(toyTopic) {
		w.log.part(p.ID).epoch = p.Epoch
	}
	w.log.mu.Unlock()
	w.Apply(img, d)
}

// waiting is a Call that is waited for.
type waiting struct {
	done chan struct{}
	body any
	err  error
}

func (w *world) do(p int32, fresh bool, op toyOp) *waiting {
	w.t.Helper()
	c, err := w.Do(p, fresh, op)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.wait(w.t.Context(), c)
}

func (w *world) wait(ctx context.Context, c *Call) *waiting {
	a := &waiting{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.body, a.err = c.Wait(ctx)
	}()
	synctest.Wait()
	return a
}

// state is what became of a call: "waits", its error's code or its body.
func (a *waiting) state() any {
	synctest.Wait()
	select {
	case <-a.done:
	default:
		return "waits"
	}
	if a.err != nil {
		return codeOf(a.err)
	}
	return a.body
}

func codeOf(err error) any {
	if k, ok := errors.AsType[*karst.Error](err); ok {
		return k.Code
	}
	return err
}

func (w *world) expect(what string, a *waiting, want any) {
	w.t.Helper()
	if got := a.state(); got != want {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// refused is the code with which an operation is refused.
func (w *world) refused(p int32, op toyOp) any {
	_, err := w.Do(p, false, op)
	return codeOf(err)
}

// store gathers, and makes all durable.
func (w *world) store() {
	w.Gather()
	w.log.settle(-1, nil)
	synctest.Wait()
}

// idle checks that nothing is left behind.
func (w *world) idle() {
	w.t.Helper()
	synctest.Wait()
	if s := w.Stats(); s.Calls != 0 || s.PendingBytes != 0 {
		w.t.Errorf("%d calls and %d bytes are left", s.Calls, s.PendingBytes)
	}
}

func (l *fakeLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.batches
}

func (l *fakeLog) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

func (l *fakeLog) readOf() []karst.TopicPartition {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.reads)
}
