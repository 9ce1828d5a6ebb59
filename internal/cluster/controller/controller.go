// Package controller is the elected writer of the metadata log: it claims a
// term, decides registration, leaders and topics, and commits.
//
// All decisions are functions of the image (I10), taken in one goroutine: a
// proposal is a function from the image as it will be, to records. Whatever
// waits goes into the next commit; one create is outstanding at a time, and
// nothing is answered, published or built upon before it is confirmed (I11).
//
// Rejected: trying the next batch while a commit is outstanding. It saves
// microseconds and would have to be undone when the create fails.
package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// Config tunes a controller. Zero values mean the defaults.
type Config struct {
	Claim metadata.Claim // who we are

	Partitions        int32         // of topics that do not say: num.partitions; 1
	ReplicationFactor int16         // default.replication.factor; 1
	StallTimeout      time.Duration // a commit not written for so long ends the term's holder; 30 s
	CommitBytes       int           // most in one commit, unless one proposal alone is larger; 4 MiB
	TermCommits       int           // commits after which a new term is claimed; 4,096
	SnapshotCommits   int           // commits after which a snapshot is written; 256
	SnapshotBytes     int64         // or bytes of commits; 16 MiB

	// ValidateConfigs checks what the explicit configs of a resource are to be;
	// errors are *karst.Error. nil accepts all.
	ValidateConfigs func(img *metadata.Image, r metadata.Resource, next map[string]string) error
	// ListConfig is the default of a list, or why what is no list cannot be
	// appended to or subtracted from (the verb); nil: nothing is a list.
	ListConfig func(r metadata.Resource, name, verb string) (string, error)
	// NewTopicID draws topic ids; random ones if nil.
	NewTopicID func() karst.TopicID
	// Move asks for partitions to be handed over to live incarnations. It does not
	// wait for that, and may be called concurrently. nil: leaders cannot be moved.
	Move func(moves []metadata.Placement)
	Log  *slog.Logger // nothing is logged if nil
}

func (c *Config) fill() {
	setDefault(&c.Partitions, 1)
	setDefault(&c.ReplicationFactor, 1)
	setDefault(&c.StallTimeout, 30*time.Second)
	setDefault(&c.CommitBytes, 4<<20)
	setDefault(&c.TermCommits, 4096)
	setDefault(&c.SnapshotCommits, 256)
	setDefault(&c.SnapshotBytes, 16<<20)
	if c.ValidateConfigs == nil {
		c.ValidateConfigs = func(*metadata.Image, metadata.Resource, map[string]string) error { return nil }
	}
	if c.ListConfig == nil {
		c.ListConfig = func(_ metadata.Resource, name, _ string) (string, error) {
			return "", karst.InvalidConfig.Errorf("%s is not a list", name)
		}
	}
	if c.NewTopicID == nil {
		c.NewTopicID = randomTopicID
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func randomTopicID() (id karst.TopicID) {
	rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ErrDeposed: another broker claimed the term. Run may be called again, when
// that one is lost.
var ErrDeposed = metadata.ErrLost

// waitingMax bounds the proposals that wait for the next commit.
const waitingMax = 16 << 10

// shutdownGrace bounds the snapshot that is written when Run ends.
const shutdownGrace = 10 * time.Second

// Controller holds one term, or tries to. Its methods return after the commit
// is durable and applied to the local replica. Their errors are *karst.Error,
// or the context's: then, as with code TimedOut, the outcome is unknown (look
// at the image).
type Controller struct {
	cfg     Config
	replica *metadata.Replica
	store   store.Writer // for snapshots

	mu      sync.Mutex
	open    bool // Run holds a term
	waiting []*proposal
	wake    chan struct{} // holds a token while something waits
}

// New makes a controller over a replica. st is for snapshots; the log is the
// replica's.
func New(cfg Config, replica *metadata.Replica, st store.Writer) *Controller {
	cfg.fill()
	return &Controller{cfg: cfg, replica: replica, store: st, wake: make(chan struct{}, 1)}
}

// proposal asks for a change. build is called once, with the image it will
// apply to; no records without an error mean that nothing is to be done.
type proposal struct {
	build func(img *metadata.Image) ([]metadata.Record, error)
	done  chan error // has room for the answer
}

// propose waits for the outcome of a proposal.
func (c *Controller) propose(ctx context.Context, build func(img *metadata.Image) ([]metadata.Record, error)) error {
	p := &proposal{build: build, done: make(chan error, 1)}
	if err := c.enqueue(p); err != nil {
		return err
	}
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Controller) enqueue(p *proposal) error {
	c.mu.Lock()
	switch {
	case !c.open:
		c.mu.Unlock()
		return errNotController()
	case len(c.waiting) >= waitingMax:
		c.mu.Unlock()
		return karst.Overloaded.Errorf("too many metadata changes wait")
	}
	c.waiting = append(c.waiting, p)
	c.mu.Unlock()
	c.signal()
	return nil
}

func errNotController() error {
	return karst.NotController.Errorf("this broker is not the controller")
}

func (c *Controller) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Active reports whether Run holds a term, as far as it knows.
func (c *Controller) Active() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// Run takes over the metadata log and writes it until ctx ends (then it returns
// nil), another broker takes over (ErrDeposed), or a commit could not be
// written for StallTimeout or the log cannot be read (other errors): then it
// may be called again, and finds out what became of the commit.
//
// begun, if not nil, is called once the term is held.
func (c *Controller) Run(ctx context.Context, begun func()) error {
	return c.run(ctx, begun, c.replica.TakeOver)
}

// RunFrom is Run if the newest term is the one that is named, and ErrDeposed if it
// is not: who claimed a newer one is not to lose it to us.
func (c *Controller) RunFrom(ctx context.Context, newest karst.Term, begun func()) error {
	return c.run(ctx, begun, func(ctx context.Context, who metadata.Claim) (*metadata.Term, error) {
		return c.replica.TakeOverFrom(ctx, who, newest)
	})
}

func (c *Controller) run(ctx context.Context, begun func(), takeOver func(context.Context, metadata.Claim) (*metadata.Term, error)) error {
	ctx = store.WithCaller(ctx, store.CallerMetadata)
	term, err := takeOver(ctx, c.cfg.Claim)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to stop
		}
		return err
	}
	c.cfg.Log.Info("holding metadata term", "term", term.Number(), "position", c.replica.Image().Position())
	s := &session{Controller: c, term: term, snapshots: make(chan snapshotDone, 1), giveUp: func() {}}
	c.setOpen(true)
	if begun != nil {
		begun()
	}
	err = s.loop(ctx)
	c.setOpen(false)
	s.end(ctx, err)
	term.Release()
	if ctx.Err() != nil && !errors.Is(err, ErrDeposed) {
		return nil
	}
	return err
}

// setOpen opens the queue, or closes it and refuses what waits: it was never
// tried, so the refusal is definite.
func (c *Controller) setOpen(open bool) {
	c.mu.Lock()
	c.open = open
	refused := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	for _, p := range refused {
		p.done <- errNotController()
	}
}
