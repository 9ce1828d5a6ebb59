package member

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/balance"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/cluster/peer"
	pb "github.com/karst-io/karst/internal/cluster/peer/peerpb"
	"github.com/karst-io/karst/internal/cluster/peer/peerpb/peerpbconnect"
	"github.com/karst-io/karst/internal/cluster/sessions"
	"github.com/karst-io/karst/internal/metadata"
)

// handler is a member as other brokers, and it itself, call it.
type handler struct{ *Member }

var _ peerpbconnect.PeerHandler = handler{}

// Handler answers other brokers.
func (m *Member) Handler() peerpbconnect.PeerHandler { return handler{m} }

// local is the handler as a client: of a controller that asks itself.
func (m *Member) local() peerpbconnect.PeerClient { return handler{m} }

// pushMax bounds the commits in the answer to a poll, in bytes, one aside.
const pushMax = 4 << 20

// Ping implements peerpbconnect.PeerHandler.
func (m handler) Ping(ctx context.Context, _ *pb.PingRequest) (*pb.PingResponse, error) {
	img := m.deps.Replica.Image()
	r := &pb.PingResponse{
		Process: m.cfg.Self.Process[:], Broker: int32(m.ID()), Incarnation: uint64(m.incarnation()),
		Position: peer.EncodePosition(img.Position()), Version: m.cfg.Version, Active: m.Active(),
	}
	m.mu.Lock()
	r.Term = uint64(m.following)
	r.Contact = !m.failed && time.Since(m.contact) < m.cfg.SessionTimeout/2
	m.mu.Unlock()
	if held, err := m.deps.Replica.Holder(ctx); err == nil {
		r.Controller = held.Peer
		if uint64(held.Term) > r.Term {
			r.Term, r.Contact = uint64(held.Term), false
		}
	}
	return r, nil
}

// Poll implements peerpbconnect.PeerHandler.
func (m handler) Poll(ctx context.Context, r *pb.PollRequest) (*pb.PollResponse, error) {
	d := m.director.Load()
	if d == nil {
		resp := &pb.PollResponse{Error: peer.Refusal(errNotController())}
		if held, err := m.deps.Replica.Holder(ctx); err == nil {
			resp.Term, resp.Controller = uint64(held.Term), held.Peer
		}
		return resp, nil
	}
	return d.poll(ctx, r)
}

