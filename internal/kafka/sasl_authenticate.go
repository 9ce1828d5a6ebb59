package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// SaslAuthenticate (key 36), versions 0–2.
//
// ILLEGAL_SASL_STATE: see SaslHandshake.
var saslAuthenticateAPI = API{Key: int16(kmsg.SASLAuthenticate), Max: 2, apply: (*Server).saslAuthenticate, frameMax: 512 << 10}

func (s *Server) saslAuthenticate(_ context.Context, r *Request) (Pending, error) {
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.Version = r.Version
	resp.ErrorCode = kerr.IllegalSaslState.Code
	resp.ErrorMessage = new("SaslAuthenticate request received after successful authentication")
	resp.SASLAuthBytes = []byte{}
	r.Note(resp.ErrorCode)
	return Answer(resp), nil
}
