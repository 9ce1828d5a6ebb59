package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/object"
)

// past gives every partition a history of so many flushed segments: entries of
// the manifest, in a snapshot. Of the objects only the checkpoint is there, which
// they share.
func (w *World) past(t *testing.T, segments int) {
	t.Helper()
	const records = 1000 // of a partition in a segment
	ctx := context.Background()
	cluster, err := metadata.OpenCluster(ctx, w.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	r := metadata.NewReplica(w.Bucket, cluster)
	if err := r.Load(ctx); err != nil {
		t.Fatal(err)
	}
	end := karst.Offset(segments * records)
	seg := func(n int) metadata.ObjectID {
		return metadata.ObjectID{Kind: metadata.SegObject, Writer: 1, Number: karst.Number(1000 + n)}
	}
	state := append([]byte("KPST\x01\x01\x00\x00"), make([]byte, 12)...)
	binary.BigEndian.PutUint64(state[8:], uint64(end))
	state = binary.BigEndian.AppendUint32(state, object.Checksum(state))
	if err := w.Bucket.Put(ctx, seg(segments).Name(), store.Bytes(state)); err != nil {
		t.Fatal(err)
	}
	req := &metadata.CommitRequest{Incarnation: 1, Request: 1000}
	for p := range r.Image().Partitions() {
		rg := metadata.Range{
			Partition: p.ID, Epoch: p.Epoch, Start: p.End, End: end,
			State: &metadata.StateRef{Object: seg(segments), At: karst.Span{Len: int64(len(state))}, Full: true, Next: end},
		}
		for n := range segments {
			pos := int64(p.ID.Partition) << 20
			rg.Sources = append(rg.Sources, metadata.Source{
				Object: seg(n), Base: karst.Offset(n * records), Last: karst.Offset(n*records + records - 1),
				Data: karst.Span{Pos: pos, Len: 1 << 20}, Index: karst.Span{Pos: 1<<30 + pos, Len: 1 << 10}, IndexCheck: uint32(n),
				MaxTimestamp: karst.Timestamp(n), MaxTimestampOffset: -1,
			})
		}
		req.Ranges = append(req.Ranges, rg)
	}
	b := metadata.NewBatch(r.Image())
	if err := b.Try(req); err != nil {
		t.Fatal(err)
	}
	at := r.Image().Position()
	at.Number++
	img, _ := b.Finish(at, 1)
	size, err := metadata.WriteSnapshot(ctx, w.Bucket, img)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d segments × %d partitions: a snapshot of %d KiB", segments, img.PartitionCount(), size>>10)
}

// cost is what a start takes of the store.
type cost struct {
	requests int64 // the probe's aside
	chain    int64 // one after the other
}

func (c cost) String() string {
	return fmt.Sprintf("%d requests, %d one after the other", c.requests, c.chain)
}

// startCost starts a broker on a store on which every request takes as long as
// any other, and says what that takes until it serves, and until it acknowledges
// the first record.
func (w *World) startCost(t *testing.T, topic *topic) (serving, acknowledging cost) {
	t.Helper()
	const latency = time.Second // so long that nothing else counts
	p := w.Start(1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(latency)})
	began := time.Now()
	so := func() cost {
		return cost{p.requests(), int64((time.Since(began) + latency/2) / latency)}
	}
	for p.Broker.Image() == nil {
		time.Sleep(time.Millisecond)
	}
	serving = so()
	l, err := w.connect(address(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	c := l.send(w.encoded(topic, 0, -1, 0, 1, 100))
	<-c.done
	if err := producedOK(c); err != nil {
		t.Error(err)
	}
	acknowledging = so()
	p.Store.Heal()
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	return serving, acknowledging
}

// TestStartIsAHandful is P11: fewer than 15 requests one after the other, with
// 1 GB and with 100 GB in flushes of 64 MiB.
func TestStartIsAHandful(t *testing.T) {
	var before cost // to the first acknowledgement
	for _, segments := range []int{16, 1600} {
		bubble(t, 1, func(w *World) {
			big(w)
			p, topic := ready(w, 100)
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			w.past(t, segments)
			serving, first := w.startCost(t, topic)
			t.Logf("%d GB: serving after %v, first acknowledgement after %v", segments/16, serving, first)
			if first.chain >= 15 {
				t.Errorf("P11: %d requests one after the other, fewer than 15 wanted", first.chain)
			}
			// One more or less is the order in which goroutines run.
			if before.requests > 0 && (first.requests > before.requests+1 || first.chain > before.chain+1) {
				t.Errorf("with less data it took %v", before)
			}
			before = first
		})
	}
}

// TestStartAfterACrash bounds what a start takes that adopts 60 MB in small WAL
// objects which were never flushed (P11): one request for each of them (and hedges),
// and one for each that producers' state is rebuilt from, all in parallel.
func TestStartAfterACrash(t *testing.T) {
	bubble(t, 1, func(w *World) {
		big(w)
		p, topic := ready(w, 8)
		w.openLoop(topic, 30*time.Second)
		live, _ := p.Broker.Image().LiveBroker(1)
		objects := p.Store.Requests(store.OpCreate, store.CallerWAL) - int64(live.Trim)
		p.Crash()
		_ = p.Wait()
		serving, first := w.startCost(t, topic)
		t.Logf("%d WAL objects: serving after %v, first acknowledgement after %v", objects, serving, first)
		if serving.requests > objects*3/2 || first.chain >= 15 {
			t.Errorf("%d WAL objects: at most one and a half requests each, and fewer than 15 one after the other", objects)
		}
	})
}
