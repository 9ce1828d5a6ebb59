package group

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf16"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/metadata"
)

// Coordinator is the group coordinator of one incarnation: a machine for each
// partition of __consumer_offsets that it leads. It decides nothing itself.
type Coordinator struct {
	runtime *coordinator.Runtime[*Machine]
	image   func() *metadata.Image
	commits atomic.Uint64 // offsets that were to be committed
}

// Deps is what a Coordinator works with.
type Deps struct {
	Log     coordinator.Log
	Decoder *record.Decoder
	Image   func() *metadata.Image
	Logger  *slog.Logger
}

var _ Service = (*Coordinator)(nil)

// NewCoordinator makes the coordinator of an incarnation, which does not run yet.
func NewCoordinator(self karst.Incarnation, cfg Config, deps Deps) *Coordinator {
	return &Coordinator{
		image: deps.Image,
		runtime: coordinator.New(coordinator.Config{Topic: Topic, Self: self}, coordinator.Deps[*Machine]{
			Log: deps.Log, Decoder: deps.Decoder, Logger: deps.Logger,
			New: func(int32) *Machine { return NewMachine(cfg) },
			// Topics may have been deleted while nobody had the machine.
			Loaded: func(m *Machine, now time.Time) []coordinator.Effect {
				img := deps.Image()
				return m.TopicsRemain(now, func(name string, id karst.TopicID) bool {
					_, ok := img.TopicByID(id)
					if id.IsZero() {
						_, ok = img.Topic(name)
					}
					return ok
				})
			},
		}),
	}
}

// Run serves until ctx ends; then every call is told to look elsewhere.
func (c *Coordinator) Run(ctx context.Context) error { return c.runtime.Run(ctx) }

// Gather appends what was decided to the log (wal.Config).
func (c *Coordinator) Gather() { c.runtime.Gather() }

// Apply takes a newer image and what changed (metadata.Listener), after the
// engine did.
func (c *Coordinator) Apply(img *metadata.Image, d *metadata.Delta) {
	c.runtime.Apply(img, d)
	var gone []karst.TopicID
	for _, id := range d.Topics {
		if _, ok := img.TopicByID(id); !ok {
			gone = append(gone, id)
		}
	}
	if len(gone) > 0 {
		c.TopicsDeleted(gone)
	}
}

// Offer prepares the hand-over of partitions, before the engine offers them.
func (c *Coordinator) Offer(tps []karst.TopicPartition) { c.runtime.Offer(tps) }

// Withdraw takes offers back, after the engine did.
func (c *Coordinator) Withdraw(tps []karst.TopicPartition) { c.runtime.Withdraw(tps) }

// PartitionOf is the partition that has a group, of so many: the absolute value
// of Java's String.hashCode, 0 for the one that has none, modulo their number.
// Tools compute it, too.
func PartitionOf(group string, partitions int32) int32 {
	var h int32
	for _, r := range group {
		if hi, lo := utf16.EncodeRune(r); r > 0xffff {
			h = 31*(31*h+hi) + lo
		} else {
			h = 31*h + r
		}
	}
	return max(h, -h, 0) % partitions // -h of the least number is itself
}

// PartitionIn is PartitionOf a group as an image has the topic; -1 if it has none.
func PartitionIn(img *metadata.Image, group string) int32 {
	t, ok := img.Topic(Topic)
	if !ok || t.Partitions < 1 {
		return -1
	}
	return PartitionOf(group, t.Partitions)
}

// Partition implements Service.
func (c *Coordinator) Partition(group string) int32 { return PartitionIn(c.image(), group) }

// call is a coordinator.Call that knows its answer's type.
type call[T any] struct{ *coordinator.Call }

func (c call[T]) Wait(ctx context.Context) (T, error) {
	body, err := c.Call.Wait(ctx)
	if err != nil {
		var none T
		return none, err
	}
	return body.(T), nil //nolint:forcetypeassert // the machine's answer to this operation
}

// operation is a method of Machine.
type operation[R any] func(m *Machine, now time.Time, t coordinator.Ticket, r R) []coordinator.Effect

// do runs an operation where its group is.
func do[A, R any](c *Coordinator, group string, fresh bool, r R, op operation[R]) (Call[A], error) {
	return runBy[A](c, c.runtime.Do, group, fresh, r, op)
}

// park is do of an operation that may wait for other members.
func park[A, R any](c *Coordinator, group string, fresh bool, r R, op operation[R]) (Call[A], error) {
	return runBy[A](c, c.runtime.DoParked, group, fresh, r, op)
}

