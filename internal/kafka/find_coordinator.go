package kafka

import (
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/coordinator/group"
	"github.com/karst-io/karst/internal/metadata"
)

// FindCoordinator (key 10), versions 0–6.
//
//	v1 key types, error messages   v4 many keys (KIP-699)   v6 share groups (KIP-932)
//
// The coordinator of a group is the leader of its partition of __consumer_offsets.
// The first lookup has that topic created, behind the answer:
// COORDINATOR_NOT_AVAILABLE, on which clients ask again.
//
// Difference: transactions have no coordinator yet (COORDINATOR_NOT_AVAILABLE),
// nor have share groups (INVALID_REQUEST, as from a Kafka that does not serve
// them).
var findCoordinatorAPI = API{Key: int16(kmsg.FindCoordinator), Min: 0, Max: 6, apply: (*Server).findCoordinator, frameMax: 16 << 20}

// Types of keys.
const (
	keyGroup       = 0
	keyTransaction = 1
	keyShare       = 2
)

func (s *Server) findCoordinator(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.FindCoordinatorRequest)
	resp := kmsg.NewPtrFindCoordinatorResponse()
	resp.Version = r.Version
	if r.Version < 4 {
		c := s.coordinator(r, req.CoordinatorType, req.CoordinatorKey)
		resp.NodeID, resp.Host, resp.Port, resp.ErrorCode = c.NodeID, c.Host, c.Port, c.ErrorCode
		resp.ErrorMessage = new("NONE")
		if err, ok := kerr.ErrorForCode(c.ErrorCode).(*kerr.Error); ok { //nolint:errorlint // it comes from kerr's table
			resp.ErrorMessage = new(err.Description)
		}
		return Answer(resp), nil
	}
	for _, key := range req.CoordinatorKeys {
		resp.Coordinators = append(resp.Coordinators, s.coordinator(r, req.CoordinatorType, key))
	}
	return Answer(resp), nil
}

// coordinator finds the coordinator of one key.
func (s *Server) coordinator(r *Request, kind int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	c := kmsg.NewFindCoordinatorResponseCoordinator()
	c.Key, c.NodeID, c.Port, c.ErrorMessage = key, -1, -1, new("")
	var node *metadata.BrokerState
	err := error(karst.InvalidRequest.Errorf("no coordinator has keys of type %d", kind))
	switch kind {
	case keyGroup:
		node, err = s.groupCoordinator(key)
	case keyTransaction:
		err = karst.CoordinatorNotAvailable.Errorf("there are no transactions yet")
	}
	if err != nil {
		c.ErrorCode = r.Code(err)
		if kind < keyGroup || kind > keyShare {
			c.ErrorMessage = text(err) // as in Kafka, only of what is no type at all
		}
		return c
	}
	c.NodeID = int32(node.ID)
	c.Host, c.Port = node.At(s.cfg.Listener)
	return c
}

// groupCoordinator is the broker that leads the partition of a group. It has the
// topic of groups created if there is none.
func (s *Server) groupCoordinator(id string) (*metadata.BrokerState, error) {
	img := s.deps.Images.Image()
	t, ok := img.Topic(group.Topic)
	if !ok {
		s.autos.ask(group.Topic)
		return nil, karst.CoordinatorNotAvailable.Errorf("%s is being created", group.Topic)
	}
	at := s.deps.Groups.Partition(id)
	p, ok := img.Partition(karst.TopicPartition{Topic: t.ID, Partition: karst.Partition(at)})
	if at < 0 || !ok {
		return nil, karst.CoordinatorNotAvailable.Errorf("%s is not known to the coordinator yet", group.Topic)
	}
	b, ok := img.Broker(p.Leader)
	if !ok || b.Phase != metadata.Live {
		return nil, karst.CoordinatorNotAvailable.Errorf("partition %d of %s has no leader", at, group.Topic)
	}
	return b, nil
}

// groupTopic is how the topic of groups is made, as by Kafka.
func (s *Server) groupTopic() controller.TopicSpec {
	return controller.TopicSpec{
		Name: group.Topic, Partitions: s.cfg.OffsetsPartitions, ReplicationFactor: -1, Internal: true,
		Configs: map[string]string{
			"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": strconv.Itoa(100 << 20),
		},
	}
}
