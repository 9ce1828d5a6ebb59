// Package reap deletes: it raises log starts by retention, and collects objects
// that no image references or can reference again.
//
// It is the only package that deletes (the start-up probe aside) and the most
// dangerous code of Karst. Its rules:
//
//   - A data object goes only if Image.Deletable says so of the newest image,
//     asked right before each batch of deletes (I15). That predicate is the whole
//     safety argument. It holds of all later images once it holds, so that two
//     brokers that collect at once, or one with an old image, are harmless.
//   - A WAL object above its incarnation's trim goes only if its header was read
//     and says segment, too. Tombstones and claims never go.
//   - Objects of the metadata log of term k go only if the two newest readable
//     snapshots are of later terms: the claim of k+1 then exists, and both stand
//     above the end of k. Those two snapshots, and all newer ones, stay. What is
//     no longer than a header stays: tombstones have no payload (package objlog).
//   - What start-up probes left behind goes an hour after a sweep found it.
//   - A name that is not exactly what metadata.ObjectID.Name would make, or a
//     probe, stays.
//   - Age decides nothing. The grace period is for readers with an older image.
//
// What to look at comes from commits (objects that lost their last reference,
// the own trim, adoptions) and, at start and rarely afterwards, from a LIST by
// the live incarnation with the lowest number: it finds what crashes left behind.
// An idle broker asks the store for nothing but that.
package reap

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// Config says when. Zero values mean the defaults.
type Config struct {
	Grace          time.Duration // from losing the last reference to the delete; 60 s
	RetentionEvery time.Duration // 5 min
	SweepDelay     time.Duration // from the start to the first sweep; 2 min
	SweepEvery     time.Duration // 6 h
	SweepPause     time.Duration // after each thousand names listed; 100 ms
	CandidatesMax  int           // remembered at once; what is more waits for a sweep; 100,000
}

func (c Config) withDefaults() Config {
	set := func(v *time.Duration, def time.Duration) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&c.Grace, time.Minute)
	set(&c.RetentionEvery, 5*time.Minute)
	set(&c.SweepDelay, 2*time.Minute)
	set(&c.SweepEvery, 6*time.Hour)
	set(&c.SweepPause, 100*time.Millisecond)
	if c.CandidatesMax <= 0 {
		c.CandidatesMax = 100_000
	}
	return c
}

// Image is what reaping reads in the metadata. *metadata.Image is one.
type Image interface {
	Position() metadata.Position
	Deletable(o metadata.ObjectID) bool
	Referenced(o metadata.ObjectID) bool
	Broker(inc karst.Incarnation) (*metadata.BrokerState, bool)
	Brokers() iter.Seq[*metadata.BrokerState]
	Partitions() iter.Seq[*metadata.PartitionState]
}

// Bucket is what reaping needs of a store.
type Bucket interface {
	store.Reader
	store.Deleter
}

// LogStarts takes wishes for higher log starts. *flush.Flusher is one.
type LogStarts interface {
	SetLogStart(tp karst.TopicPartition, start karst.Offset)
}

// Deps is what a Reaper works with.
type Deps struct {
	Incarnation karst.Incarnation
	Image       func() Image // the own replica's newest
	Data        Bucket
	// WAL is the store of the WALURL of a registration; Data for "". nil, false
	// when this broker does not have it.
	WAL func(url string) (Bucket, bool)
	// Retention says how long a topic's records stay: retention.ms and
	// retention.bytes, below 0 for no limit, and whether cleanup.policy holds
	// "delete".
	Retention func(tp karst.TopicPartition) (ms, bytes int64, deletePolicy bool)
	LogStarts LogStarts
	// SnapshotReadable reads and verifies a whole snapshot. nil leaves the
	// metadata log as it is.
	SnapshotReadable func(ctx context.Context, at metadata.Position) error
	Log              *slog.Logger
}

// Reaper deletes on behalf of one incarnation.
type Reaper struct {
	c    Config
	d    Deps
	kick chan struct{}

	mu      sync.Mutex
	queue   []candidate // ascending by due
	folders []folder    // WALs of adopted incarnations to list
	trim    karst.Number
	missed  bool // candidates were lost: sweep
	stats   Stats
	report  *Report

	sinceKick int // what came since Run was woken

	cursor karst.TopicPartition // of retention, of Run alone
}

// New makes a reaper.
func New(c Config, d Deps) *Reaper {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return &Reaper{c: c.withDefaults(), d: d, kick: make(chan struct{}, 1), report: &Report{}}
}

// Run retains and collects until ctx ends. Failures of the store are counted,
// logged and tried again later; they end nothing.
func (r *Reaper) Run(ctx context.Context) error {
	ctx = store.WithCaller(ctx, store.CallerReap)
	retain := time.Now().Add(r.c.RetentionEvery)
	sweep := time.Now().Add(r.c.SweepDelay)
	for {
		if now := time.Now(); !now.Before(retain) {
			retain = now.Add(r.c.RetentionEvery)
			if r.retain(now) {
				retain = now.Add(time.Second) // there is more
			}
		}
		r.listFolders(ctx)
		r.collect(ctx)
		if now := time.Now(); !now.Before(sweep) || r.takeMissed() {
			if err := r.sweep(ctx); err != nil && ctx.Err() == nil {
				r.d.Log.Warn("reap: sweep failed, trying again later", "err", err)
				r.tally(func(s *Stats) { s.Failures++ })
			}
			sweep = time.Now().Add(r.c.SweepEvery)
		}
		next := retain
		if sweep.Before(next) {
			next = sweep
		}
		if due, ok := r.nextDue(); ok && due.Before(next) {
			next = due
		}
		t := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-r.kick:
		case <-t.C:
		}
		t.Stop()
	}
}

// sweeper reports whether this broker is the one that looks after what is
// nobody else's: the lowest live incarnation. A wrong answer is harmless.
func (r *Reaper) sweeper(img Image) bool {
	for b := range img.Brokers() {
		if b.Phase == metadata.Live {
			return b.Incarnation == r.d.Incarnation
		}
	}
	return false
}

// bucketOf is where an object lies.
func (r *Reaper) bucketOf(img Image, o metadata.ObjectID) (Bucket, bool) {
	if o.Kind != metadata.WALObject {
		return r.d.Data, true
	}
	b, ok := img.Broker(o.Writer)
	if !ok {
		return nil, false // forgotten: a sweep of its store finds it
	}
	return r.wal(b.WALURL)
}

func (r *Reaper) wal(url string) (Bucket, bool) {
	if url == "" {
		return r.d.Data, true
	}
	if r.d.WAL == nil {
		return nil, false
	}
	return r.d.WAL(url)
}