// doer is a way of the runtime to run an operation.
type doer func(partition int32, fresh bool, op func(m *Machine, now time.Time, t coordinator.Ticket) []coordinator.Effect) (*coordinator.Call, error)

func runBy[A, R any](c *Coordinator, run doer, group string, fresh bool, r R, op operation[R]) (Call[A], error) {
	at := c.Partition(group)
	if at < 0 {
		return nil, karst.CoordinatorNotAvailable.Errorf("there is no topic %s", Topic)
	}
	made, err := run(at, fresh, func(m *Machine, now time.Time, t coordinator.Ticket) []coordinator.Effect {
		return op(m, now, t, r)
	})
	if err != nil {
		return nil, err
	}
	return call[A]{made}, nil
}

// Join implements Service.
func (c *Coordinator) Join(r JoinRequest) (Call[JoinAnswer], error) {
	return park[JoinAnswer](c, r.Group, false, r, (*Machine).Join)
}

// Sync implements Service. Members act on what it tells: they consume.
func (c *Coordinator) Sync(r SyncRequest) (Call[SyncAnswer], error) {
	return park[SyncAnswer](c, r.Group, true, r, (*Machine).Sync)
}

// Heartbeat implements Service.
func (c *Coordinator) Heartbeat(r HeartbeatRequest) (Call[ErrAnswer], error) {
	return do[ErrAnswer](c, r.Group, false, r, (*Machine).Heartbeat)
}

// Leave implements Service.
func (c *Coordinator) Leave(r LeaveRequest) (Call[LeaveAnswer], error) {
	return do[LeaveAnswer](c, r.Group, false, r, (*Machine).Leave)
}

// Commit implements Service.
func (c *Coordinator) Commit(r CommitRequest) (Call[CommitAnswer], error) {
	c.commits.Add(uint64(len(r.Offsets)))
	// A commit that changes nothing writes nothing, and is true only if nobody else
	// leads; of all others the segment with their records is the proof.
	return do[CommitAnswer](c, r.Group, true, r, (*Machine).Commit)
}

// Fetch implements Service.
func (c *Coordinator) Fetch(r FetchRequest) (Call[FetchAnswer], error) {
	return do[FetchAnswer](c, r.Group, true, r, (*Machine).Fetch)
}

// DeleteOffsets implements Service.
func (c *Coordinator) DeleteOffsets(r DeleteOffsetsRequest) (Call[DeleteOffsetsAnswer], error) {
	return do[DeleteOffsetsAnswer](c, r.Group, false, r, (*Machine).DeleteOffsets)
}

// DeleteGroup implements Service.
func (c *Coordinator) DeleteGroup(group string) (Call[ErrAnswer], error) {
	return do[ErrAnswer](c, group, false, group, (*Machine).DeleteGroup)
}

// Describe implements Service. Tools act on what it tells.
func (c *Coordinator) Describe(group string) (Call[Description], error) {
	return do[Description](c, group, true, group, (*Machine).Describe)
}

// List implements Service; the groups are sorted.
func (c *Coordinator) List() ([]Listing, error) {
	all := []Listing{}
	if whole := c.runtime.Each(func(m *Machine) { all = append(all, m.List()...) }); !whole {
		return nil, karst.CoordinatorLoading.Errorf("not every partition of %s is loaded", Topic)
	}
	slices.SortFunc(all, func(a, b Listing) int { return strings.Compare(a.Group, b.Group) })
	return all, nil
}

// TopicsDeleted implements Service.
func (c *Coordinator) TopicsDeleted(ids []karst.TopicID) {
	c.runtime.Tell(func(m *Machine, now time.Time) []coordinator.Effect {
		img := c.image() // as new as any that an offset was committed under
		return m.TopicsDeleted(now, ids, func(name string) bool {
			_, ok := img.Topic(name)
			return ok
		})
	})
}

// Stats are figures of a Coordinator.
type Stats struct {
	coordinator.Stats
	Groups  Counts // of the partitions that are loaded
	Commits uint64 // offsets that clients asked to commit
}

// Stats are the figures now.
func (c *Coordinator) Stats() Stats {
	s := Stats{Stats: c.runtime.Stats(), Commits: c.commits.Load()}
	c.runtime.Each(func(m *Machine) { s.Groups.add(m.Counts()) })
	return s
}

func (c *Counts) add(o Counts) {
	c.Empty += o.Empty
	c.PreparingRebalance += o.PreparingRebalance
	c.CompletingRebalance += o.CompletingRebalance
	c.Stable += o.Stable
	c.Members += o.Members
	c.Offsets += o.Offsets
	c.Rebalances += o.Rebalances
}
