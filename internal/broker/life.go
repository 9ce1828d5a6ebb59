package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator/group"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/flush"
	"github.com/karst-io/karst/internal/log/reap"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/objlog"
)

// life is one incarnation: from its registration until it is over or the broker
// stops.
type life struct {
	b       *Broker
	self    karst.Incarnation
	wal     *wal.WAL
	engine  *engine.Engine
	groups  *group.Coordinator
	flusher *flush.Flusher
	reaper  *reap.Reaper
	moves   *handOvers
	loads   loads

	handedOver atomic.Int64
}

// errReplaced ends a broker whose id another process has taken.
var errReplaced = errors.New("another process has registered this broker id on this bucket; it goes on, this one stops (give each broker its own --broker.id)")

// begin registers an incarnation. What the one before left, and what others leave,
// is the controller's to recover (I12).
func (b *Broker) begin(ctx context.Context, before karst.Incarnation) (*life, error) {
	if err := b.bucket.wals.follow(ctx, b.replica.Image); err != nil {
		return nil, err
	}
	if before != 0 {
		if err := b.storeWorks(ctx); err != nil {
			return nil, err
		}
	}
	self, err := b.member.Register(ctx, before)
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	b.configs.identify(b.member.ID())
	l := b.newLife(self)
	b.life.Store(l) // from here on it hears of commits; what it missed:
	l.engine.Apply(b.replica.Image(), &metadata.Delta{})
	l.engine.SetProducerExpiry(b.configs.producerExpiry(b.replica.Image()))
	l.groups.Apply(b.replica.Image(), &metadata.Delta{})
	b.member.Lead(self)
	return l, nil
}

// storeWorks checks that this broker reaches the store: one that does not must not
// come back for the partitions that it just lost for that.
func (b *Broker) storeWorks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(store.WithCaller(ctx, store.CallerProbe), storeWorksMax)
	defer cancel()
	if _, err := metadata.ReadBucket(ctx, b.bucket); err != nil {
		return fmt.Errorf("the store does not answer: %w", err)
	}
	return nil
}

const storeWorksMax = 5 * time.Second

func (b *Broker) newLife(self karst.Incarnation) *life {
	l := &life{b: b, self: self, moves: newHandOvers()}
	cluster := b.replica.Image().Cluster()
	log := &objlog.Log{Store: b.bucket, Folder: metadata.WALFolder(self), Cluster: cluster, Writer: uint64(self)}
	walConfig := b.walConfig()
	walConfig.Gather = func() { l.groups.Gather() }
	l.wal = wal.New(log, b.memory, walConfig)
	l.engine = engine.New(engine.Config{
		Self: self, TailBytes: cmp.Or(b.options.Tuning.TailBytes, b.cfg.MemoryBytes/4), UnflushedBytes: b.cfg.MemoryBytes / 2,
		WaitMax: waitMax, ProducerExpiry: b.configs.producerExpiry(b.replica.Image()),
	}, engine.Deps{
		Image: b.replica.Image(), Log: l.wal, Segments: b.cache,
		Validator: b.validator, Decoder: b.decoder, Rules: b.rulesOf, Watchers: b.watchers,
		Flush: func(s *wal.Segment) { l.flusher.Add(s) },
		Unflushed: func() int64 {
			n, _ := l.flusher.Unflushed()
			return n
		},
	})
	l.groups = l.newGroups()
	tuning := &b.options.Tuning
	l.flusher = flush.New(flush.Config{Bytes: b.cfg.FlushBytes, Age: b.cfg.FlushInterval, AdoptBytes: tuning.AdoptBytes}, flush.Deps{
		Cluster: cluster, Incarnation: self, Image: func() flush.Image { return b.replica.Image() },
		Partitions: l.engine, Committer: b.member, Data: b.bucket.data, Chunks: b.memory, Log: b.log, Freed: l.engine.Freed,
	})
	l.reaper = reap.New(reap.Config{
		Grace: cmp.Or(tuning.ReapGrace, b.cfg.DeleteGrace), RetentionEvery: b.cfg.RetentionCheck, SweepDelay: tuning.SweepDelay, SweepEvery: b.cfg.SweepInterval,
	}, reap.Deps{
		Incarnation: self, Image: func() reap.Image { return b.replica.Image() },
		Data: b.bucket.data, WAL: b.bucket.wals.reaped, Retention: b.retentionOf(),
		LogStarts: l.flusher, SnapshotReadable: b.replica.Readable, Log: b.log,
	})
	return l
}

