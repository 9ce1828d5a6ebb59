package member

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/cluster/peer"
	pb "github.com/karst-io/karst/internal/cluster/peer/peerpb"
	"github.com/karst-io/karst/internal/cluster/peer/peerpb/peerpbconnect"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store/mem"
)

// older is a controller of another build.
type older struct {
	peerpbconnect.UnimplementedPeerHandler
	forward *pb.ForwardResponse // nil: it does not know Forward
}

func (o *older) Forward(ctx context.Context, r *pb.ForwardRequest) (*pb.ForwardResponse, error) {
	if o.forward == nil {
		return o.UnimplementedPeerHandler.Forward(ctx, r)
	}
	return o.forward, nil
}

// follower is a member whose controller is another process.
func follower(t *testing.T, other peerpbconnect.PeerHandler) *Member {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	st := mem.New("versions")
	cluster, err := metadata.OpenBucket(t.Context(), st)
	must(err)
	credentials, err := peer.OfSecret(cluster.Secret[:], cluster.ID)
	must(err)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- peer.Serve(ctx, l, credentials, cluster.ID, other, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		must(<-ended)
	})
	_, err = metadata.NewReplica(st, cluster.ID).TakeOver(t.Context(), metadata.Claim{Peer: l.Addr().String(), Process: metadata.NewProcessID()})
	must(err)
	replica := metadata.NewReplica(st, cluster.ID)
	must(replica.Load(t.Context()))
	peers := peer.NewPeers(credentials, cluster.ID, nil)
	t.Cleanup(peers.Close)
	return New(Config{Self: metadata.Registration{ID: 1, Process: metadata.NewProcessID()}}, Deps{
		Replica: replica, Controller: controller.New(controller.Config{}, replica, st), Peers: peers,
	})
}

// TestForwardToOlder: what a controller does not know is executed here, where it
// is refused as what only the controller may do. What it refuses otherwise is not.
func TestForwardToOlder(t *testing.T) {
	for what, o := range map[string]*older{
		"the version":   {forward: &pb.ForwardResponse{Error: peer.Refusal(karst.UnsupportedVersion.Errorf("API key 1 version 99"))}},
		"the procedure": {},
	} {
		m := follower(t, o)
		if answer, done, err := m.ForwardRequest(t.Context(), 1, 99, "c", nil); answer != nil || done || err != nil {
			t.Errorf("it does not know %s: %q, %v, %v", what, answer, done, err)
		}
	}
	m := follower(t, &older{forward: &pb.ForwardResponse{Body: []byte("answer")}})
	if answer, done, err := m.ForwardRequest(t.Context(), 1, 1, "c", nil); string(answer) != "answer" || !done || err != nil {
		t.Errorf("it executes: %q, %v, %v", answer, done, err)
	}
	m = follower(t, &older{forward: &pb.ForwardResponse{Error: peer.Refusal(karst.TimedOut.Errorf("too slow"))}})
	if _, done, err := m.ForwardRequest(t.Context(), 1, 1, "c", nil); done || !errors.Is(err, karst.TimedOut.Err()) {
		t.Errorf("it does not answer: %v, %v", done, err)
	}
}

// TestRegisterIsRefused: a process that is too old hears why, and does not ask again.
func TestRegisterIsRefused(t *testing.T) {
	m := follower(t, &older{})
	if _, err := m.Register(t.Context(), 0); !errors.Is(err, karst.UnsupportedVersion.Err()) {
		t.Error(err)
	}
}
