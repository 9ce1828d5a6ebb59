package member

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/balance"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/cluster/peer"
	pb "github.com/karst-io/karst/internal/cluster/peer/peerpb"
	"github.com/karst-io/karst/internal/cluster/peer/peerpb/peerpbconnect"
	"github.com/karst-io/karst/internal/metadata"
)

// asking is a call to the controller.
type asking func(ctx context.Context, c peerpbconnect.PeerClient) (refusal *pb.Error, at *pb.Position, err error)

// ask asks the controller, whoever it is, and again as long as nobody is: that is
// definite. It returns when our own image has what the answer rests on. Other
// errors are *karst.Error, or the context's: then, as with code TimedOut, the
// outcome is unknown.
func (m *Member) ask(ctx context.Context, call asking) error {
	for {
		err := m.askOnce(ctx, call)
		if !errors.Is(err, karst.NotController.Err()) {
			return err
		}
		t := time.NewTimer(retryDelay)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

func (m *Member) askOnce(ctx context.Context, call asking) error {
	c, err := m.controller(ctx)
	if err != nil {
		return err
	}
	refusal, at, err := call(ctx, c)
	if errors.Is(err, errHere) {
		return err
	}
	if err := peer.Outcome(ctx, err, refusal); err != nil {
		return err
	}
	if at == nil || c == m.local() {
		return nil
	}
	return m.deps.Replica.WaitFor(ctx, peer.DecodePosition(at))
}

// controller is the controller as far as we know.
func (m *Member) controller(ctx context.Context) (peerpbconnect.PeerClient, error) {
	if m.Active() {
		return m.local(), nil
	}
	held, err := m.deps.Replica.Holder(ctx)
	if err != nil || held.Term == 0 || held.Peer == "" || held.Process == m.cfg.Self.Process {
		return nil, karst.NotController.Errorf("there is no controller right now")
	}
	return m.deps.Peers.At(held.Peer), nil
}

// Register asks for an incarnation that is not after, the last one this process
// had, and says which broker id it is of. It returns when the own image has it.
func (m *Member) Register(ctx context.Context, after karst.Incarnation) (karst.Incarnation, error) {
	self := m.cfg.Self
	self.ID = m.ID()
	req := &pb.RegisterRequest{Registration: metadata.EncodeRegistration(&self), After: uint64(after), TakeOver: m.cfg.TakeOver && after == 0}
	var resp *pb.RegisterResponse
	err := m.ask(ctx, func(ctx context.Context, c peerpbconnect.PeerClient) (*pb.Error, *pb.Position, error) {
		var err error
		resp, err = c.Register(ctx, req)
		return resp.GetError(), resp.GetPosition(), err
	})
	if err != nil {
		return 0, err
	}
	m.id.Store(resp.Broker)
	return karst.Incarnation(resp.Incarnation), nil
}

// Commit offers a flush or a hand-over (flush.Committer).
func (m *Member) Commit(ctx context.Context, r metadata.CommitRequest) error {
	if d := m.director.Load(); d != nil {
		return m.deps.Controller.Commit(ctx, r)
	}
	req := &pb.CommitRequest{Request: metadata.EncodeRequest(&r)}
	return m.ask(ctx, func(ctx context.Context, c peerpbconnect.PeerClient) (*pb.Error, *pb.Position, error) {
		resp, err := c.Commit(ctx, req)
		return resp.GetError(), resp.GetPosition(), err
	})
}

// CreateTopic creates a topic for the broker itself.
func (m *Member) CreateTopic(ctx context.Context, s controller.TopicSpec) (*metadata.TopicState, error) {
	if m.Active() {
		return m.deps.Controller.CreateTopic(ctx, s)
	}
	if s.Assignment != nil || s.ValidateOnly {
		return nil, karst.NotController.Errorf("this broker is not the controller")
	}
	req := &pb.CreateTopicRequest{Name: s.Name, Partitions: s.Partitions, ReplicationFactor: int32(s.ReplicationFactor), Configs: s.Configs, Internal: s.Internal}
	err := m.ask(ctx, func(ctx context.Context, c peerpbconnect.PeerClient) (*pb.Error, *pb.Position, error) {
		resp, err := c.CreateTopic(ctx, req)
		return resp.GetError(), resp.GetPosition(), err
	})
	if err != nil {
		return nil, err
	}
	t, ok := m.deps.Replica.Image().Topic(s.Name)
	if !ok {
		return nil, karst.UnknownTopic.Errorf("topic %s was created, and deleted again", s.Name)
	}
	return t, nil
}

// AllocateProducerIDs hands out a block of producer ids never handed out before.
func (m *Member) AllocateProducerIDs(ctx context.Context) (first karst.ProducerID, count int64, err error) {
	err = m.ask(ctx, func(ctx context.Context, c peerpbconnect.PeerClient) (*pb.Error, *pb.Position, error) {
		resp, err := c.AllocateProducerIds(ctx, &pb.AllocateProducerIdsRequest{})
		first, count = karst.ProducerID(resp.GetFirst()), resp.GetCount()
		return resp.GetError(), nil, err
	})
	return first, count, err
}

// ForwardRequest has the controller execute a Kafka request; false if that is this
// broker, or nobody until ctx ends, or one of an older build that does not know the
// request or its version: then it is to be executed here, where it finds out. A
// client that is told NOT_CONTROLLER looks for another broker, until that is the
// controller or one that speaks no newer version than it.
func (m *Member) ForwardRequest(ctx context.Context, key, version int16, client string, body []byte) ([]byte, bool, error) {
	if m.Active() {
		return nil, false, nil
	}
	req := &pb.ForwardRequest{Key: int32(key), Version: int32(version), Body: body, ClientId: client}
	var answer []byte
	err := m.ask(ctx, func(ctx context.Context, c peerpbconnect.PeerClient) (*pb.Error, *pb.Position, error) {
		if c == m.local() {
			return nil, nil, errHere
		}
		resp, err := c.Forward(ctx, req)
		answer = resp.GetBody()
		return resp.GetError(), resp.GetPosition(), err
	})
	switch {
	case err == nil:
		return answer, true, nil
	case errors.Is(err, errHere) || errors.Is(err, karst.NotController.Err()) || errors.Is(err, karst.UnsupportedVersion.Err()):
		return nil, false, nil
	default:
		return nil, false, err
	}
}

// errHere: we have become the controller.
var errHere = errors.New("this broker is the controller")

// Depart says that an incarnation of ours has ended and will write nothing any more.
func (m *Member) Depart(ctx context.Context, self karst.Incarnation) error {
	return m.ask(ctx, func(ctx context.Context, c peerpbconnect.PeerClient) (*pb.Error, *pb.Position, error) {
		resp, err := c.Leave(ctx, &pb.LeaveRequest{Incarnation: uint64(self)})
		return resp.GetError(), nil, err
	})
}

func errNotController() error {
	return karst.NotController.Errorf("this broker is not the controller")
}

func encodeLoad(l balance.Load) *pb.Load {
	m := &pb.Load{BytesIn: l.BytesIn, BytesOut: l.BytesOut, Requests: l.Requests}
	var topics peer.Topics
	for tp, rate := range l.Hot {
		m.Topic = append(m.Topic, topics.Add(tp.Topic))
		m.Partition = append(m.Partition, int32(tp.Partition))
		m.Rate = append(m.Rate, rate)
	}
	m.Topics = topics.IDs
	return m
}

// hotMax bounds the partitions of a load.
const hotMax = 1024

func decodeLoad(m *pb.Load) (balance.Load, error) {
	l := balance.Load{BytesIn: m.GetBytesIn(), BytesOut: m.GetBytesOut(), Requests: m.GetRequests()}
	for _, rate := range slices.Concat([]float64{l.BytesIn, l.BytesOut, l.Requests}, m.GetRate()) {
		if !(rate >= 0 && rate <= math.MaxFloat64) {
			return l, fmt.Errorf("a load of %g", rate)
		}
	}
	n := len(m.GetTopic())
	if len(m.GetPartition()) != n || len(m.GetRate()) != n || n > hotMax {
		return l, fmt.Errorf("a load with columns of different length, or too long ones")
	}
	l.Hot = make(map[karst.TopicPartition]float64, n)
	for k := range n {
		id, err := peer.TopicAt(m.Topics, m.Topic[k])
		if err != nil {
			return l, fmt.Errorf("a load: %w", err)
		}
		l.Hot[karst.TopicPartition{Topic: id, Partition: karst.Partition(m.Partition[k])}] = m.Rate[k]
	}
	return l, nil
}
