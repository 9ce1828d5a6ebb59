package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// UnregisterBroker (key 64), version 0.
//
// A broker that is not known is BROKER_ID_NOT_REGISTERED.
//
// Difference: one that is live is refused (INVALID_REQUEST): stop it instead. One
// that is gone is forgotten; where something still depends on it, such as write-ahead
// logs that are not recovered or that hold records, that part is not yet
// (INVALID_REQUEST, which says what), and DescribeCluster lists it as fenced.
var unregisterBrokerAPI = API{Key: int16(kmsg.UnregisterBroker), Max: 0, apply: (*Server).unregisterBroker, forward: forwardAlways, frameMax: 64 << 10}

// unregisterTimeout is how long a client waits for it that does not say, in ms.
const unregisterTimeout = 30_000

func (s *Server) unregisterBroker(ctx context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.UnregisterBrokerRequest)
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	resp.Version = r.Version
	ctx, cancel := adminContext(ctx, unregisterTimeout)
	defer cancel()
	err := s.deps.Topics.Unregister(ctx, karst.BrokerID(req.BrokerID))
	resp.ErrorCode, resp.ErrorMessage = r.Code(err), text(err)
	return Answer(resp), nil
}
