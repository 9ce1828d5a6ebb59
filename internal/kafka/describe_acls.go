package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeAcls (key 29), versions 1–3.
//
// There is no authorizer: SECURITY_DISABLED, as from a Kafka without one. The
// unknown type (0) closes the connection, as there.
var describeACLsAPI = API{Key: int16(kmsg.DescribeACLs), Min: 1, Advertised: 1, Max: 3, apply: (*Server).describeACLs, frameMax: 1 << 20}

func (s *Server) describeACLs(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DescribeACLsRequest)
	if err := checkACL(req.ResourceType, req.ResourcePatternType, req.Operation, req.PermissionType); err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrDescribeACLsResponse()
	resp.Version = r.Version
	resp.ErrorCode, resp.ErrorMessage = kerr.SecurityDisabled.Code, new("No Authorizer is configured on the broker")
	r.Note(resp.ErrorCode)
	return Answer(resp), nil
}

// checkACL refuses the code that stands for an unknown type, pattern, operation or
// permission. Codes that Kafka does not know come from clients that are newer.
func checkACL(resource kmsg.ACLResourceType, pattern kmsg.ACLResourcePatternType, op kmsg.ACLOperation, permission kmsg.ACLPermissionType) error {
	if resource == kmsg.ACLResourceTypeUnknown || pattern == kmsg.ACLResourcePatternTypeUnknown || op == kmsg.ACLOperationUnknown || permission == kmsg.ACLPermissionTypeUnknown {
		return refused("ACL of an unknown type, pattern, operation or permission")
	}
	return nil
}

// noAuthorizer is what Kafka says to changes of ACLs.
const noAuthorizer = "No Authorizer is configured."