// poll notes that a broker lives, and waits for something to tell it.
func (d *director) poll(ctx context.Context, r *pb.PollRequest) (*pb.PollResponse, error) {
	inc := karst.Incarnation(r.Incarnation)
	load, err := decodeLoad(r.Load)
	if err != nil {
		return &pb.PollResponse{Error: peer.Refusal(karst.InvalidRequest.Errorf("%v", err))}, nil
	}
	d.arrived(inc, r.Draining, load)
	defer func() {
		if ctx.Err() != nil {
			d.broke(inc)
		}
	}()
	replica := d.m.deps.Replica
	at := peer.DecodePosition(r.Position)
	beat := time.NewTimer(d.m.beat())
	defer beat.Stop()
	for over := false; ; {
		news := replica.Changed()
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		moves, version, untold := d.news(inc)
		resp := &pb.PollResponse{Position: peer.EncodePosition(replica.Image().Position()), Moves: peer.EncodeMoves(moves)}
		entries, ok := replica.Since(at, pushMax)
		resp.Entries, resp.Behind = peer.EncodeEntries(entries), !ok
		if over || untold || len(entries) > 0 || !ok {
			d.tells(inc, version)
			return resp, nil
		}
		select {
		case <-news:
		case <-changed:
		case <-beat.C:
			over = true
		case <-d.ended:
			return &pb.PollResponse{Error: peer.Refusal(errNotController())}, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// arrived notes a poll. Only its coming is a sign of life: while it waits for its
// answer nothing is heard of the broker.
func (d *director) arrived(inc karst.Incarnation, leaving bool, l balance.Load) {
	if inc == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sessions.Heard(inc, time.Now())
	d.loads[inc] = l
	if inc != d.m.incarnation() {
		d.warm = true
	}
	if leaving && !d.leaving[inc] {
		d.leaving[inc] = true
		d.planned = time.Time{}
		d.look()
	}
}

// broke notes that a poll had no end: its connection broke, or the broker did not
// wait for the answer.
func (d *director) broke(inc karst.Incarnation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sessions.Broke(inc)
	d.look()
}

// Register implements peerpbconnect.PeerHandler.
func (m handler) Register(ctx context.Context, r *pb.RegisterRequest) (*pb.RegisterResponse, error) {
	d := m.director.Load()
	if d == nil {
		return &pb.RegisterResponse{Error: peer.Refusal(errNotController())}, nil
	}
	b, err := d.register(ctx, r)
	if err != nil {
		return &pb.RegisterResponse{Error: peer.Refusal(err)}, nil
	}
	return &pb.RegisterResponse{
		Incarnation: uint64(b.Incarnation), Broker: int32(b.ID), Position: peer.EncodePosition(m.deps.Replica.Image().Position()),
	}, nil
}

// register gives a process an incarnation, unless another one that lives has its
// broker id.
func (d *director) register(ctx context.Context, r *pb.RegisterRequest) (*metadata.BrokerState, error) {
	reg, err := metadata.DecodeRegistration(r.Registration)
	if err != nil {
		return nil, err
	}
	if reg.Process == (metadata.ProcessID{}) {
		return nil, karst.InvalidRequest.Errorf("a broker that registers says which process it is")
	}
	if reg.WALURL != "" {
		if err := d.m.deps.Reachable(ctx, reg.WALURL); err != nil {
			return nil, karst.InvalidRequest.Errorf("the controller cannot use the store %s of the write-ahead log, so that nobody could recover it: %v", reg.WALURL, err)
		}
	}
	inc, err := d.assign(ctx, reg, r)
	if err != nil {
		return nil, err
	}
	b, ok := d.m.deps.Replica.Image().Broker(inc)
	if !ok {
		return nil, karst.TimedOut.Errorf("incarnation %d was registered, and is gone", inc)
	}
	d.look()
	return b, nil
}

// assign has the controller give out an incarnation. An id that was free and is
// taken meanwhile was not what the process asked for: it gets the next.
func (d *director) assign(ctx context.Context, reg metadata.Registration, r *pb.RegisterRequest) (karst.Incarnation, error) {
	for free := reg.ID == controller.AssignID; ; {
		img := d.m.deps.Replica.Image()
		var over karst.Incarnation
		if free {
			reg.ID, over = d.freeID(ctx, img)
		} else if b, ok := img.LiveBroker(reg.ID); ok {
			over = b.Incarnation
			if err := d.replaceable(ctx, b, &reg, r.TakeOver); err != nil {
				return 0, err
			}
		}
		inc, err := d.m.deps.Controller.Replace(ctx, reg, over, karst.Incarnation(r.After))
		if !free || !errors.Is(err, karst.DuplicateBroker.Err()) {
			return inc, err
		}
	}
}

// freeID is the lowest broker id that no process has, and the dead incarnation
// that has it still.
func (d *director) freeID(ctx context.Context, img *metadata.Image) (karst.BrokerID, karst.Incarnation) {
	for id := karst.BrokerID(1); ; id++ {
		b, ok := img.LiveBroker(id)
		if !ok {
			return id, 0
		}
		if d.m.probe(ctx, b) == sessions.Gone {
			return id, b.Incarnation
		}
	}
}

// replaceable says why a process is not to have the id of a live broker; nil if
// that one is dead, is the same process, or is to be fenced.
func (d *director) replaceable(ctx context.Context, b *metadata.BrokerState, reg *metadata.Registration, takeOver bool) error {
	if takeOver || b.Process == reg.Process {
		return nil
	}
	switch d.m.probe(ctx, b) {
	case sessions.Gone:
		return nil
	case sessions.Alive:
		return karst.DuplicateBroker.Errorf("broker %d is already running on this bucket, with peer address %s: stop it, or pass --broker.takeover=true to fence it, or give this one another --broker.id", b.ID, b.Peer)
	default: // it is dead when its session ends
		return karst.NotController.Errorf("broker %d does not answer at %s, and its session has not ended yet", b.ID, b.Peer)
	}
}

// Commit implements peerpbconnect.PeerHandler.
func (m handler) Commit(ctx context.Context, r *pb.CommitRequest) (*pb.CommitResponse, error) {
	req, err := metadata.DecodeRequest(r.Request)
	if err == nil && req.Adopt {
		err = karst.InvalidRequest.Errorf("only the controller adopts")
	}
	if err == nil {
		err = m.deps.Controller.Commit(ctx, *req)
	}
	if errors.Is(err, metadata.ErrDuplicate) {
		err = nil // the answer of the first time
	}
	return &pb.CommitResponse{Error: peer.Refusal(err), Position: m.position()}, nil
}

func (m *Member) position() *pb.Position {
	return peer.EncodePosition(m.deps.Replica.Image().Position())
}

// CreateTopic implements peerpbconnect.PeerHandler.
func (m handler) CreateTopic(ctx context.Context, r *pb.CreateTopicRequest) (*pb.CreateTopicResponse, error) {
	if r.ReplicationFactor < math.MinInt16 || r.ReplicationFactor > math.MaxInt16 {
		return &pb.CreateTopicResponse{Error: peer.Refusal(karst.InvalidReplication.Errorf("replication factor %d", r.ReplicationFactor))}, nil
	}
	_, err := m.deps.Controller.CreateTopic(ctx, controller.TopicSpec{
		Name: r.Name, Partitions: r.Partitions, ReplicationFactor: int16(r.ReplicationFactor), Configs: r.Configs, Internal: r.Internal,
	})
	return &pb.CreateTopicResponse{Error: peer.Refusal(err), Position: m.position()}, nil
}

// AllocateProducerIds implements peerpbconnect.PeerHandler.
func (m handler) AllocateProducerIds(ctx context.Context, _ *pb.AllocateProducerIdsRequest) (*pb.AllocateProducerIdsResponse, error) {
	first, count, err := m.deps.Controller.AllocateProducerIDs(ctx)
	return &pb.AllocateProducerIdsResponse{Error: peer.Refusal(err), First: int64(first), Count: count}, nil
}

// Forward implements peerpbconnect.PeerHandler.
func (m handler) Forward(ctx context.Context, r *pb.ForwardRequest) (*pb.ForwardResponse, error) {
	if !m.Active() {
		return &pb.ForwardResponse{Error: peer.Refusal(errNotController())}, nil
	}
	if r.Key < 0 || r.Key > math.MaxInt16 || r.Version < 0 || r.Version > math.MaxInt16 {
		return &pb.ForwardResponse{Error: peer.Refusal(karst.InvalidRequest.Errorf("request %d of version %d", r.Key, r.Version))}, nil
	}
	body, err := m.deps.Forward(ctx, int16(r.Key), int16(r.Version), r.ClientId, r.Body)
	return &pb.ForwardResponse{Error: peer.Refusal(err), Body: body, Position: m.position()}, nil
}

// Leave implements peerpbconnect.PeerHandler.
func (m handler) Leave(ctx context.Context, r *pb.LeaveRequest) (*pb.LeaveResponse, error) {
	d := m.director.Load()
	if d == nil {
		return &pb.LeaveResponse{Error: peer.Refusal(errNotController())}, nil
	}
	return &pb.LeaveResponse{Error: peer.Refusal(d.leave(ctx, karst.Incarnation(r.Incarnation)))}, nil
}

// Drain implements peerpbconnect.PeerHandler.
func (m handler) Drain(ctx context.Context, r *pb.DrainRequest) (*pb.DrainResponse, error) {
	err := m.deps.Controller.Drain(ctx, karst.BrokerID(r.Broker), r.Drained)
	if d := m.director.Load(); d != nil {
		d.replan()
	}
	return &pb.DrainResponse{Error: peer.Refusal(err), Position: m.position()}, nil
}

// Upgrade implements peerpbconnect.PeerHandler.
func (m handler) Upgrade(ctx context.Context, r *pb.UpgradeRequest) (*pb.UpgradeResponse, error) {
	before, after, err := m.deps.Controller.Upgrade(ctx, r.Level)
	return &pb.UpgradeResponse{Error: peer.Refusal(err), Position: m.position(), Before: before, After: after}, nil
}

// Explain implements peerpbconnect.PeerHandler.
func (m handler) Explain(_ context.Context, r *pb.ExplainRequest) (*pb.ExplainResponse, error) {
	d := m.director.Load()
	if d == nil {
		return &pb.ExplainResponse{Error: peer.Refusal(errNotController())}, nil
	}
	return &pb.ExplainResponse{Lines: d.explain(r.Drained)}, nil
}
