package reap

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/object"
)

var topic = karst.TopicID{1}

func at(p karst.Partition) karst.TopicPartition {
	return karst.TopicPartition{Topic: topic, Partition: p}
}

func walObject(inc karst.Incarnation, n karst.Number) metadata.ObjectID {
	return metadata.ObjectID{Kind: metadata.WALObject, Writer: inc, Number: n}
}

func segObject(inc karst.Incarnation, n karst.Number) metadata.ObjectID {
	return metadata.ObjectID{Kind: metadata.SegObject, Writer: inc, Number: n}
}

// world is a metadata log and a bucket.
type world struct {
	t      testing.TB
	data   *mem.Store
	img    *metadata.Image
	number karst.Number
	all    []*Reaper // that observe
	wishes map[karst.TopicPartition]karst.Offset
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, data: mem.New("t"), img: metadata.NewImage(karst.ClusterID{9}), wishes: map[karst.TopicPartition]karst.Offset{}}
	w.must(&metadata.RegisterBroker{Incarnation: 1})
	w.must(&metadata.CreateTopic{ID: topic, Name: "t", Partitions: make([]metadata.NewPartition, 3)})
	w.must(&metadata.PlaceLeaders{Placements: []metadata.Placement{{Partition: at(0), Leader: 1}, {Partition: at(1), Leader: 1}, {Partition: at(2), Leader: 1}}})
	return w
}

func (w *world) reaper(c Config, inc karst.Incarnation) *Reaper {
	r := New(c, Deps{
		Incarnation: inc, Data: w.data, LogStarts: w,
		Image:     func() Image { return w.img },
		Retention: func(karst.TopicPartition) (int64, int64, bool) { return -1, -1, true },
	})
	w.all = append(w.all, r)
	return r
}

func (w *world) SetLogStart(tp karst.TopicPartition, o karst.Offset) { w.wishes[tp] = o }

func (w *world) apply(rs ...metadata.Record) error {
	b := metadata.NewBatch(w.img)
	if err := b.Try(rs...); err != nil {
		return err
	}
	w.number++
	img, d := b.Finish(metadata.Position{Term: 5, Number: w.number}, 0)
	w.img = img
	for _, r := range w.all {
		r.Observe(img, d)
	}
	return nil
}

func (w *world) must(rs ...metadata.Record) {
	w.t.Helper()
	if err := w.apply(rs...); err != nil {
		w.t.Fatal(err)
	}
}

// put stores an object of a kind with a payload of n bytes.
func (w *world) put(name string, kind object.Kind, n int) {
	w.t.Helper()
	b := object.Header{Kind: kind, Length: int64(n)}.Append(nil)
	if err := w.data.Put(context.Background(), name, store.Bytes(append(b, make([]byte, n)...))); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) segment(o metadata.ObjectID) { w.put(o.Name(), object.Segment, 10) }

func (w *world) has(name string) bool {
	_, err := w.data.Head(context.Background(), name)
	return err == nil
}

func (w *world) names() (all []string) {
	for i, err := range w.data.List(context.Background(), "", "") {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, i.Name)
	}
	return all
}

func (w *world) want(names ...string) {
	w.t.Helper()
	slices.Sort(names)
	if got := w.names(); !slices.Equal(got, names) {
		w.t.Errorf("the bucket holds %q, want %q", got, names)
	}
}

func src(o metadata.ObjectID, base, last karst.Offset) metadata.Source {
	return metadata.Source{Object: o, Base: base, Last: last, Data: karst.Span{Pos: 96, Len: 10}}
}

// commit is a commit request of incarnation inc that settles all before it.
func commit(inc karst.Incarnation, request uint64, settled, trim karst.Number, ranges ...metadata.Range) *metadata.CommitRequest {
	return &metadata.CommitRequest{
		Incarnation: inc, Request: request, WALTrim: trim, Ranges: ranges,
		Settled: metadata.Settled{Request: request - 1, Counter: settled},
	}
}

func rng(w *world, tp karst.TopicPartition, sources ...metadata.Source) metadata.Range {
	p, ok := w.img.Partition(tp)
	if !ok {
		panic(fmt.Sprintf("no %v", tp))
	}
	return metadata.Range{Partition: tp, Epoch: p.Epoch, Start: p.End, End: sources[len(sources)-1].Last + 1, Sources: sources}
}
