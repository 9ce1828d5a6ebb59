package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ExpireDelegationToken (key 40), versions 1–2.
//
// DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: see CreateDelegationToken.
var expireDelegationTokenAPI = API{
	Key: int16(kmsg.ExpireDelegationToken), Min: 1, Advertised: 1, Max: 2, apply: (*Server).expireDelegationToken, frameMax: 1 << 20,
}

func (s *Server) expireDelegationToken(_ context.Context, r *Request) (Pending, error) {
	resp := kmsg.NewPtrExpireDelegationTokenResponse()
	resp.Version = r.Version
	resp.ErrorCode, resp.ExpiryTimestamp = kerr.DelegationTokenRequestNotAllowed.Code, -1
	r.Note(resp.ErrorCode)
	return Answer(resp), nil
}
