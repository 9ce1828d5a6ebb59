package sim

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/cluster/failover"
	"github.com/karst-io/karst/internal/log/blockcache"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/flush"
	"github.com/karst-io/karst/internal/log/reap"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/objlog"
)

// members is several incarnations without brokers around them: one controller for
// all, and for each incarnation what package broker gives it.
// Clients call the engines.
type members struct {
	w          *World
	cluster    karst.ClusterID
	replica    *metadata.Replica
	controller *controller.Controller
	topic      karst.TopicID
	log        *slog.Logger
	writes     int64 // of ids

	end     context.CancelFunc // of the controller
	ended   chan struct{}
	clients sync.WaitGroup

	mu  sync.Mutex
	all []*member
}

// member is one incarnation.
type member struct {
	c       *members
	id      karst.BrokerID
	self    karst.Incarnation
	store   *faults.Store
	memory  *chunk.Pool
	cache   *blockcache.Cache
	wal     *wal.WAL
	engine  *engine.Engine
	flusher *flush.Flusher
	reaper  *reap.Reaper
	abandon context.CancelCauseFunc
	ended   chan struct{}
}

// pace is what a scenario with members varies.
type pace struct {
	flush time.Duration // age at which a member flushes
	rules []faults.Rule // of each member's store
}

// newMembers starts the controller.
func (w *World) newMembers() *members {
	st := faults.New(bucket{w.Bucket, &w.got}, w.Seed*1000, faults.Rule{Kind: faults.Slow, Delay: faults.Uniform(10 * time.Millisecond)})
	c := &members{w: w, ended: make(chan struct{})}
	c.log = slog.New(slog.NewTextHandler(&prefixed{w: w.Log, start: w.start, name: "members"}, &slog.HandlerOptions{ReplaceAttr: noTime}))
	ctx, end := context.WithCancel(context.Background())
	c.end = end
	var err error
	if c.cluster, err = metadata.OpenCluster(ctx, st); err != nil {
		panic("BUG: " + err.Error())
	}
	c.replica = metadata.NewReplica(st, c.cluster)
	if err := c.replica.Load(ctx); err != nil {
		panic("BUG: " + err.Error())
	}
	c.replica.Listen(c.observe)
	c.controller = controller.New(controller.Config{Log: c.log}, c.replica, st)
	go func() {
		defer close(c.ended)
		if err := c.controller.Run(ctx, nil); err != nil {
			w.reportf(Unexpected, "controller: %v", err)
		}
	}()
	for !c.controller.Active() {
		time.Sleep(time.Millisecond)
	}
	return c
}

// observe tells every member of a commit.
func (c *members) observe(img *metadata.Image, d *metadata.Delta) {
	c.mu.Lock()
	all := slices.Clone(c.all)
	c.mu.Unlock()
	for _, m := range all {
		m.engine.Apply(img, d)
		m.flusher.Observe(img, d)
		m.reaper.Observe(img, d)
	}
}

// join starts an incarnation of a broker of its own.
func (c *members) join(p pace) *member {
	c.mu.Lock()
	id := karst.BrokerID(len(c.all) + 1)
	c.mu.Unlock()
	self, err := c.controller.Register(context.Background(), controller.Registration{ID: id, Host: "member", Port: int32(id)})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	m := &member{
		c: c, id: id, self: self, memory: chunk.New(chunk.Config{Poison: true}), ended: make(chan struct{}),
		store: faults.New(bucket{c.w.Bucket, &c.w.got}, c.w.Seed*1000+uint64(id), p.rules...),
	}
	m.build(p)
	c.mu.Lock()
	c.all = append(c.all, m)
	c.mu.Unlock()
	ctx, abandon := context.WithCancelCause(context.Background())
	m.abandon = abandon
	go m.run(ctx)
	return m
}

