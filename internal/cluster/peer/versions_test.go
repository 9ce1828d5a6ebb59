package peer

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/karst-io/karst"
	pb "github.com/karst-io/karst/internal/cluster/peer/peerpb"
	"github.com/karst-io/karst/internal/cluster/peer/peerpb/peerpbconnect"
)

// older is a broker of a build that does not know a procedure and a field.
type older struct {
	peerpbconnect.UnimplementedPeerHandler
}

func (older) Ping(context.Context, *pb.PingRequest) (*pb.PingResponse, error) {
	return &pb.PingResponse{Version: "old"}, nil
}

// TestOlderPeer: a field that the other does not know is ignored, and a procedure
// is refused, which is no unknown outcome.
func TestOlderPeer(t *testing.T) {
	_, handler := peerpbconnect.NewPeerHandler(older{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = strings.Replace(r.URL.Path, "Explain", "NotThereYet", 1) // as if we were of the next build
		handler.ServeHTTP(w, r)
	}))
	defer s.Close()
	c := peerpbconnect.NewPeerClient(s.Client(), s.URL)
	ping := &pb.PingRequest{}
	ping.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1))
	if resp, err := c.Ping(t.Context(), ping); err != nil || resp.Version != "old" {
		t.Errorf("%v, %v", resp, err)
	}
	for what, call := range map[string]func() (proto.Message, error){
		"a procedure without code":     func() (proto.Message, error) { return c.Upgrade(t.Context(), &pb.UpgradeRequest{}) },
		"a procedure that has no name": func() (proto.Message, error) { return c.Explain(t.Context(), &pb.ExplainRequest{}) },
	} {
		_, err := call()
		if connect.CodeOf(err) != connect.CodeUnimplemented {
			t.Errorf("%s: %v", what, err)
		}
		err = Outcome(t.Context(), err, nil)
		if !errors.Is(err, karst.UnsupportedVersion.Err()) || !strings.Contains(err.Error(), "run a newer Karst") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestCodesStay: the numbers of codes go between builds, so that new ones come last.
func TestCodesStay(t *testing.T) {
	for code, want := range map[karst.Code]int32{
		karst.NotLeader: 1, karst.InvalidRequest: 10, karst.TimedOut: 24, karst.NotController: 29,
		karst.UnsupportedVersion: 48, karst.FeatureUpdateFailed: 54, karst.EligibleNotAvailable: 60,
	} {
		if got := Refusal(code.Errorf("")).Code; got != want {
			t.Errorf("code %d was %d", got, want)
		}
	}
	if err := Err(&pb.Error{Code: 1000, Message: "new"}); !errors.Is(err, karst.Unknown.Err()) {
		t.Errorf("a code of a newer build: %v", err)
	}
}
