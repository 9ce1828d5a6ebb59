package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateAcls (key 30), versions 1–3.
//
// There is no authorizer: SECURITY_DISABLED for each, as from a Kafka without one.
// The unknown type (0) closes the connection, as there.
var createACLsAPI = API{Key: int16(kmsg.CreateACLs), Min: 1, Advertised: 1, Max: 3, apply: (*Server).createACLs, frameMax: 16 << 20}

func (s *Server) createACLs(_ context.Context, r *Request) (Pending, error) {
	resp := kmsg.NewPtrCreateACLsResponse()
	resp.Version = r.Version
	for _, c := range r.Body.(*kmsg.CreateACLsRequest).Creations {
		if err := checkACL(c.ResourceType, c.ResourcePatternType, c.Operation, c.PermissionType); err != nil {
			return nil, err
		}
		resp.Results = append(resp.Results, kmsg.CreateACLsResponseResult{ErrorCode: kerr.SecurityDisabled.Code, ErrorMessage: new(noAuthorizer)})
		r.Note(kerr.SecurityDisabled.Code)
	}
	return Answer(resp), nil
}
