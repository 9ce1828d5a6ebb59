package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/log/blockcache"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/flush"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/objlog"
)

var (
	cluster = karst.ClusterID{1}
	topic   = karst.TopicID{7}
)

const self = karst.Incarnation(1)

// world is one incarnation over a bucket in memory, with a metadata log that is
// just a variable.
type world struct {
	t       *testing.T
	bucket  store.Store
	pool    *chunk.Pool
	cache   *blockcache.Cache
	wal     *wal.WAL
	flusher *flush.Flusher
	engine  *engine.Engine
	watched *engine.Watchers
	codecs  *record.Codecs
	refuse  func(metadata.CommitRequest) error
	// answerAfter is how much later than the image the answer to a commit comes.
	answerAfter time.Duration

	mu    sync.Mutex
	image *metadata.Image
	n     karst.Number
}

func (w *world) Image() *metadata.Image {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.image
}

// commit applies records to the image and tells the engine and the flusher.
func (w *world) commit(records ...metadata.Record) error {
	w.mu.Lock()
	b := metadata.NewBatch(w.image)
	if err := b.Try(records...); err != nil {
		w.mu.Unlock()
		return err
	}
	w.n++
	img, d := b.Finish(metadata.Position{Term: 1, Number: w.n}, uint32(w.n))
	if err := img.CheckInvariants(); err != nil {
		panic(err)
	}
	w.image = img
	w.mu.Unlock()
	if w.engine != nil {
		w.engine.Apply(img, d)
		w.flusher.Observe(img, d)
	}
	return nil
}

func (w *world) Commit(_ context.Context, r metadata.CommitRequest) error {
	if w.refuse != nil {
		if err := w.refuse(r); err != nil {
			return err
		}
	}
	err := w.commit(&r)
	time.Sleep(w.answerAfter)
	return err
}

// newWorld starts an incarnation that leads the partitions of one topic.
func newWorld(t *testing.T, partitions int, cfg engine.Config, rules record.Rules) *world {
	t.Helper()
	return newWorldOn(t, mem.New(""), partitions, cfg, rules)
}

