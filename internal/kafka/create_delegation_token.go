package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateDelegationToken (key 38), versions 1–3.
//
//	v3 tokens for others (KIP-373)
//
// Tokens need an authenticated connection, and there is none:
// DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, as from a Kafka asked in plain text.
var createDelegationTokenAPI = API{
	Key: int16(kmsg.CreateDelegationToken), Min: 1, Advertised: 1, Max: 3, apply: (*Server).createDelegationToken, frameMax: 1 << 20,
}

// Who is not authenticated, as a principal.
const (
	principalUser = "User"
	anonymous     = "ANONYMOUS"
)

func (s *Server) createDelegationToken(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.CreateDelegationTokenRequest)
	resp := kmsg.NewPtrCreateDelegationTokenResponse()
	resp.Version = r.Version
	resp.ErrorCode = kerr.DelegationTokenRequestNotAllowed.Code
	r.Note(resp.ErrorCode)
	resp.PrincipalType, resp.PrincipalName = principalUser, anonymous
	if req.OwnerPrincipalName != nil && *req.OwnerPrincipalName != "" {
		resp.PrincipalName = *req.OwnerPrincipalName
		if req.OwnerPrincipalType != nil {
			resp.PrincipalType = *req.OwnerPrincipalType
		}
	}
	resp.TokenRequesterPrincipalType, resp.TokenRequesterPrincipalName = principalUser, anonymous
	resp.IssueTimestamp, resp.ExpiryTimestamp, resp.MaxTimestamp = -1, -1, -1
	resp.HMAC = []byte{}
	return Answer(resp), nil
}
