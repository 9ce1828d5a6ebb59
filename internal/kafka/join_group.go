package kafka

import (
	"bytes"
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/coordinator/group"
)

// JoinGroup (key 11), versions 0–9.
//
//	v1 rebalance timeout          v5 instance id (KIP-345)         v8 reason (KIP-800)
//	v4 member id first (KIP-394)  v7 protocol type (KIP-559)       v9 skip assignment (KIP-814)
//
// The answer waits until the other members have joined, too: for as long as the
// rebalance timeout. Meanwhile the frame is given back; what the coordinator
// keeps of it is copied.
var joinGroupAPI = API{Key: int16(kmsg.JoinGroup), Min: 0, Max: 9, apply: (*Server).joinGroup, frameMax: 16 << 20}

func (s *Server) joinGroup(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.JoinGroupRequest)
	answer := func(a group.JoinAnswer, err error) kmsg.Response {
		if err != nil {
			a = group.JoinAnswer{Err: err, Generation: -1}
		}
		return joinResponse(r, a)
	}
	if err := errNoGroupID(req.Group); err != nil {
		return Answer(joinResponse(r, group.JoinAnswer{Err: err, Generation: -1, Member: req.MemberID})), nil
	}
	call, err := s.deps.Groups.Join(joinRequest(r, req))
	r.Body = nil // the wait may be long
	return awaitMembers(r, call, err, answer), nil
}

func joinRequest(r *Request, req *kmsg.JoinGroupRequest) group.JoinRequest {
	j := group.JoinRequest{
		Group: req.Group, Member: req.MemberID, Instance: req.InstanceID, Client: r.groupClient(),
		SessionTimeout:   time.Duration(req.SessionTimeoutMillis) * time.Millisecond,
		RebalanceTimeout: time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond,
		ProtocolType:     req.ProtocolType,
		Protocols:        make([]group.Protocol, len(req.Protocols)),
		NeedMemberID:     r.Version >= 4,
		CanSkip:          r.Version >= 9,
	}
	if r.Version == 0 {
		j.RebalanceTimeout = j.SessionTimeout
	}
	if req.Reason != nil {
		j.Reason = *req.Reason
	}
	for i, p := range req.Protocols {
		j.Protocols[i] = group.Protocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)}
	}
	return j
}

// joinResponse translates the answer. Version 7 made null of a protocol that is not
// chosen, which was empty before.
func joinResponse(r *Request, a group.JoinAnswer) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = r.Version
	resp.ErrorCode = r.coordinatorCode(a.Err)
	resp.Generation, resp.LeaderID, resp.MemberID = a.Generation, a.Leader, a.Member
	resp.ProtocolType, resp.SkipAssignment = a.ProtocolType, a.SkipAssignment
	switch named := a.Protocol != nil && *a.Protocol != ""; {
	case named:
		resp.Protocol = a.Protocol
	case r.Version < 7:
		resp.Protocol = new("")
	}
	for _, m := range a.Members {
		jm := kmsg.NewJoinGroupResponseMember()
		jm.MemberID, jm.InstanceID, jm.ProtocolMetadata = m.Member, m.Instance, m.Metadata
		resp.Members = append(resp.Members, jm)
	}
	return resp
}
