package broker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator"
	"github.com/karst-io/karst/internal/coordinator/group"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
)

// newGroups makes the group coordinator of an incarnation.
func (l *life) newGroups() *group.Coordinator {
	c := &l.b.cfg
	return group.NewCoordinator(l.self, group.Config{
		MinSession: c.GroupMinSession, MaxSession: c.GroupMaxSession, InitialDelay: c.GroupInitialDelay, MaxSize: c.GroupMaxSize,
		OffsetsRetention: c.OffsetsRetention, OffsetsCheck: c.OffsetsCheck,
		MetadataMax: int(c.OffsetMetadataMax), RecordMax: l.groupRecordMax,
	}, group.Deps{
		Log: coordinatorLog{l.engine, l.wal}, Decoder: l.b.decoder, Image: l.b.replica.Image, Logger: l.b.log,
	})
}

// groupRecordMax is what the topic of the groups takes, as its configs say now.
func (l *life) groupRecordMax() int64 {
	img := l.b.replica.Image()
	t, ok := img.Topic(group.Topic)
	if !ok {
		return l.b.cfg.MessageMaxBytes
	}
	return l.b.configs.topicOf(img, t).MaxMessageBytes
}

// lazyInterval is the default of offsets.commit.interval on object stores, where
// requests are paid for.
const lazyInterval = 250 * time.Millisecond

// coordinatorLog is an incarnation's log as its coordinators see it
// (coordinator.Log).
type coordinatorLog struct {
	engine *engine.Engine
	wal    *wal.WAL
}

func (l coordinatorLog) Append(tp karst.TopicPartition, b []byte) (coordinator.Commit, error) {
	a, err := l.engine.AppendInternal(tp, b)
	if err != nil {
		return nil, err
	}
	if a.Commit == nil { // as of a duplicate
		panic("BUG: I6: an internal batch was durable before it was written")
	}
	return a.Commit, nil
}

func (l coordinatorLog) Read(ctx context.Context, tp karst.TopicPartition, r engine.ReadRequest) (*engine.Read, error) {
	return l.engine.Read(ctx, tp, r)
}

func (l coordinatorLog) LogStart(tp karst.TopicPartition) karst.Offset { return l.engine.LogStart(tp) }

func (l coordinatorLog) Nudge(lazy bool) { l.wal.Nudge(lazy) }

func (l coordinatorLog) Started() karst.Number { return l.wal.Started() }

func (l coordinatorLog) Confirmed() karst.Number { return l.wal.Confirmed() }

func (l coordinatorLog) Prove(ctx context.Context) error { return l.wal.Prove(ctx) }

// groups is the group coordinator as the listener sees it: that of the
// incarnation there is, if there is one (group.Service). Between two it answers
// NotCoordinator, which is definite and makes clients look for it again.
type groups struct {
	image    func() *metadata.Image
	isolated func() bool
	current  atomic.Pointer[group.Coordinator]
}

func (g *groups) service() (*group.Coordinator, error) {
	if c := g.current.Load(); c != nil && !g.isolated() {
		return c, nil
	}
	return nil, karst.NotCoordinator.Errorf("this broker coordinates nothing right now")
}

// asked asks the coordinator that there is.
func asked[R, A any](g *groups, r R, ask func(c *group.Coordinator, r R) (group.Call[A], error)) (group.Call[A], error) {
	c, err := g.service()
	if err != nil {
		return nil, err
	}
	return ask(c, r)
}

func (g *groups) Join(r group.JoinRequest) (group.Call[group.JoinAnswer], error) {
	return asked(g, r, (*group.Coordinator).Join)
}

func (g *groups) Sync(r group.SyncRequest) (group.Call[group.SyncAnswer], error) {
	return asked(g, r, (*group.Coordinator).Sync)
}

func (g *groups) Heartbeat(r group.HeartbeatRequest) (group.Call[group.ErrAnswer], error) {
	return asked(g, r, (*group.Coordinator).Heartbeat)
}

func (g *groups) Leave(r group.LeaveRequest) (group.Call[group.LeaveAnswer], error) {
	return asked(g, r, (*group.Coordinator).Leave)
}

func (g *groups) Commit(r group.CommitRequest) (group.Call[group.CommitAnswer], error) {
	return asked(g, r, (*group.Coordinator).Commit)
}

func (g *groups) Fetch(r group.FetchRequest) (group.Call[group.FetchAnswer], error) {
	return asked(g, r, (*group.Coordinator).Fetch)
}

func (g *groups) DeleteOffsets(r group.DeleteOffsetsRequest) (group.Call[group.DeleteOffsetsAnswer], error) {
	return asked(g, r, (*group.Coordinator).DeleteOffsets)
}

func (g *groups) DeleteGroup(id string) (group.Call[group.ErrAnswer], error) {
	return asked(g, id, (*group.Coordinator).DeleteGroup)
}

func (g *groups) Describe(id string) (group.Call[group.Description], error) {
	return asked(g, id, (*group.Coordinator).Describe)
}

func (g *groups) List() ([]group.Listing, error) {
	c, err := g.service()
	if err != nil {
		return nil, err
	}
	return c.List()
}

// TopicsDeleted is heard by the coordinator in the metadata (life.observe).
func (g *groups) TopicsDeleted(ids []karst.TopicID) {
	if c := g.current.Load(); c != nil {
		c.TopicsDeleted(ids)
	}
}

// Partition is a function of the image, incarnation or not.
func (g *groups) Partition(id string) int32 { return group.PartitionIn(g.image(), id) }

// stats are the coordinator's figures; false if there is none.
func (g *groups) stats() (group.Stats, bool) {
	c := g.current.Load()
	if c == nil {
		return group.Stats{}, false
	}
	return c.Stats(), true
}
