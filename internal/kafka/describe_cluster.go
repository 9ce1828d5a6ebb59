package kafka

import (
	"context"
	"math"
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// DescribeCluster (key 60), versions 0–2.
//
// The cluster's id and brokers. The controller it names is any live broker, for
// every broker takes every administrative request (as with KRaft). Controllers
// cannot be asked for (KIP-919): there is no listener for them.
var describeClusterAPI = API{Key: 60, Min: 0, Max: 2, apply: (*Server).describeCluster, frameMax: 64 << 10}

// Endpoint types of KIP-919.
const (
	endpointBroker     = 1
	endpointController = 2
)

// authorizedUnknown is the answer when authorized operations were not asked for.
const authorizedUnknown = math.MinInt32

// Operations that exist, as a bit set of their ACL numbers (KIP-430): without an
// authorizer everybody may do all of them.
const (
	clusterOperations int32 = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
	topicOperations   int32 = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
)

func (s *Server) describeCluster(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.Version = r.Version
	resp.ControllerID = -1
	if r.Version >= 1 && req.EndpointType != endpointBroker {
		resp.ErrorCode = kerr.UnsupportedEndpointType.Code
		if req.EndpointType == endpointController {
			resp.ErrorCode = kerr.MismatchedEndpointType.Code
		}
		resp.ErrorMessage = new("This listener serves brokers only.")
		r.Note(resp.ErrorCode)
		return Answer(resp), nil
	}
	img := s.deps.Images.Image()
	live := liveBrokers(img)
	resp.EndpointType = endpointBroker
	resp.ClusterID = img.Cluster().String()
	resp.ControllerID = anyBroker(live)
	resp.ClusterAuthorizedOperations = authorizedUnknown
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	for _, b := range live {
		resp.Brokers = append(resp.Brokers, s.describeBroker(b, false))
	}
	if req.IncludeFencedBrokers {
		for _, b := range deadBrokers(img, live) {
			resp.Brokers = append(resp.Brokers, s.describeBroker(b, true))
		}
	}
	return Answer(resp), nil
}

func (s *Server) describeBroker(b *metadata.BrokerState, fenced bool) kmsg.DescribeClusterResponseBroker {
	d := kmsg.NewDescribeClusterResponseBroker()
	d.NodeID, d.Rack, d.IsFenced = int32(b.ID), rackOf(b.Rack), fenced
	d.Host, d.Port = b.At(s.cfg.Listener)
	return d
}

// liveBrokers lists the live incarnations.
func liveBrokers(img *metadata.Image) []*metadata.BrokerState {
	var live []*metadata.BrokerState
	for b := range img.Brokers() {
		if b.Phase == metadata.Live {
			live = append(live, b)
		}
	}
	return live
}

// deadBrokers lists the newest incarnation of each broker that has no live one.
func deadBrokers(img *metadata.Image, live []*metadata.BrokerState) []*metadata.BrokerState {
	known := map[karst.BrokerID]bool{}
	for _, b := range live {
		known[b.ID] = true
	}
	newest := map[karst.BrokerID]*metadata.BrokerState{}
	var ids []karst.BrokerID
	for b := range img.Brokers() {
		if known[b.ID] {
			continue
		}
		if newest[b.ID] == nil {
			ids = append(ids, b.ID)
		}
		newest[b.ID] = b // they come in order
	}
	dead := make([]*metadata.BrokerState, 0, len(ids))
	for _, id := range ids {
		dead = append(dead, newest[id])
	}
	return dead
}

// anyBroker draws the broker that clients are told is the controller; -1 if none lives.
func anyBroker(live []*metadata.BrokerState) int32 {
	if len(live) == 0 {
		return -1
	}
	return int32(live[rand.IntN(len(live))].ID)
}