// waitMax is how long an append waits for room before it is refused: shorter
// than a producer's request timeout.
const waitMax = 5 * time.Second

// walConfig chooses what was left to the kind of store.
func (b *Broker) walConfig() wal.Config {
	c := wal.Config{
		MinInterval: b.cfg.WALMinInterval, BatchBytes: int(b.cfg.WALBatchBytes), Inflight: b.cfg.WALInflight,
		StallTimeout: b.cfg.WALStallTimeout, LazyInterval: b.cfg.CommitInterval,
	}
	local := b.bucket.local()
	if c.LazyInterval < 0 {
		c.LazyInterval = lazyInterval
		if local {
			c.LazyInterval = 0
		}
	}
	if c.MinInterval < 0 {
		c.MinInterval = objectInterval
		if local {
			c.MinInterval = 0
		}
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = objectBatch
		if local {
			c.BatchBytes = localBatch
		}
	}
	if c.Inflight == 0 {
		c.Inflight = objectUploads
		if local {
			c.Inflight = localUploads
		}
	}
	return c
}

// Defaults by the kind of store: on a folder concurrency buys only latency, on
// object stores every request is paid for, and one producer with five requests
// of 1 MiB in flight is to keep as many uploads going.
const (
	objectBatch    = 1 << 20
	localBatch     = 8 << 20
	objectInterval = 25 * time.Millisecond
	objectUploads  = 16
	localUploads   = 2
)

// observe takes a commit (metadata.Listener).
func (l *life) observe(img *metadata.Image, d *metadata.Delta) {
	l.engine.Apply(img, d)
	if d.BrokerConfigs || d.Reset {
		l.engine.SetProducerExpiry(l.b.configs.producerExpiry(img))
	}
	l.groups.Apply(img, d)
	l.flusher.Observe(img, d)
	l.reaper.Observe(img, d)
}

// run serves until ctx ends or the incarnation is over. On ctx's end the WAL is
// drained and flushed, so that nothing is left to recover.
func (l *life) run(ctx context.Context) error {
	// Each part ends by its own context, in order: WAL, groups, flusher, reaper.
	base := context.WithoutCancel(ctx)
	walCtx, endWAL := context.WithCancelCause(base)
	flushCtx, endFlush := context.WithCancel(base)
	reapCtx, endReap := context.WithCancel(base)
	groupsCtx, endGroups := context.WithCancel(base)
	defer endGroups()
	defer endWAL(nil)
	defer endFlush()
	defer endReap()

	walEnded, flushEnded, sealed := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { walEnded <- l.wal.Run(walCtx, l.engine.Durable) })
	wg.Go(func() { flushEnded <- l.flusher.Run(flushCtx) })
	wg.Go(func() { sealed <- l.watch(reapCtx) })
	wg.Go(func() { l.handOver(reapCtx) })
	wg.Go(func() { _ = l.groups.Run(groupsCtx) }) // nil: it ends when asked to
	wg.Go(func() {
		if err := l.reaper.Run(reapCtx); err != nil {
			l.b.log.Error("collector stopped", "err", err)
		}
	})

	var err error
	select {
	case err = <-walEnded:
		err = fmt.Errorf("write-ahead log: %w", err)
	case err = <-flushEnded:
		err = fmt.Errorf("flush: %w", err)
		endWAL(wal.ErrAbandon)
	case err = <-sealed:
		endWAL(wal.ErrAbandon)
	case <-ctx.Done():
		endWAL(nil)
		err = <-walEnded
		endGroups() // what it has decided is durable, or never will be
		if err == nil {
			err = l.lastFlush(base)
		}
	}
	endGroups()
	endReap()
	endFlush()
	wg.Wait()
	l.engine.Close()
	return err
}

// lastFlushMax bounds the flush at the end: what it flushes is durable, and who
// runs brokers kills what does not end in half a minute.
const lastFlushMax = 10 * time.Second

// lastFlush leaves nothing to recover; if it cannot, recovery will.
func (l *life) lastFlush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(lastFlushMax, l.b.cfg.WALStallTimeout))
	defer cancel()
	if err := l.flusher.Flush(ctx); err != nil {
		n, _ := l.flusher.Unflushed()
		l.b.log.Warn("stopping with acknowledged data in the write-ahead log only; the next start recovers it", "bytes", n, "err", err)
	}
	return nil
}
