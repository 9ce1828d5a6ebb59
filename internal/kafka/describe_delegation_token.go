package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeDelegationToken (key 41), versions 1–3.
//
// DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: see CreateDelegationToken.
var describeDelegationTokenAPI = API{
	Key: int16(kmsg.DescribeDelegationToken), Min: 1, Advertised: 1, Max: 3, apply: (*Server).describeDelegationToken, frameMax: 1 << 20,
}

func (s *Server) describeDelegationToken(_ context.Context, r *Request) (Pending, error) {
	resp := kmsg.NewPtrDescribeDelegationTokenResponse()
	resp.Version = r.Version
	resp.ErrorCode = kerr.DelegationTokenRequestNotAllowed.Code
	r.Note(resp.ErrorCode)
	return Answer(resp), nil
}
