package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// ElectLeaders (key 43), versions 0–2.
//
//	v1 election type (KIP-460)
//
// Whoever leads a partition is shown as its preferred replica, so that an election
// is never needed: ELECTION_NOT_NEEDED. When all partitions are asked about (null)
// those are left out, as in Kafka.
//
// Difference: leaders are placed without being asked. One that is missing cannot
// be elected (PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE): it
// comes as soon as a broker is live.
var electLeadersAPI = API{Key: int16(kmsg.ElectLeaders), Max: 2, apply: (*Server).electLeaders, forward: forwardAlways, frameMax: 16 << 20}

// Types of elections (KIP-460).
const (
	electPreferred = 0
	electUnclean   = 1
)

func (s *Server) electLeaders(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.ElectLeadersRequest)
	resp := kmsg.NewPtrElectLeadersResponse()
	resp.Version = r.Version
	e := election{r: r, img: s.deps.Images.Image(), kind: req.ElectionType}
	if r.Version < 1 {
		e.kind = electPreferred
	}
	e.replicas = metadata.NewReplicas(e.img)
	if e.kind != electPreferred && e.kind != electUnclean {
		resp.ErrorCode = kerr.InvalidRequest.Code
	}
	for _, t := range req.Topics {
		a := kmsg.NewElectLeadersResponseTopic()
		a.Topic = t.Topic
		for _, n := range t.Partitions {
			a.Partitions = append(a.Partitions, e.elect(t.Topic, n))
		}
		resp.Topics = append(resp.Topics, a)
	}
	if req.Topics == nil && resp.ErrorCode == 0 {
		resp.Topics = e.all()
	}
	r.Note(resp.ErrorCode)
	return Answer(resp), nil
}

// election is one ElectLeaders request.
type election struct {
	r        *Request
	img      *metadata.Image
	replicas metadata.Replicas
	kind     int8
}

// all answers for all partitions, but for those that need no election.
func (e *election) all() []kmsg.ElectLeadersResponseTopic {
	topics := make([]kmsg.ElectLeadersResponseTopic, 0, e.img.TopicCount())
	for ts := range e.img.Topics() {
		a := kmsg.NewElectLeadersResponseTopic()
		a.Topic = ts.Name
		for p := range e.img.PartitionsOf(ts.ID) {
			if e.replicas.Leader(p) < 0 {
				a.Partitions = append(a.Partitions, e.missing(int32(p.ID.Partition)))
			}
		}
		topics = append(topics, a)
	}
	return topics
}

// elect answers for one partition: with the reason why its leader is not elected.
func (e *election) elect(topic string, n int32) kmsg.ElectLeadersResponseTopicPartition {
	if e.kind != electPreferred && e.kind != electUnclean {
		return e.answer(n, kerr.InvalidRequest, "Unknown election type %d", e.kind)
	}
	ts, ok := e.img.Topic(topic)
	if !ok {
		return e.answer(n, kerr.UnknownTopicOrPartition, "No such topic as %s", topic)
	}
	p, ok := e.img.Partition(karst.TopicPartition{Topic: ts.ID, Partition: karst.Partition(n)})
	switch {
	case !ok:
		return e.answer(n, kerr.UnknownTopicOrPartition, "No such partition as %s-%d", topic, n)
	case e.replicas.Leader(p) < 0:
		return e.missing(n)
	}
	a := kmsg.NewElectLeadersResponseTopicPartition()
	a.Partition, a.ErrorCode = n, kerr.ElectionNotNeeded.Code // no failure for the metrics
	a.ErrorMessage = new("Leader election not needed for topic partition.")
	return a
}

// missing answers for a partition that has no leader.
func (e *election) missing(n int32) kmsg.ElectLeadersResponseTopicPartition {
	why := kerr.PreferredLeaderNotAvailable
	if e.kind == electUnclean {
		why = kerr.EligibleLeadersNotAvailable
	}
	return e.answer(n, why, "No broker is live that could lead the partition.")
}

func (e *election) answer(n int32, why *kerr.Error, format string, args ...any) kmsg.ElectLeadersResponseTopicPartition {
	a := kmsg.NewElectLeadersResponseTopicPartition()
	a.Partition, a.ErrorCode, a.ErrorMessage = n, why.Code, new(fmt.Sprintf(format, args...))
	e.r.Note(why.Code)
	return a
}
