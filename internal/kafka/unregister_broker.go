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
// Difference: a broker that is gone has nothing to give up, so this changes nothing:
// DescribeCluster lists it as fenced until the cluster forgets it. One that is live
// is refused (INVALID_REQUEST): stop it instead.
var unregisterBrokerAPI = API{Key: int16(kmsg.UnregisterBroker), Max: 0, apply: (*Server).unregisterBroker, forward: forwardAlways, frameMax: 64 << 10}

func (s *Server) unregisterBroker(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.UnregisterBrokerRequest)
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	resp.Version = r.Version
	err := s.unregister(karst.BrokerID(req.BrokerID))
	resp.ErrorCode, resp.ErrorMessage = r.Code(err), text(err)
	return Answer(resp), nil
}

func (s *Server) unregister(id karst.BrokerID) error {
	img := s.deps.Images.Image()
	if _, live := img.LiveBroker(id); live {
		return karst.InvalidRequest.Errorf("Broker %d is live. It leaves the cluster by being stopped.", id)
	}
	for b := range img.Brokers() {
		if b.ID == id {
			return nil
		}
	}
	return karst.BrokerNotRegistered.Errorf("Broker ID %d is not currently registered", id)
}
