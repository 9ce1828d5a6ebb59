package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// RenewDelegationToken (key 39), versions 1–2.
//
// DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: see CreateDelegationToken.
var renewDelegationTokenAPI = API{
	Key: int16(kmsg.RenewDelegationToken), Min: 1, Advertised: 1, Max: 2, apply: (*Server).renewDelegationToken, frameMax: 1 << 20,
}

func (s *Server) renewDelegationToken(_ context.Context, r *Request) (Pending, error) {
	resp := kmsg.NewPtrRenewDelegationTokenResponse()
	resp.Version = r.Version
	resp.ErrorCode, resp.ExpiryTimestamp = kerr.DelegationTokenRequestNotAllowed.Code, -1
	r.Note(resp.ErrorCode)
	return Answer(resp), nil
}
