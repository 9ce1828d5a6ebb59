package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator/group"
	"github.com/karst-io/karst/internal/metadata"
)

// OffsetFetch (key 9), versions 1–10.
//
//	v2 all topics by null, error of the group   v7 stable offsets (KIP-447)
//	v5 leader epochs                            v8 many groups (KIP-709)
//	v9 member of KIP-848                        v10 topics by id
//
// A group, topic or partition of which nothing was committed has offset -1 and no
// error. In version 1 an error of the group is that of every partition.
//
// Difference: an answer with more than 64 MiB of metadata, as a request can ask for
// that names one partition again and again, is not given: the connection is closed.
// It is closed, too, on a request for more than a million partitions, or for all of
// one group by more than 16 of its members.
var offsetFetchAPI = API{Key: int16(kmsg.OffsetFetch), Min: 1, Advertised: 1, Max: 10, apply: (*Server).offsetFetch, frameMax: 16 << 20}

// offsetFetch is an OffsetFetch request being answered.
type offsetFetch struct {
	s      *Server
	r      *Request
	groups []fetchedGroup
}

// fetchedGroup is one group of it.
type fetchedGroup struct {
	asked   group.FetchRequest
	unknown []kmsg.OffsetFetchResponseGroupTopic // topics whose ids are unknown
	call    group.Call[group.FetchAnswer]
	same    int   // if not negative, the group whose answer is this one's, too
	err     error // instead of call
}

func (s *Server) offsetFetch(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.OffsetFetchRequest)
	asked := req.Groups
	if r.Version < 8 {
		asked = []kmsg.OffsetFetchRequestGroup{singleGroup(req)}
	}
	if err := checkAsked(asked); err != nil {
		return nil, err
	}
	o := &offsetFetch{s: s, r: r, groups: make([]fetchedGroup, len(asked))}
	img := s.deps.Images.Image()
	whole := map[wholeGroup]int{}
	members := map[string]int{} // that ask for everything, by group
	for i := range asked {
		g := &o.groups[i]
		g.ask(img, r.Version, &asked[i])
		g.asked.Stable, g.same = req.RequireStable, -1
		if q := g.asked; q.All {
			w := wholeGroup{q.Group, q.Member, q.Epoch}
			first, again := whole[w]
			if again {
				g.same = first
				continue
			}
			whole[w] = i
			if members[q.Group]++; members[q.Group] > wholeMax {
				return nil, refused("all offsets of one group are asked for by more than %d members at once", wholeMax)
			}
		}
		g.call, g.err = s.deps.Groups.Fetch(g.asked)
	}
	r.Body = nil
	return o, nil
}

// wholeGroup asks for everything of a group. The answer is made when the request
// is applied: a few bytes ask for as much as the group has.
type wholeGroup struct {
	group, member string
	epoch         int32
}

const (
	wholeMax        = 16  // members that may ask for all of one group in one request
	askedGroupBytes = 256 // about what a group takes in a request that names it
)

// checkAsked refuses, before anything is read, what could not be answered: the
// names of partitions are a tenth of the size of what is kept for each.
func checkAsked(asked []kmsg.OffsetFetchRequestGroup) error {
	size := answerSize(len(asked) * askedGroupBytes)
	for i := range asked {
		for j := range asked[i].Topics {
			size += answerSize(len(asked[i].Topics[j].Partitions) * answerEntryBytes)
		}
	}
	return size.check()
}

// singleGroup is the one group of a request before version 8 as later versions
// have it.
func singleGroup(req *kmsg.OffsetFetchRequest) kmsg.OffsetFetchRequestGroup {
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = req.Group
	if req.Topics != nil {
		g.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(req.Topics))
	}
	for i, t := range req.Topics {
		g.Topics[i].Topic, g.Topics[i].Partitions = t.Topic, t.Partitions
	}
	return g
}

// ask translates what is asked of one group.
func (g *fetchedGroup) ask(img *metadata.Image, version int16, q *kmsg.OffsetFetchRequestGroup) {
	g.asked = group.FetchRequest{Group: q.Group, Epoch: -1, All: q.Topics == nil}
	if version >= 9 {
		g.asked.Epoch = q.MemberEpoch
		if q.MemberID != nil {
			g.asked.Member = *q.MemberID
		}
	}
	for _, t := range q.Topics {
		ref := group.TopicRef{Name: t.Topic}
		if version >= 10 {
			ts, ok := img.TopicByID(t.TopicID)
			if !ok {
				g.unknown = append(g.unknown, unknownTopic(t))
				continue
			}
			ref = group.TopicRef{Name: ts.Name, ID: ts.ID}
		}
		g.asked.Topics = append(g.asked.Topics, group.FetchTopic{Topic: ref, Partitions: t.Partitions})
	}
}

