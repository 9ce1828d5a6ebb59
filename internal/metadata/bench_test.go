package metadata

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/karst-io/karst"
)

// largeImage has 100 topics of n/100 partitions, each with per sources in
// segments shared by 1,000 partitions.
func largeImage(tb testing.TB, n, per int) *Image {
	tb.Helper()
	b := NewBatch(NewImage(karst.ClusterID{1}))
	must(tb, b.Try(&RegisterBroker{Incarnation: 1}))
	for topic := range 100 {
		r := &CreateTopic{ID: topicID(topic + 1), Name: fmt.Sprint("topic-", topic), ReplicationFactor: 1}
		for range n / 100 {
			r.Partitions = append(r.Partitions, NewPartition{Leader: 1, Replicas: []karst.BrokerID{0}})
		}
		must(tb, b.Try(r))
	}
	for k := range per {
		r := &CommitRequest{Incarnation: 1, Request: uint64(k + 1), Settled: Settled{Request: uint64(k)}}
		i := 0
		for p := range b.Image().Partitions() {
			o := seg(1, k*1000+i/1000+1)
			r.Ranges = append(r.Ranges, Range{Partition: p.ID, Start: p.End, End: p.End + 10, Sources: []Source{source(o, p.End, p.End+9)}})
			i++
		}
		must(tb, b.Try(r))
	}
	img, _ := b.Finish(Position{Term: 1, Number: 1}, 1)
	return img
}

func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		img := largeImage(b, 100_000, 10)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "B/source")
		runtime.KeepAlive(img)
	}
}

// BenchmarkCommit changes 1,000 of 100,000 partitions: apply, encode, decode.
func BenchmarkCommit(b *testing.B) {
	img := largeImage(b, 100_000, 10)
	c := &Commit{Position: Position{Term: 1, Number: 2}, Predecessor: 1}
	r := &CommitRequest{Incarnation: 1, Request: 1000}
	i := 0
	for p := range img.Partitions() {
		if i++; i%100 == 0 {
			r.Ranges = append(r.Ranges, Range{Partition: p.ID, Start: p.End, End: p.End + 10, Sources: []Source{source(seg(1, 1<<20), p.End, p.End+9)}})
		}
	}
	c.Records = []Record{r}
	payload, check := EncodeCommit(c)
	b.Run("apply", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := Apply(img, c, check); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(payload)))
		for b.Loop() {
			EncodeCommit(c)
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := DecodeCommit("c", payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSnapshot is of 1,000,000 sources.
func BenchmarkSnapshot(b *testing.B) {
	img := largeImage(b, 100_000, 10)
	payload := EncodeSnapshot(img)
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(len(payload)))
		for b.Loop() {
			EncodeSnapshot(img)
		}
		b.ReportMetric(float64(len(payload))/1e6, "B/source")
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := DecodeSnapshot("s", img.cluster, payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}
