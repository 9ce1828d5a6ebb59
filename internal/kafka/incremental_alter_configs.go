package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/controller"
)

// IncrementalAlterConfigs (key 44), versions 0–1.
//
// Sets and removes configs, and appends to lists and subtracts from them; the
// others stay as they are (KIP-339). Removing what is not set is no error. Each
// resource succeeds or fails by itself. There is one logger, root; its level
// lasts as long as the broker runs (KIP-412).
//
// Difference: an operation that Kafka does not know is INVALID_REQUEST for
// topics, groups and client metrics, too, not UNKNOWN_SERVER_ERROR. What cannot
// be changed, and bounds, are as for AlterConfigs.
var incrementalAlterConfigsAPI = API{Key: int16(kmsg.IncrementalAlterConfigs), Min: 0, Max: 1, apply: (*Server).incrementalAlterConfigs, forward: forwardConfigs, frameMax: 16 << 20}

func (s *Server) incrementalAlterConfigs(ctx context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.IncrementalAlterConfigsRequest)
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	resp.Version = r.Version
	all := make([]alteration, len(req.Resources))
	for i, resource := range req.Resources {
		a := &all[i]
		a.kind, a.name, a.forwarded = resource.ResourceType, resource.ResourceName, r.Conn == nil
		for _, c := range resource.Configs {
			a.add(c)
		}
	}
	s.alter(ctx, all, false, req.ValidateOnly)
	for _, a := range all {
		done := kmsg.NewIncrementalAlterConfigsResponseResource()
		done.ResourceType, done.ResourceName = a.kind, a.name
		done.ErrorCode, done.ErrorMessage = r.Code(a.err), text(a.err)
		resp.Resources = append(resp.Resources, done)
	}
	return Answer(resp), nil
}

// add translates one change.
func (a *alteration) add(c kmsg.IncrementalAlterConfigsRequestResourceConfig) {
	change := controller.ConfigChange{Name: c.Name, Value: c.Value}
	switch c.Op {
	case kmsg.IncrementalAlterConfigOpSet:
	case kmsg.IncrementalAlterConfigOpDelete:
		change.Value = nil
	case kmsg.IncrementalAlterConfigOpAppend:
		change.Op = controller.ConfigAppend
	case kmsg.IncrementalAlterConfigOpSubtract:
		change.Op = controller.ConfigSubtract
	default:
		if a.err = karst.InvalidRequest.Errorf("Unknown operations type %d", c.Op); a.kind == kmsg.ConfigResourceTypeBrokerLogger {
			a.err = karst.InvalidRequest.Errorf("Unknown operation type %d is not allowed for the BROKER_LOGGER resource", c.Op)
		}
	}
	if c.Value == nil && c.Op != kmsg.IncrementalAlterConfigOpDelete {
		a.nulls = append(a.nulls, c.Name)
	}
	a.changes = append(a.changes, change)
}
