package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store/objlog"
)

// plansMax bounds how often an adoption is computed anew because the image moved
// between plan and commit: a new leader died, say.
const plansMax = 16

// Committer is what a failover needs of the controller. Its methods return
// after the commit is applied to the image that Deps.Image returns.
type Committer interface {
	Fence(ctx context.Context, inc karst.Incarnation) error
	Commit(ctx context.Context, r metadata.CommitRequest) error
}

// Place names the live incarnation that is to lead a partition, 0 for none yet.
type Place func(img *metadata.Image, p *metadata.PartitionState) karst.Incarnation

// Deps is what a failover works with.
type Deps struct {
	Controller Committer
	Image      func() *metadata.Image
	// WAL opens the store that holds an incarnation's WAL.
	WAL    func(b *metadata.BrokerState) (objlog.Store, error)
	Place  Place
	Sealer karst.Incarnation // who is at work; tombstones name it
	Log    *slog.Logger
}

// State is how far a failover has come.
type State uint8

// The states, in order.
const (
	Fencing State = iota
	Sealing
	Committing
	Done
)

func (s State) String() string {
	return [...]string{"fencing", "sealing", "committing", "done"}[s]
}

// Failover is one attempt to adopt one incarnation. It is not safe for
// concurrent use; several attempts are.
type Failover struct {
	deps   Deps
	inc    karst.Incarnation
	state  State
	plans  int
	before *metadata.Image // the image before sealing; used without fenceFirst only
	log    *objlog.Log
	sealed *wal.Sealed
}

// New begins a failover of inc.
func New(d Deps, inc karst.Incarnation) *Failover { return &Failover{deps: d, inc: inc} }

// State is how far the failover has come.
func (f *Failover) State() State { return f.state }

// Run takes all steps. After an error anybody may begin anew, at once.
func (f *Failover) Run(ctx context.Context) error {
	for f.state != Done {
		if err := f.Step(ctx); err != nil {
			return fmt.Errorf("failover of incarnation %d, %s: %w", f.inc, f.state, err)
		}
	}
	return nil
}

// Step does what the current state says and goes to the next one.
func (f *Failover) Step(ctx context.Context) error {
	b, ok := f.deps.Image().Broker(f.inc)
	if !ok || b.Phase == metadata.Adopted {
		f.state = Done
		return nil
	}
	switch f.state {
	case Fencing:
		return f.fence(ctx, b)
	case Sealing:
		return f.seal(ctx, b)
	case Committing:
		return f.commit(ctx)
	default:
		return nil
	}
}

// fence commits the end of what the incarnation may commit.
func (f *Failover) fence(ctx context.Context, b *metadata.BrokerState) error {
	f.before = f.deps.Image()
	if fenceFirst && b.Phase == metadata.Live {
		if err := f.deps.Controller.Fence(ctx, f.inc); err != nil && !f.fenced() {
			return err
		}
		if !f.fenced() {
			panic("BUG: I12: the fence is committed, and the image does not hold it")
		}
	}
	f.state = Sealing
	return nil
}

func (f *Failover) fenced() bool {
	b, ok := f.deps.Image().Broker(f.inc)
	return !ok || b.Phase != metadata.Live
}

// seal ends the incarnation's WAL and reads it. b is of an image that holds the
// fence, so the trim is final.
func (f *Failover) seal(ctx context.Context, b *metadata.BrokerState) error {
	st, err := f.deps.WAL(b)
	if err != nil {
		return err
	}
	f.log = &objlog.Log{Store: st, Folder: metadata.WALFolder(f.inc), Cluster: f.deps.Image().Cluster(), Writer: uint64(f.inc)}
	if f.sealed, err = wal.Seal(ctx, f.log, b.Trim, f.deps.Sealer); err != nil {
		return err
	}
	for _, o := range f.sealed.Objects {
		if o.Damage != nil {
			f.deps.Log.Error("WAL object cannot be read; partitions that may be in it are stopped", "object", o.Name, "err", o.Damage)
		}
	}
	f.state = Committing
	return nil
}

// commit adopts what the WAL holds. When it is refused because the image has
// moved on, the next step computes it anew.
func (f *Failover) commit(ctx context.Context) error {
	img := f.deps.Image()
	if !fenceFirst && f.plans == 0 {
		img = f.before
	}
	r, err := adoption(ctx, img, f.inc, f.sealed, f.log.Store, f.deps.Place)
	if err != nil {
		return err
	}
	for _, c := range split(r, entriesMax) {
		if err = f.deps.Controller.Commit(ctx, c); err != nil {
			break
		}
	}
	if now, ok := f.deps.Image().Broker(f.inc); !ok || now.Phase == metadata.Adopted {
		f.done(&r)
		return nil
	}
	f.plans++
	if err == nil {
		panic("BUG: the adoption is committed, and the image does not hold it")
	}
	refused := errors.Is(err, karst.InvalidRequest.Err()) || errors.Is(err, karst.NotLeader.Err())
	if refused && f.plans < plansMax && ctx.Err() == nil {
		f.deps.Log.Info("adoption refused, computing it anew", "incarnation", f.inc, "err", err)
		return nil
	}
	return err
}

func (f *Failover) done(r *metadata.CommitRequest) {
	f.state = Done
	f.deps.Log.Info("adopted", "incarnation", f.inc, "wal_end", r.WALEnd, "objects", len(f.sealed.Objects),
		"partitions", len(r.Ranges), "stopped", len(r.Stopped), "held", len(r.Held))
}
