package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// DescribeClientQuotas (key 48), versions 0–1.
//
// The filter is checked as in Kafka; then there are no quotas.
//
// Difference: there are no quotas yet, whatever was asked of AlterClientQuotas.
var describeClientQuotasAPI = API{
	Key: int16(kmsg.DescribeClientQuotas), Max: 1, apply: (*Server).describeClientQuotas, frameMax: 1 << 20,
}

// Types of entities that quotas are for (KIP-546, KIP-612).
const (
	entityUser   = "user"
	entityClient = "client-id"
	entityIP     = "ip"
)

func (s *Server) describeClientQuotas(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DescribeClientQuotasRequest)
	resp := kmsg.NewPtrDescribeClientQuotasResponse()
	resp.Version = r.Version
	if err := checkQuotaFilter(req.Components); err != nil {
		resp.ErrorCode, resp.ErrorMessage = r.Code(err), text(err)
		return Answer(resp), nil
	}
	resp.ErrorMessage, resp.Entries = new(""), []kmsg.DescribeClientQuotasResponseEntry{}
	return Answer(resp), nil
}

// How a component of a filter matches names.
const (
	matchExact   = 0
	matchDefault = 1
	matchAny     = 2
)

func checkQuotaFilter(components []kmsg.DescribeClientQuotasRequestComponent) error {
	var seen []string
	for _, c := range components {
		switch {
		case c.EntityType == "":
			return karst.InvalidRequest.Errorf("Invalid empty entity type.")
		case slices.Contains(seen, c.EntityType):
			return karst.InvalidRequest.Errorf("Entity type %s cannot appear more than once in the filter.", c.EntityType)
		case !slices.Contains([]string{entityUser, entityClient, entityIP}, c.EntityType):
			return karst.UnsupportedVersion.Errorf("Unsupported entity type %s", c.EntityType)
		case c.MatchType == matchExact && c.Match == nil:
			return karst.InvalidRequest.Errorf("Request specified MATCH_TYPE_EXACT, but set match string to null.")
		case c.MatchType == matchDefault && c.Match != nil:
			return karst.InvalidRequest.Errorf("Request specified MATCH_TYPE_DEFAULT, but also specified a match string.")
		case c.MatchType == matchAny && c.Match != nil:
			return karst.InvalidRequest.Errorf("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.")
		case c.MatchType < matchExact || c.MatchType > matchAny:
			return karst.InvalidRequest.Errorf("Unknown match type %d", int8(c.MatchType))
		}
		seen = append(seen, c.EntityType)
	}
	if slices.Contains(seen, entityIP) && len(seen) > 1 {
		return karst.InvalidRequest.Errorf(
			"Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.")
	}
	return nil
}
