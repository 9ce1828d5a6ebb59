package reap

import (
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

func TestExpired(t *testing.T) {
	const now = 1000
	part := func(ts ...karst.Timestamp) *metadata.PartitionState {
		p := &metadata.PartitionState{}
		for i, ts := range ts {
			b := karst.Offset(i * 10)
			p.Sources = append(p.Sources, metadata.Source{Base: b, Last: b + 9, MaxTimestamp: ts, Data: karst.Span{Len: 100}})
			p.End = b + 10
		}
		return p
	}
	from := func(start karst.Offset, p *metadata.PartitionState) *metadata.PartitionState {
		p.LogStart = start
		return p
	}
	for name, c := range map[string]struct {
		p         *metadata.PartitionState
		ms, bytes int64
		want      karst.Offset
	}{
		"no limits":                     {part(1, 2, 3), -1, -1, 0},
		"exactly as old stays":          {part(900, 950), 100, -1, 0},
		"older goes":                    {part(899, 950), 100, -1, 10},
		"only leading ones":             {part(899, 950, 1), 100, -1, 10},
		"the future blocks":             {part(5000, 1, 1), 100, -1, 0},
		"all":                           {part(1, 2, 3), 100, -1, 30},
		"no timestamp goes with later":  {part(1, -1, 3, 950), 100, -1, 30},
		"no timestamp stays with later": {part(1, -1, 950), 100, -1, 10},
		"no timestamps at all":          {part(-1, -1), 0, -1, 0},
		"zero ms":                       {part(1, 1000), 0, -1, 10},
		"size keeps at least bytes":     {part(1, 2, 3), -1, 150, 10},
		"size exactly":                  {part(1, 2, 3), -1, 200, 10},
		"size more":                     {part(1, 2, 3), -1, 201, 0},
		"size zero":                     {part(1, 2, 3), -1, 0, 30},
		"both":                          {part(1, 999, 999, 999), 100, 100, 30},
		"what is gone blocks nothing":   {from(10, part(5000, 1, 950)), 100, -1, 20},
		"nor does it count":             {from(10, part(1, 950)), 100, -1, 10},
		"all is gone":                   {from(10, part(1)), 100, 0, 10},
	} {
		if got := expired(c.p, time.UnixMilli(now), c.ms, c.bytes); got != c.want {
			t.Errorf("%s: log start %d, want %d", name, got, c.want)
		}
	}
}

func TestRetainIsBoundedAndGoesOn(t *testing.T) {
	w := newWorld(t)
	id := karst.TopicID{8}
	np := make([]metadata.NewPartition, startsMax+5)
	for i := range np {
		np[i].Leader = 1
	}
	w.must(&metadata.CreateTopic{ID: id, Name: "wide", Partitions: np})
	c := commit(1, 1, 1, 0)
	for i := range np {
		tp := karst.TopicPartition{Topic: id, Partition: karst.Partition(i)}
		s := src(segObject(1, 1), 0, 9)
		s.MaxTimestamp = 1
		c.Ranges = append(c.Ranges, rng(w, tp, s))
	}
	w.must(c)
	r := w.reaper(Config{}, 1)
	r.d.Retention = func(tp karst.TopicPartition) (int64, int64, bool) { return 100, -1, tp.Partition != 3 }
	if !r.retain(time.Now()) || len(w.wishes) != startsMax {
		t.Fatalf("%d log starts in one cycle", len(w.wishes))
	}
	if r.retain(time.Now()) || len(w.wishes) != startsMax+4 {
		t.Errorf("%d log starts in two cycles", len(w.wishes))
	}
	// Of another leader: nothing.
	w.wishes = map[karst.TopicPartition]karst.Offset{}
	o := New(Config{}, r.d)
	o.d.Incarnation = 2
	if o.retain(time.Now()) || len(w.wishes) != 0 {
		t.Errorf("%d log starts of partitions led by another", len(w.wishes))
	}
}
