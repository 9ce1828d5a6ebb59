package flush

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/object"
)

var topicA, topicB = karst.TopicID{1}, karst.TopicID{2}

func at(t karst.TopicID, p karst.Partition) karst.TopicPartition {
	return karst.TopicPartition{Topic: t, Partition: p}
}

// world is a metadata log in memory, a bucket and a WAL, around one flusher.
type world struct {
	t     testing.TB
	data  *mem.Store
	put   store.Writer
	chunk *chunk.Pool

	mu      sync.Mutex
	img     *metadata.Image
	number  karst.Number
	offered []metadata.CommitRequest
	// answer, if set, stands between the flusher and the metadata log: it calls
	// commit or not, and answers.
	answer func(r metadata.CommitRequest, commit func() error) error
	asked  map[karst.TopicPartition][]bool // full or not, by checkpoint
	state  []byte
	// unreadable are the partitions whose producers cannot be read.
	unreadable map[karst.TopicPartition]bool
	starts     map[karst.TopicPartition]karst.Offset

	wal   karst.Number
	next  map[karst.TopicPartition]karst.Offset
	epoch karst.Epoch
	holds int
	f     *Flusher
}

func newWorld(t testing.TB, c Config) *world {
	w := &world{
		t: t, data: mem.New("t"), chunk: chunk.NewPool(0), img: metadata.NewImage(karst.ClusterID{9}),
		asked: map[karst.TopicPartition][]bool{}, state: []byte("state"),
		starts: map[karst.TopicPartition]karst.Offset{}, next: map[karst.TopicPartition]karst.Offset{},
	}
	w.put = w.data
	w.must(&metadata.RegisterBroker{Incarnation: 1}, &metadata.RegisterBroker{Incarnation: 2, Registration: metadata.Registration{ID: 1}})
	for name, id := range map[string]karst.TopicID{"a": topicA, "b": topicB} {
		np := metadata.NewPartition{Leader: 1}
		w.must(&metadata.CreateTopic{ID: id, Name: name, Partitions: []metadata.NewPartition{np, np, np}})
	}
	w.f = New(c, Deps{
		Cluster: karst.ClusterID{9}, Incarnation: 1, Partitions: w, Committer: w, Data: w, Chunks: w.chunk,
		Image: func() Image { return w.image() },
	})
	return w
}

func (w *world) image() *metadata.Image {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.img
}

func (w *world) apply(rs ...metadata.Record) error {
	w.mu.Lock()
	b := metadata.NewBatch(w.img)
	err := b.Try(rs...)
	var d *metadata.Delta
	if err == nil {
		w.number++
		w.img, d = b.Finish(metadata.Position{Term: 1, Number: w.number}, 0)
	}
	img := w.img
	w.mu.Unlock()
	if err == nil && w.f != nil {
		w.f.Observe(img, d)
	}
	return err
}

