package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/coordinator/group"
)

// DeleteGroups (key 42), versions 0–2.
//
// Each group that has no members is deleted with its offsets; each succeeds or
// fails by itself. One that is named twice is answered once.
var deleteGroupsAPI = API{Key: int16(kmsg.DeleteGroups), Min: 0, Max: 2, apply: (*Server).deleteGroups, frameMax: 16 << 20}

// deleteGroups is a DeleteGroups request being answered.
type deleteGroups struct {
	r     *Request
	calls []namedCall[group.ErrAnswer]
}

func (s *Server) deleteGroups(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DeleteGroupsRequest)
	d := &deleteGroups{r: r}
	seen := make(map[string]bool, len(req.Groups))
	for _, id := range req.Groups {
		if seen[id] {
			continue
		}
		seen[id] = true
		c := namedCall[group.ErrAnswer]{group: id}
		c.call, c.err = s.deps.Groups.DeleteGroup(id)
		d.calls = append(d.calls, c)
	}
	r.Body = nil
	return d, nil
}

// Wait answers all groups.
func (d *deleteGroups) Wait(ctx context.Context) (Response, error) {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Version = d.r.Version
	for i := range d.calls {
		c := &d.calls[i]
		a, err := c.wait(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil {
			err = a.Err
		}
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group, g.ErrorCode = c.group, d.r.coordinatorCode(err)
		resp.Groups = append(resp.Groups, g)
	}
	return Message(resp), nil
}
