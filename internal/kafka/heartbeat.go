package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/coordinator/group"
)

// Heartbeat (key 12), versions 0–4.
//
//	v3 instance id (KIP-345)
//
// While the group is being loaded the answer is that all is well, for nothing
// else can be said and a member need not be sent away, as in Kafka.
var heartbeatAPI = API{Key: int16(kmsg.Heartbeat), Min: 0, Max: 4, apply: (*Server).heartbeat, frameMax: 256 << 10}

func (s *Server) heartbeat(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.HeartbeatRequest)
	answer := func(a group.ErrAnswer, err error) kmsg.Response {
		if err == nil {
			err = a.Err
		}
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.Version = r.Version
		if Code(err) != kerr.CoordinatorLoadInProgress.Code {
			resp.ErrorCode = r.coordinatorCode(err)
		}
		return resp
	}
	if err := errNoGroupID(req.Group); err != nil {
		return Answer(answer(group.ErrAnswer{}, err)), nil
	}
	call, err := s.deps.Groups.Heartbeat(group.HeartbeatRequest{
		Group: req.Group, Member: req.MemberID, Generation: req.Generation, Instance: req.InstanceID,
	})
	return await(call, err, answer), nil
}