// build composes the incarnation as package broker does.
func (m *member) build(p pace) {
	c, t := m.c, m.c.w.Tuning
	m.cache = blockcache.New(m.store, blockcache.Config{MemoryBytes: t.CacheBytes, BlockBytes: t.CacheBlockBytes, Chunks: m.memory})
	log := &objlog.Log{Store: m.store, Folder: metadata.WALFolder(m.self), Cluster: c.cluster, Writer: uint64(m.self)}
	m.wal = wal.New(log, m.memory, wal.Config{MinInterval: 25 * time.Millisecond, BatchBytes: 64 << 10, Inflight: 8, ChunkBytes: 16 << 10})
	m.engine = engine.New(engine.Config{
		Self: m.self, TailBytes: t.TailBytes, UnflushedBytes: 8 << 20, WaitMax: time.Second, ProducerExpiry: time.Hour,
	}, engine.Deps{
		Image: c.replica.Image(), Log: m.wal, Segments: m.cache,
		Validator: record.NewValidator(c.w.codecs), Decoder: record.NewDecoder(c.w.codecs), Watchers: engine.NewWatchers(),
		Rules: func(*metadata.TopicState) record.Rules {
			return record.Rules{MaxBytes: 1 << 20, BeforeMax: 1 << 62, AfterMax: 1 << 62, AllowZstd: true}
		},
		Flush: func(s *wal.Segment) { m.flusher.Add(s) },
		Unflushed: func() int64 {
			n, _ := m.flusher.Unflushed()
			return n
		},
	})
	m.flusher = flush.New(flush.Config{Age: p.flush, AdoptBytes: t.AdoptBytes}, flush.Deps{
		Cluster: c.cluster, Incarnation: m.self, Image: func() flush.Image { return c.replica.Image() },
		Partitions: m.engine, Committer: c.controller, Data: m.store, Chunks: m.memory, Log: c.log,
	})
	m.reaper = reap.New(reap.Config{Grace: t.ReapGrace, RetentionEvery: time.Hour, SweepDelay: t.SweepDelay, SweepEvery: 10 * time.Second}, reap.Deps{
		Incarnation: m.self, Image: func() reap.Image { return c.replica.Image() }, Data: m.store,
		Retention: func(karst.TopicPartition) (ms, bytes int64, deletes bool) { return -1, -1, false },
		LogStarts: m.flusher, SnapshotReadable: c.replica.Readable, Log: c.log,
	})
}

// run serves until the incarnation is over: the first part that ends ends all.
func (m *member) run(ctx context.Context) {
	defer close(m.ended)
	rest, end := context.WithCancel(context.Background())
	defer end()
	var wg sync.WaitGroup
	wg.Go(func() {
		m.c.w.note("member %d: write-ahead log ended: %v", m.self, m.wal.Run(ctx, m.engine.Durable))
		end()
	})
	wg.Go(func() {
		m.c.w.note("member %d: flusher ended: %v", m.self, m.flusher.Run(rest))
		m.abandon(wal.ErrAbandon)
	})
	wg.Go(func() { _ = m.reaper.Run(rest) })
	wg.Wait()
	m.engine.Close()
}

// crash ends the incarnation as a power cut does.
func (m *member) crash() {
	m.store.Crash()
	m.abandon(wal.ErrAbandon)
	<-m.ended
}

// failover hands what dead leads to m, whether dead is alive or not.
func (m *member) failover(dead *member) {
	d := failover.Deps{
		Controller: m.c.controller, Image: m.c.replica.Image, Sealer: m.self, Log: m.c.log,
		WAL:   func(*metadata.BrokerState) (objlog.Store, error) { return m.store, nil },
		Place: func(*metadata.Image, *metadata.PartitionState) karst.Incarnation { return m.self },
	}
	var err error
	for range 3 { // what failed is begun anew
		if err = failover.New(d, dead.self).Run(context.Background()); err == nil {
			return
		}
	}
	m.c.w.reportf(Stuck, "%v", err)
}

// handOver moves a partition from m to another member.
func (m *member) handOver(tp karst.TopicPartition, to *member) {
	if err := m.flusher.HandOver(context.Background(), map[karst.TopicPartition]karst.Incarnation{tp: to.self}); err != nil {
		m.c.w.reportf(Unexpected, "hand-over of %s: %v", tp, err)
	}
}

// create makes the topic; whoever is live leads.
func (c *members) create(partitions int32) {
	t, err := c.controller.CreateTopic(context.Background(), controller.TopicSpec{Name: "s0", Partitions: partitions, ReplicationFactor: 1})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	c.topic = t.ID
}

