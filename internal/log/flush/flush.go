// Package flush moves acknowledged data from the WAL to the manifest: large
// slices are adopted where they are, the rest is rewritten from memory into
// shared segments sorted by partition; one commit adds the ranges and trims the
// WAL.
//
// # A flush
//
// It covers the WAL numbers (trim, k], all durable, so that all of it is below
// the high watermark. Of each partition that the image says this incarnation
// leads it takes what continues the image's end at the image's leader epoch
// (I8); all else in those numbers was given up by an earlier commit (older
// epochs, deleted partitions) and is left out. A hole between the image's end
// and the next batch is acknowledged data that we do not have: the flusher
// stops, and the trim stays where it is.
//
// Slices of at least AdoptBytes stay in their WAL object, from the front of a
// partition's range and from its back; everything from its first small slice to
// its last is rewritten, so that a range has at most one rewritten run.
// (Rejected: adopting the large ones in between as well. A partition may have
// one slice per segment, and alternating pieces would fill the manifest with
// entries.) Each byte is thus written at most twice, WAL included.
//
// DeleteRecords entries of the current epoch, what Partitions.LogStart says and
// what SetLogStart was told fold with max into the range's log start.
//
// # Checkpoints
//
// A range carries a checkpoint of its partition's producer state, at its end, if
// any of it is rewritten; if 16 sources lie above the newest checkpoint; if it is
// handed over; or if its log start is past the newest checkpoint, because the
// sources that its state is rebuilt from can only go once there is one. Otherwise
// the state is rebuilt from the newest checkpoint and the indexes of the sources
// above it: of at most 16 and one flush. Where the state cannot be read the range
// goes without a checkpoint, and those sources stay. A checkpoint is asked for in full if there is
// none, if 16 deltas follow the last full one, or if one that was given out did
// not make it into the image (deltas build on it). Partitions may answer in full
// unasked, and does if it is small (at most 64 KiB).
//
// # Outcomes
//
// The answer to a commit is a hint: a request is done when the own replica's
// image shows it (I9). Until then it is offered again under the same number. If
// it is refused, the next request says in Settled that it is not coming any more,
// which holds from the moment that is applied, whichever of the two came first.
// The flusher deletes nothing; its leftovers are at or below Settled and become
// the reaper's.
//
// All CommitRequests of an incarnation go through its Flusher, one at a time.
package flush

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// ErrOver: the incarnation is fenced. What was not flushed is adopted from its
// WAL.
var ErrOver = errors.New("incarnation is over: it was fenced")

// ErrStopped: the flusher no longer runs.
var ErrStopped = errors.New("flusher has stopped")

// MaxSegments bounds the unflushed WAL segments at which a flush starts, so that
// a failover reads no more.
const MaxSegments = 512

// Config says when to flush and how. Zero values mean the defaults.
type Config struct {
	Bytes        int64         // unflushed bytes that start a flush; 256 MiB
	Age          time.Duration // age of the oldest unflushed segment that starts one; 60 s
	Segments     int           // unflushed WAL segments that start one; MaxSegments at most
	AdoptBytes   int64         // slices at least this large stay in their WAL object; 1 MiB
	SegmentBytes int64         // most data in one shared segment, one batch aside; 64 MiB
	Uploads      int           // shared segments built and uploaded at once; 4
}

func (c Config) withDefaults() Config {
	set := func(v *int64, def int64) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&c.Bytes, 256<<20)
	set(&c.AdoptBytes, 1<<20)
	set(&c.SegmentBytes, 64<<20)
	if c.Age <= 0 {
		c.Age = time.Minute
	}
	if c.Segments <= 0 || c.Segments > MaxSegments {
		c.Segments = MaxSegments
	}
	if c.Uploads <= 0 {
		c.Uploads = 4
	}
	return c
}

// Partitions is what flushing needs to know of the partitions.
type Partitions interface {
	// Checkpoint encodes the producer state of a partition as it was just before
	// offset next, and says whether it is full or a delta to the last one. It
	// returns nil when there is nothing to say. next never goes back. If full is
	// asked for, it is given, unless ctx ends before the state could be read. Calls
	// for several partitions come at once.
	Checkpoint(ctx context.Context, tp karst.TopicPartition, next karst.Offset, full bool) (state []byte, isFull bool)
	// LogStart is the log start offset DeleteRecords and retention have asked for.
	LogStart(tp karst.TopicPartition) karst.Offset
}