func (w *world) must(rs ...metadata.Record) {
	w.t.Helper()
	if err := w.apply(rs...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) Commit(_ context.Context, r metadata.CommitRequest) error {
	w.mu.Lock()
	w.offered = append(w.offered, r)
	answer := w.answer
	w.mu.Unlock()
	commit := func() error { return w.apply(&r) }
	if answer != nil {
		return answer(r, commit)
	}
	return commit()
}

func (w *world) Put(ctx context.Context, name string, body store.Body) error {
	if store.CallerOf(ctx) != store.CallerFlush {
		w.t.Errorf("Put on behalf of %v", store.CallerOf(ctx))
	}
	return w.put.Put(ctx, name, body)
}

func (w *world) Checkpoint(ctx context.Context, tp karst.TopicPartition, _ karst.Offset, full bool) ([]byte, bool) {
	w.mu.Lock()
	w.asked[tp] = append(w.asked[tp], full)
	state, hangs := w.state, w.unreadable[tp] && full
	w.mu.Unlock()
	if hangs { // as reads of a store that does not answer
		<-ctx.Done()
		return nil, false
	}
	return state, full
}

func (w *world) LogStart(tp karst.TopicPartition) karst.Offset {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.starts[tp]
}

// hold counts the memory the flusher has.
type hold struct{ w *world }

func (h hold) Retain() { panic("not used") }
func (h hold) Release() {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.w.holds--
}

// batch is one batch of size bytes.
type sized struct {
	tp   karst.TopicPartition
	size int32
}

// add makes a WAL segment of batches and trims durable.
func (w *world) add(trims []segment.Trim, batches ...sized) {
	w.t.Helper()
	w.wal++
	var in []segment.Batch
	for _, b := range batches {
		base := w.next[b.tp]
		w.next[b.tp] = base + 2
		in = append(in, segment.Batch{Partition: b.tp, Bytes: content(b.tp, base, b.size), Info: record.Info{
			Base: base, LastDelta: 1, Count: 2, Size: b.size, Epoch: w.epoch, MaxTimestamp: karst.Timestamp(base),
			Producer: karst.NoProducer, ProducerEpoch: -1, BaseSequence: -1, Marker: record.NoMarker, CoordinatorEpoch: -1,
		}})
	}
	o := metadata.ObjectID{Kind: metadata.WALObject, Writer: 1, Number: w.wal}
	h := object.Header{Kind: object.Segment, Cluster: karst.ClusterID{9}, Writer: 1, Number: uint64(w.wal)}
	built, err := segment.Build(h, in, trims, nil, 4<<20, func(n int) []byte { return make([]byte, n) })
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.data.Put(w.t.Context(), o.Name(), built.Body); err != nil {
		w.t.Fatal(err)
	}
	s := &wal.Segment{Number: w.wal, Size: built.Size, Trims: trims}
	for i, sl := range built.Directory.Slices {
		s.Slices = append(s.Slices, wal.Slice{Slice: sl, Entries: built.Indexes[i], Bytes: built.Batches[i], Hold: hold{w}})
		w.mu.Lock()
		w.holds++
		w.mu.Unlock()
	}
	w.f.Add(s)
}

func content(tp karst.TopicPartition, base karst.Offset, size int32) []byte {
	b := bytes.Repeat([]byte{byte(base) ^ byte(tp.Partition)<<6}, int(size))
	copy(b, fmt.Sprintf("%v@%d", tp, base))
	return b
}

// check reads a partition back through its manifest, and compares.
func (w *world) check(tp karst.TopicPartition, sizes ...int32) *metadata.PartitionState {
	w.t.Helper()
	p, ok := w.image().Partition(tp)
	if !ok {
		w.t.Fatalf("no partition %v", tp)
	}
	if err := w.image().CheckInvariants(); err != nil {
		w.t.Error(err)
	}
	var got int
	for _, s := range p.Sources {
		es, err := segment.ReadIndex(w.t.Context(), w.data, s.Object.Name(), s.Index, s.IndexCheck)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range es {
			b := make([]byte, e.Info.Size)
			if _, err := w.data.Get(w.t.Context(), s.Object.Name(), e.Pos, b); err != nil {
				w.t.Fatal(err)
			}
			if !bytes.Equal(b, content(tp, e.Info.Base, e.Info.Size)) {
				w.t.Errorf("%v: batch %d is not what was written", tp, e.Info.Base)
			}
			if got >= len(sizes) || sizes[got] != e.Info.Size {
				w.t.Errorf("%v: batch %d has %d bytes, want %v", tp, got, e.Info.Size, sizes)
			}
			got++
		}
	}
	if got != len(sizes) {
		w.t.Errorf("%v: %d batches in the manifest, want %d", tp, got, len(sizes))
	}
	return p
}

// run runs the flusher until the function it returns is called, which gives
// what Run returned.
func (w *world) run() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.f.Run(ctx) }()
	return func() error { cancel(); return <-done }
}

func (w *world) flush() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := w.f.Flush(ctx); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait() // what was flushed is let go after Flush is told
}

var errLost = errors.New("connection reset")