func (c *members) part(n int) karst.TopicPartition {
	return karst.TopicPartition{Topic: c.topic, Partition: karst.Partition(n)}
}

// leader is the member that leads a partition, nil for none.
func (c *members) leader(tp karst.TopicPartition) *member {
	s, ok := c.replica.Image().Partition(tp)
	if !ok {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.all {
		if m.self == s.Leader {
			return m
		}
	}
	return nil
}

// append appends one batch to a partition that m may lead, and returns before it
// is durable. With forget, its client never hears what became of it.
func (m *member) append(tp karst.TopicPartition, records int, forget bool) *wal.Commit {
	w := m.c.w
	b := record.NewBuilder(w.codecs)
	var all []*sent
	for range records {
		m.c.mu.Lock()
		m.c.writes++
		r := &sent{id: ID{1, m.c.writes}, tp: tp, offset: -1}
		m.c.mu.Unlock()
		b.Append(karst.Timestamp(time.Now().UnixMilli()), nil, r.id.value(40))
		all = append(all, r)
	}
	bytes, err := b.Bytes()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	w.send(all)
	hold := m.memory.Get(len(bytes))
	defer hold.Release()
	copy(hold.Bytes(), bytes)
	a, err := m.engine.Append(context.Background(), tp, hold.Bytes(), hold)
	switch {
	case err != nil:
		w.settle(all, refused, -1)
		return nil
	case forget:
		return a.Commit
	}
	m.c.clients.Go(func() {
		<-a.Commit.Done()
		if a.Commit.Err() == nil {
			w.settle(all, acknowledged, int64(a.Base))
		}
	})
	return a.Commit
}

// produce appends one batch and waits until it is durable, or never will be.
func (m *member) produce(tp karst.TopicPartition, records int) {
	if c := m.append(tp, records, false); c != nil {
		<-c.Done()
	}
}

// check reads everything from who leads now and compares it with the history,
// and the bucket with the image.
func (c *members) check(partitions int) {
	c.clients.Wait()
	var finals []final
	for n := range partitions {
		f, err := c.read(c.part(n))
		if err != nil {
			c.w.reportf(Stuck, "the last read of %s: %v", c.part(n), err)
			continue
		}
		finals = append(finals, f)
	}
	if len(finals) == partitions {
		c.w.Check(finals, c.w.gone)
	}
	time.Sleep(sweepWait)
	c.w.audit(c.replica.Image())
}

// read reads a partition from its start to its high watermark.
func (c *members) read(tp karst.TopicPartition) (final, error) {
	f := final{tp: tp}
	m := c.leader(tp)
	if m == nil {
		return f, fmt.Errorf("nobody leads")
	}
	at := karst.Offset(0)
	for {
		r, err := m.engine.Read(context.Background(), tp, engine.ReadRequest{
			Offset: at, MaxBytes: 1 << 20, AtLeastOne: true, CurrentEpoch: karst.NoEpoch, LastFetched: karst.NoEpoch,
		})
		if err != nil {
			return f, err
		}
		f.low, f.high = int64(r.LogStart), int64(r.HighWatermark)
		next, err := c.take(&f, slices.Concat(r.Parts...), at)
		r.Release()
		if err != nil || next == at {
			return f, err
		}
		at = next
	}
}

// take adds the records from at on, and returns what to read next.
func (c *members) take(f *final, batches []byte, at karst.Offset) (karst.Offset, error) {
	next := at
	for b, err := range record.Batches(batches) {
		if err != nil {
			return at, err
		}
		for r, err := range c.w.decoder.Records(b.Bytes) {
			if err != nil {
				return at, err
			}
			if r.Offset < at {
				continue
			}
			id, ok := idOf(r.Value)
			if !ok {
				return at, fmt.Errorf("offset %d has bytes that nobody wrote", r.Offset)
			}
			f.records = append(f.records, stored{offset: int64(r.Offset), epoch: int32(b.Info.Epoch), id: id})
		}
		next = max(next, b.Info.Next())
	}
	return next, nil
}

// close ends everything.
func (c *members) close() {
	for _, m := range c.all {
		m.abandon(wal.ErrAbandon)
		<-m.ended
		m.store.Wait()
		m.cache.Close()
	}
	c.clients.Wait()
	c.end()
	<-c.ended
}
