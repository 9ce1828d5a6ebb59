package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator/group"
)

// LeaveGroup (key 13), versions 0–5.
//
//	v3 many members, by member or instance id (KIP-345)   v5 reason (KIP-800)
//
// From version 3 each member has an error of its own, and a group that does not
// exist is UNKNOWN_MEMBER_ID of each; before, the one member's is the answer's.
var leaveGroupAPI = API{Key: int16(kmsg.LeaveGroup), Min: 0, Max: 5, apply: (*Server).leaveGroup, frameMax: 4 << 20}

func (s *Server) leaveGroup(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.LeaveGroupRequest)
	q := group.LeaveRequest{Group: req.Group, Single: r.Version < 3}
	if q.Single {
		q.Members = []group.LeavingMember{{Member: req.MemberID}}
	}
	for _, m := range req.Members {
		l := group.LeavingMember{Member: m.MemberID, Instance: m.InstanceID}
		if m.Reason != nil {
			l.Reason = *m.Reason
		}
		q.Members = append(q.Members, l)
	}
	answer := func(a group.LeaveAnswer, err error) kmsg.Response {
		if err != nil {
			a = group.LeaveAnswer{Err: err}
		}
		return leaveResponse(r, q.Members, a)
	}
	if err := errNoGroupID(req.Group); err != nil {
		return Answer(answer(group.LeaveAnswer{}, err)), nil
	}
	call, err := s.deps.Groups.Leave(q)
	return await(call, err, answer), nil
}

// leaveResponse translates the answer.
func leaveResponse(r *Request, members []group.LeavingMember, a group.LeaveAnswer) *kmsg.LeaveGroupResponse {
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = r.Version
	switch {
	case r.Version < 3:
		if a.Err == nil && len(a.Members) > 0 {
			a.Err = a.Members[0].Err
		}
		resp.ErrorCode = r.coordinatorCode(a.Err)
		return resp
	case errors.Is(a.Err, karst.UnknownMember.Err()):
		a.Members = make([]group.LeftMember, len(members))
		for i, m := range members {
			a.Members[i] = group.LeftMember{Member: m.Member, Instance: m.Instance, Err: a.Err}
		}
	case a.Err != nil:
		resp.ErrorCode = r.coordinatorCode(a.Err)
		return resp
	}
	for _, m := range a.Members {
		lm := kmsg.NewLeaveGroupResponseMember()
		lm.MemberID, lm.InstanceID, lm.ErrorCode = m.Member, m.Instance, r.coordinatorCode(m.Err)
		resp.Members = append(resp.Members, lm)
	}
	return resp
}