// unknownTopic is the answer for a topic id that there is not.
func unknownTopic(t kmsg.OffsetFetchRequestGroupTopic) kmsg.OffsetFetchResponseGroupTopic {
	a := kmsg.NewOffsetFetchResponseGroupTopic()
	a.TopicID = t.TopicID
	for _, p := range t.Partitions {
		a.Partitions = append(a.Partitions, noOffset(p, kerr.UnknownTopicID.Code))
	}
	return a
}

func noOffset(partition int32, code int16) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = partition, -1, -1, new(""), code
	return p
}

// Wait answers all groups.
func (o *offsetFetch) Wait(ctx context.Context) (Response, error) {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.Version = o.r.Version
	var size answerSize
	for i := range o.groups {
		g := &o.groups[i]
		if g.same >= 0 {
			resp.Groups = append(resp.Groups, resp.Groups[g.same])
		} else {
			var a group.FetchAnswer
			if g.err == nil {
				a, g.err = g.call.Wait(ctx)
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if g.err == nil {
				g.err = a.Err
			}
			resp.Groups = append(resp.Groups, o.group(g, a))
		}
		for _, t := range resp.Groups[i].Topics {
			for _, p := range t.Partitions {
				size.add(len(*p.Metadata))
			}
		}
		if err := size.check(); err != nil {
			return nil, err
		}
	}
	if o.r.Version < 8 {
		narrow(resp)
	}
	return Message(resp), nil
}

// group translates the answer of one group.
func (o *offsetFetch) group(g *fetchedGroup, a group.FetchAnswer) kmsg.OffsetFetchResponseGroup {
	rg := kmsg.NewOffsetFetchResponseGroup()
	rg.Group = g.asked.Group
	if g.err != nil {
		code := o.failure(g.err)
		if o.r.Version >= 2 {
			rg.ErrorCode = code
			return rg
		}
		for _, t := range g.asked.Topics {
			rt := kmsg.NewOffsetFetchResponseGroupTopic()
			rt.Topic = t.Topic.Name
			for _, p := range t.Partitions {
				rt.Partitions = append(rt.Partitions, noOffset(p, code))
			}
			rg.Topics = append(rg.Topics, rt)
		}
		return rg
	}
	img := o.s.deps.Images.Image()
	for _, t := range a.Topics {
		if o.r.Version >= 10 && t.Topic.ID == (karst.TopicID{}) {
			ts, ok := img.Topic(t.Topic.Name)
			if !ok {
				continue // there is no id to tell it by
			}
			t.Topic.ID = ts.ID
		}
		rg.Topics = append(rg.Topics, o.topic(t))
	}
	if len(g.unknown) > 0 {
		o.r.Note(kerr.UnknownTopicID.Code)
	}
	rg.Topics = append(rg.Topics, g.unknown...)
	return rg
}

func (o *offsetFetch) topic(t group.FetchedTopic) kmsg.OffsetFetchResponseGroupTopic {
	rt := kmsg.NewOffsetFetchResponseGroupTopic()
	rt.Topic, rt.TopicID = t.Topic.Name, t.Topic.ID
	rt.Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, len(t.Offsets))
	for i, f := range t.Offsets {
		p := &rt.Partitions[i]
		*p = noOffset(f.Partition, o.r.Code(f.Err))
		p.Offset, p.LeaderEpoch, p.Metadata = int64(f.Offset), int32(f.Epoch), new(f.Metadata)
	}
	return rt
}

// failure is the code of a group's error. Consumers before Kafka 3.9 do not try
// again on COORDINATOR_NOT_AVAILABLE here: it becomes NOT_COORDINATOR, be it the
// coordinator's or the log's (KAFKA-17456).
func (o *offsetFetch) failure(err error) int16 {
	switch Code(err) {
	case kerr.CoordinatorNotAvailable.Code, kerr.UnknownTopicOrPartition.Code, kerr.NotEnoughReplicas.Code, kerr.RequestTimedOut.Code:
		return o.r.Code(karst.NotCoordinator.Err())
	}
	return o.r.coordinatorCode(err)
}

// narrow turns the one group of resp into the fields that versions before 8 have.
func narrow(resp *kmsg.OffsetFetchResponse) {
	g := resp.Groups[0]
	resp.Groups, resp.ErrorCode = nil, g.ErrorCode
	for _, t := range g.Topics {
		nt := kmsg.NewOffsetFetchResponseTopic()
		nt.Topic = t.Topic
		for _, p := range t.Partitions {
			np := kmsg.NewOffsetFetchResponseTopicPartition()
			np.Partition, np.Offset, np.LeaderEpoch, np.Metadata, np.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			nt.Partitions = append(nt.Partitions, np)
		}
		resp.Topics = append(resp.Topics, nt)
	}
}