// newWorldOn is newWorld over a bucket.
func newWorldOn(t *testing.T, bucket store.Store, partitions int, cfg engine.Config, rules record.Rules) *world {
	t.Helper()
	pool := chunk.New(chunk.Config{Poison: true})
	w := &world{t: t, bucket: bucket, watched: engine.NewWatchers(), pool: pool, image: metadata.NewImage(cluster), codecs: record.NewCodecs(record.Limits{})}
	w.cache = blockcache.New(w.bucket, blockcache.Config{MemoryBytes: 8 << 20, BlockBytes: 4 << 10, Chunks: pool})
	create := &metadata.CreateTopic{ID: topic, Name: "t", ReplicationFactor: 1}
	for range partitions {
		create.Partitions = append(create.Partitions, metadata.NewPartition{Leader: self, Replicas: []karst.BrokerID{1}})
	}
	if err := w.commit(&metadata.RegisterBroker{Incarnation: self, Registration: metadata.Registration{ID: 1, Host: "h", Port: 1}}, create); err != nil {
		t.Fatal(err)
	}
	log := &objlog.Log{Store: w.bucket, Folder: "wal/00000000000000000001", Cluster: cluster, Writer: uint64(self)}
	w.wal = wal.New(log, pool, wal.Config{ChunkBytes: 64 << 10})
	if cfg.WaitMax == 0 {
		cfg.WaitMax = time.Second
	}
	if cfg.UnflushedBytes == 0 {
		cfg.UnflushedBytes = 1 << 30
	}
	cfg.Self, cfg.ProducerExpiry = self, time.Hour
	if rules.MaxBytes == 0 {
		rules = record.Rules{MaxBytes: 1 << 20, BeforeMax: 1 << 62, AfterMax: 1 << 62, AllowZstd: true}
	}
	w.engine = engine.New(cfg, engine.Deps{
		Image: w.image, Log: w.wal, Segments: w.cache,
		Validator: record.NewValidator(w.codecs), Decoder: record.NewDecoder(w.codecs),
		Rules:    func(*metadata.TopicState) record.Rules { return rules },
		Watchers: w.watched,
		Flush:    func(s *wal.Segment) { w.flusher.Add(s) },
		Unflushed: func() int64 {
			n, _ := w.flusher.Unflushed()
			return n
		},
	})
	w.flusher = flush.New(flush.Config{Bytes: 1 << 40, Age: time.Hour, AdoptBytes: 8 << 10}, flush.Deps{
		Cluster: cluster, Incarnation: self,
		Image:      func() flush.Image { return w.Image() },
		Partitions: w.engine, Committer: w, Data: w.bucket, Chunks: pool, Freed: w.engine.Freed,
	})
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.wal.Run(ctx, w.engine.Durable); err != nil {
			t.Errorf("wal: %v", err)
		}
	})
	wg.Go(func() {
		if err := w.flusher.Run(ctx); err != nil {
			t.Errorf("flusher: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		wg.Wait()
		w.engine.Close()
		w.cache.Close()
		if n := pool.InUse(); n != 0 {
			t.Errorf("%d bytes of chunks are still held", n)
		}
	})
	return w
}

func part(n int) karst.TopicPartition {
	return karst.TopicPartition{Topic: topic, Partition: karst.Partition(n)}
}

// held is a buffer in a chunk, as a frame is.
type held struct{ *chunk.Chunk }

// batch builds a batch of records with the given timestamps.
func (w *world) batch(edit func(*record.Builder), stamps ...karst.Timestamp) []byte {
	w.t.Helper()
	b := record.NewBuilder(w.codecs)
	for i, ts := range stamps {
		b.Append(ts, []byte(fmt.Sprintf("key-%d", i)), []byte(fmt.Sprintf("value at %d", ts)))
	}
	if edit != nil {
		edit(b)
	}
	raw, err := b.Bytes()
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// send appends without waiting.
func (w *world) send(tp karst.TopicPartition, raw []byte) (engine.Appended, error) {
	c := w.pool.Get(len(raw))
	copy(c.Bytes(), raw)
	defer c.Release()
	return w.engine.Append(context.Background(), tp, c.Bytes(), held{c})
}

// produce appends and waits until it is durable.
func (w *world) produce(tp karst.TopicPartition, raw []byte) engine.Appended {
	w.t.Helper()
	a, err := w.send(tp, raw)
	if err != nil {
		w.t.Fatal(err)
	}
	if a.Commit != nil {
		<-a.Commit.Done()
		if err := a.Commit.Err(); err != nil {
			w.t.Fatal(err)
		}
	}
	return a
}

func (w *world) flush() {
	w.t.Helper()
	if err := w.flusher.Flush(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// read reads everything from off on and returns the offsets of the records.
func (w *world) read(tp karst.TopicPartition, off karst.Offset) []karst.Offset {
	w.t.Helper()
	var all []karst.Offset
	d := record.NewDecoder(w.codecs)
	for {
		r, err := w.engine.Read(context.Background(), tp, engine.ReadRequest{
			Offset: off, MaxBytes: 1 << 20, AtLeastOne: true, CurrentEpoch: karst.NoEpoch, LastFetched: karst.NoEpoch,
		})
		if err != nil {
			w.t.Fatal(err)
		}
		var joined []byte
		for _, p := range r.Parts {
			joined = append(joined, p...)
		}
		if len(joined) != r.Size {
			w.t.Fatalf("parts have %d bytes, Size says %d", len(joined), r.Size)
		}
		hw := r.HighWatermark
		r.Release()
		if len(joined) == 0 {
			if off != hw {
				w.t.Fatalf("nothing at %d below the high watermark %d", off, hw)
			}
			return all
		}
		for b, err := range record.Batches(joined) {
			if err != nil {
				w.t.Fatal(err)
			}
			for rec, err := range d.Records(b.Bytes) {
				if err != nil {
					w.t.Fatal(err)
				}
				if rec.Offset >= off {
					all = append(all, rec.Offset)
				}
			}
			off = b.Info.Next()
		}
	}
}
