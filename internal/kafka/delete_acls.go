package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteAcls (key 31), versions 1–3.
//
// There is no authorizer: SECURITY_DISABLED for each, as from a Kafka without one.
// The unknown type (0) closes the connection, as there.
var deleteACLsAPI = API{Key: int16(kmsg.DeleteACLs), Min: 1, Advertised: 1, Max: 3, apply: (*Server).deleteACLs, frameMax: 16 << 20}

func (s *Server) deleteACLs(_ context.Context, r *Request) (Pending, error) {
	resp := kmsg.NewPtrDeleteACLsResponse()
	resp.Version = r.Version
	for _, f := range r.Body.(*kmsg.DeleteACLsRequest).Filters {
		if err := checkACL(f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType); err != nil {
			return nil, err
		}
		resp.Results = append(resp.Results, kmsg.DeleteACLsResponseResult{ErrorCode: kerr.SecurityDisabled.Code, ErrorMessage: new(noAuthorizer)})
		r.Note(kerr.SecurityDisabled.Code)
	}
	return Answer(resp), nil
}
