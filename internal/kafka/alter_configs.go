package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/cluster/controller"
)

// AlterConfigs (key 33), versions 0–2.
//
// Replaces all explicit configs of a resource: those that the request leaves out
// go back to their defaults. Each resource succeeds or fails by itself.
//
// Difference: what is about listeners and their security cannot be changed while
// a broker runs (INVALID_REQUEST). What resources may have of configs is bounded
// (POLICY_VIOLATION): 1,000 and a MiB each, of 100,000 groups and subscriptions.
// A resource that is in a request twice is refused; Kafka does not answer.
var alterConfigsAPI = API{Key: int16(kmsg.AlterConfigs), Min: 0, Max: 2, apply: (*Server).alterConfigs, forward: forwardAlways, frameMax: 16 << 20}

func (s *Server) alterConfigs(ctx context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.AlterConfigsRequest)
	resp := kmsg.NewPtrAlterConfigsResponse()
	resp.Version = r.Version
	all := make([]alteration, len(req.Resources))
	for i, resource := range req.Resources {
		a := &all[i]
		a.kind, a.name, a.forwarded = resource.ResourceType, resource.ResourceName, r.Conn == nil
		for _, c := range resource.Configs {
			if c.Value == nil {
				a.nulls = append(a.nulls, c.Name)
			}
			a.changes = append(a.changes, controller.ConfigChange{Name: c.Name, Value: c.Value})
		}
	}
	s.alter(ctx, all, true, req.ValidateOnly)
	for _, a := range all {
		done := kmsg.NewAlterConfigsResponseResource()
		done.ResourceType, done.ResourceName = a.kind, a.name
		done.ErrorCode, done.ErrorMessage = r.Code(a.err), text(a.err)
		resp.Resources = append(resp.Resources, done)
	}
	return Answer(resp), nil
}