// Committer commits to the metadata log. A *karst.Error of code NotLeader says
// that the incarnation is fenced, InvalidRequest that the request was refused as
// a whole; any other error leaves the outcome unknown.
type Committer interface {
	Commit(ctx context.Context, r metadata.CommitRequest) error
}

// Image is what flushing reads in the metadata. *metadata.Image is one.
type Image interface {
	Partition(tp karst.TopicPartition) (*metadata.PartitionState, bool)
	Broker(inc karst.Incarnation) (*metadata.BrokerState, bool)
	Applied(inc karst.Incarnation, request uint64) bool
}

// Deps is what a Flusher works with.
type Deps struct {
	Cluster     karst.ClusterID
	Incarnation karst.Incarnation
	Image       func() Image // the own replica's newest
	Partitions  Partitions
	Committer   Committer
	Data        store.Writer // where shared segments go
	Chunks      *chunk.Pool
	Log         *slog.Logger
	Freed       func() // called when Unflushed has become less; may be nil
}

// Flusher flushes the WAL of one incarnation.
type Flusher struct {
	c Config
	d Deps

	kick    chan struct{} // something to do
	changed chan struct{} // the image advanced

	mu sync.Mutex
	pending
	stats Stats

	// Of Run alone.
	request  uint64
	counters counters
	lost     map[karst.TopicPartition]bool // a checkpoint was given out in vain
}

// New makes the flusher of a new incarnation: the first WAL number it is given
// is 1, its first request and segment counter are 1.
func New(c Config, d Deps) *Flusher {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return &Flusher{
		c: c.withDefaults(), d: d,
		kick: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		pending: newPending(),
		lost:    map[karst.TopicPartition]bool{},
	}
}

// Observe is to be called after each advance of the replica's image: it is a
// metadata.Listener.
func (f *Flusher) Observe(*metadata.Image, *metadata.Delta) { poke(f.changed) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run flushes until ctx ends, then returns nil: call Flush before, to leave
// nothing to recover. It returns ErrOver when the incarnation is fenced, and any
// other error when going on would lose data. Either way the holds of what was
// not flushed are released.
func (f *Flusher) Run(ctx context.Context) error {
	ctx = store.WithCaller(ctx, store.CallerFlush)
	err := f.run(ctx)
	if ctx.Err() != nil {
		err = nil
	}
	f.mu.Lock()
	rest, waiters := f.stop()
	f.mu.Unlock()
	for _, w := range waiters {
		w.done <- errors.Join(ErrStopped, err)
	}
	letGo(rest)
	return err
}

func (f *Flusher) run(ctx context.Context) error {
	for {
		f.mu.Lock()
		due, wait := f.due(f.c, time.Now())
		var b *batch
		if due {
			b = f.take()
		}
		f.mu.Unlock()
		if !due {
			if err := f.idle(ctx, wait); err != nil {
				return err
			}
			continue
		}
		err := f.flush(ctx, b)
		f.mu.Lock()
		f.finish(b, err)
		f.mu.Unlock()
		if f.d.Freed != nil {
			f.d.Freed()
		}
		for _, w := range b.waiters {
			w.done <- w.result(b, err)
		}
		if err != nil {
			return err
		}
		letGo(b.segments)
	}
}

// idle waits for something to do; wait below 0 is for ever.
func (f *Flusher) idle(ctx context.Context, wait time.Duration) error {
	var due <-chan time.Time
	if wait >= 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		due = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.kick:
			return nil
		case <-due:
			return nil
		case <-f.changed:
			if f.over() {
				return ErrOver
			}
		}
	}
}

// over reports whether the image says that the incarnation was fenced.
func (f *Flusher) over() bool {
	b, ok := f.d.Image().Broker(f.d.Incarnation)
	return ok && b.Phase > metadata.Live
}

func letGo(segments []*wal.Segment) {
	for _, s := range segments {
		for i := range s.Slices {
			if h := s.Slices[i].Hold; h != nil {
				h.Release()
			}
		}
	}
}
