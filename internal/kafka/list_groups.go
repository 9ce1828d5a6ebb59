package kafka

import (
	"context"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups (key 16), versions 0–5.
//
//	v4 states, and only those asked for (KIP-518)   v5 types, likewise (KIP-848)
//
// Each broker lists the groups that it coordinates. Filters do not distinguish
// upper and lower case; a state or type that there is not matches nothing.
var listGroupsAPI = API{Key: int16(kmsg.ListGroups), Min: 0, Max: 5, apply: (*Server).listGroups, frameMax: 256 << 10}

func (s *Server) listGroups(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.ListGroupsRequest)
	resp := kmsg.NewPtrListGroupsResponse()
	resp.Version = r.Version
	all, err := s.deps.Groups.List()
	if err != nil {
		resp.ErrorCode = r.coordinatorCode(err)
		return Answer(resp), nil
	}
	states, types := filter(req.StatesFilter), filter(req.TypesFilter)
	for _, g := range all {
		if !states(g.State) || !types(g.Type) {
			continue
		}
		lg := kmsg.NewListGroupsResponseGroup()
		lg.Group, lg.ProtocolType, lg.GroupState, lg.GroupType = g.Group, g.ProtocolType, g.State, g.Type
		resp.Groups = append(resp.Groups, lg)
	}
	return Answer(resp), nil
}

// filter lets pass what is wanted; everything when nothing is.
func filter(wanted []string) func(string) bool {
	set := make(map[string]bool, len(wanted))
	for _, w := range wanted {
		set[strings.ToLower(strings.TrimSpace(w))] = true
	}
	return func(s string) bool { return len(set) == 0 || set[strings.ToLower(s)] }
}
