package kafka

import (
	"bytes"
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator/group"
)

// SyncGroup (key 14), versions 0–5.
//
//	v3 instance id (KIP-345)   v5 protocol type and name, which must be there (KIP-559)
//
// The answer waits for the assignment that the leader brings. Meanwhile the frame
// is given back.
//
// Different from Apache Kafka 4: while the coordinator loads, the answer is
// REBALANCE_IN_PROGRESS and not COORDINATOR_LOAD_IN_PROGRESS, as before Kafka's
// coordinator was rewritten. The Java consumer has no other way to be told: from
// the latter it throws.
var syncGroupAPI = API{Key: int16(kmsg.SyncGroup), Min: 0, Max: 5, apply: (*Server).syncGroup, frameMax: 16 << 20}

func (s *Server) syncGroup(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.SyncGroupRequest)
	answer := func(a group.SyncAnswer, err error) kmsg.Response {
		if err != nil {
			a = group.SyncAnswer{Err: err}
		}
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.Version = r.Version
		if errors.Is(a.Err, karst.CoordinatorLoading.Err()) {
			a.Err = karst.RebalanceInProgress.Err()
		}
		resp.ErrorCode = r.coordinatorCode(a.Err)
		resp.ProtocolType, resp.Protocol, resp.MemberAssignment = a.ProtocolType, a.Protocol, a.Assignment
		return resp
	}
	err := errNoGroupID(req.Group)
	if r.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		err = karst.InconsistentProtocol.Errorf("the protocol's type and name must be given")
	}
	if err != nil {
		return Answer(answer(group.SyncAnswer{}, err)), nil
	}
	q := group.SyncRequest{
		Group: req.Group, Member: req.MemberID, Generation: req.Generation, Instance: req.InstanceID,
		ProtocolType: req.ProtocolType, Protocol: req.Protocol,
		Assignments: make([]group.Assignment, len(req.GroupAssignment)),
	}
	for i, a := range req.GroupAssignment {
		q.Assignments[i] = group.Assignment{Member: a.MemberID, Bytes: bytes.Clone(a.MemberAssignment)}
	}
	call, err := s.deps.Groups.Sync(q)
	r.Body = nil // the wait may be long
	return awaitMembers(r, call, err, answer), nil
}
