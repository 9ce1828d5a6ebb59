package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// SaslHandshake (key 17), versions 0–1.
//
// The listener authenticates nobody: ILLEGAL_SASL_STATE, as on Kafka's plain
// listeners, and no mechanisms.
var saslHandshakeAPI = API{Key: int16(kmsg.SASLHandshake), Max: 1, apply: (*Server).saslHandshake, frameMax: 64 << 10}

func (s *Server) saslHandshake(_ context.Context, r *Request) (Pending, error) {
	resp := kmsg.NewPtrSASLHandshakeResponse()
	resp.Version = r.Version
	resp.ErrorCode = kerr.IllegalSaslState.Code
	r.Note(resp.ErrorCode)
	return Answer(resp), nil
}
