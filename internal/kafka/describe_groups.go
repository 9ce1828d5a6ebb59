package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator/group"
)

// DescribeGroups (key 15), versions 0–6.
//
//	v3 authorized operations (KIP-430)   v4 instance ids (KIP-345)
//	v6 GROUP_ID_NOT_FOUND (KIP-1043): before, such a group is Dead without an error
//
// Difference: an answer with more than 64 MiB of metadata and assignments, as a
// request can ask for that names large groups again and again, is not given: the
// connection is closed.
var describeGroupsAPI = API{Key: int16(kmsg.DescribeGroups), Min: 0, Max: 6, apply: (*Server).describeGroups, frameMax: 16 << 20}

// groupOperations are all that exist for groups (see clusterOperations).
const groupOperations int32 = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

// describeGroups is a DescribeGroups request being answered.
type describeGroups struct {
	r          *Request
	operations int32
	calls      []namedCall[group.Description]
	asked      []int // the call of each group of the request, which may name one twice
}

// namedCall is what is asked of one of several groups.
type namedCall[T any] struct {
	group string
	call  group.Call[T]
	err   error // instead of call

	answered int // if not 0, the place of its answer among those of the request, from 1
}

// wait waits for the answer.
func (c *namedCall[T]) wait(ctx context.Context) (T, error) {
	if c.err != nil {
		var none T
		return none, c.err
	}
	return c.call.Wait(ctx)
}

func (s *Server) describeGroups(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DescribeGroupsRequest)
	d := &describeGroups{r: r, operations: authorizedUnknown, asked: make([]int, len(req.Groups))}
	if r.Version >= 3 && req.IncludeAuthorizedOperations {
		d.operations = groupOperations
	}
	calls := make(map[string]int, len(req.Groups))
	for i, id := range req.Groups {
		k, ok := calls[id]
		if !ok {
			k = len(d.calls)
			calls[id] = k
			c := namedCall[group.Description]{group: id}
			c.call, c.err = s.deps.Groups.Describe(id)
			d.calls = append(d.calls, c)
		}
		d.asked[i] = k
	}
	r.Body = nil // which may be larger than what is kept of it
	return d, nil
}

// Wait answers all groups.
func (d *describeGroups) Wait(ctx context.Context) (Response, error) {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Version = d.r.Version
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(d.asked))
	var size answerSize
	for i, k := range d.asked {
		c := &d.calls[k]
		if c.answered == 0 {
			a, err := c.wait(ctx)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			resp.Groups[i] = d.describe(c.group, a, err)
			c.answered = i + 1
		} else {
			resp.Groups[i] = resp.Groups[c.answered-1]
		}
		for _, m := range resp.Groups[i].Members {
			size.add(len(m.ProtocolMetadata) + len(m.MemberAssignment))
		}
		if err := size.check(); err != nil {
			return nil, err
		}
	}
	return Message(resp), nil
}

// describe translates the answer of one group.
func (d *describeGroups) describe(id string, a group.Description, err error) kmsg.DescribeGroupsResponseGroup {
	g := kmsg.NewDescribeGroupsResponseGroup()
	g.Group, g.AuthorizedOperations = id, authorizedUnknown
	if err == nil {
		err = a.Err
	}
	switch {
	case errors.Is(err, karst.GroupNotFound.Err()):
		g.State = "Dead"
		if d.r.Version < 6 {
			g.AuthorizedOperations = d.operations
			return g
		}
		if g.ErrorMessage = text(err); g.ErrorMessage == nil {
			g.ErrorMessage = new(fmt.Sprintf("Group %s not found.", id))
		}
		fallthrough
	case err != nil:
		g.ErrorCode = d.r.coordinatorCode(err)
		return g
	}
	g.AuthorizedOperations = d.operations
	g.State, g.ProtocolType, g.Protocol = a.State, a.ProtocolType, a.Protocol
	for _, m := range a.Members {
		gm := kmsg.NewDescribeGroupsResponseGroupMember()
		gm.MemberID, gm.InstanceID = m.Member, m.Instance
		gm.ClientID, gm.ClientHost = m.Client.ID, m.Client.Host
		gm.ProtocolMetadata, gm.MemberAssignment = m.Metadata, m.Assignment
		g.Members = append(g.Members, gm)
	}
	return g
}
