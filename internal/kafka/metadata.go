package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// Metadata (key 3), versions 0–13.
//
// Brokers, topics and who leads each partition. All topics are asked for by null,
// in version 0 by an empty list. From version 12 topics can be asked for by id.
// A topic that does not exist is UNKNOWN_TOPIC_OR_PARTITION, even when asking
// creates it: creation is asynchronous, the client asks again.
//
// Differences from Apache Kafka: replicas are names only, for records are in the
// bucket. Shown are those assigned, the preferred leader first, and others up to
// the topic's replication factor or the number of brokers, whichever is lower, in
// place of those that are not live; all of them are in sync. A leader that is none
// of them is shown first. A partition without a live leader keeps the ones it had,
// as offline and still in sync. REBOOTSTRAP_REQUIRED is never sent.
var metadataAPI = API{Key: 3, Min: 0, Max: 13, apply: (*Server).metadata, frameMax: 16 << 20}

func (s *Server) metadata(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.MetadataRequest)
	resp := kmsg.NewPtrMetadataResponse()
	resp.Version = r.Version
	img := s.deps.Images.Image()
	live := liveBrokers(img)
	for _, b := range live {
		mb := kmsg.NewMetadataResponseBroker()
		mb.NodeID, mb.Rack = int32(b.ID), rackOf(b.Rack)
		mb.Host, mb.Port = b.At(s.cfg.Listener)
		resp.Brokers = append(resp.Brokers, mb)
	}
	resp.ClusterID = new(img.Cluster().String())
	resp.ControllerID = anyBroker(live)
	resp.AuthorizedOperations = authorizedUnknown
	if req.IncludeClusterAuthorizedOperations && r.Version >= 8 && r.Version <= 10 {
		resp.AuthorizedOperations = clusterOperations
	}

	v := newView(img, r.Version)
	if req.IncludeTopicAuthorizedOperations && r.Version >= 8 {
		v.operations = topicOperations
	}
	all := req.Topics == nil || r.Version == 0 && len(req.Topics) == 0
	switch {
	case all:
		for t := range img.Topics() {
			resp.Topics = append(resp.Topics, v.topic(t))
		}
	case misusesIDs(req):
		for _, t := range req.Topics {
			resp.Topics = append(resp.Topics, v.failed(t.Topic, t.TopicID, kerr.InvalidRequest.Code))
		}
		r.Note(kerr.InvalidRequest.Code)
	default:
		create := s.cfg.AutoCreateTopics && (req.AllowAutoTopicCreation || r.Version < 4)
		resp.Topics = s.metadataOf(r, v, req.Topics, create)
	}
	return Answer(resp), nil
}

// misusesIDs reports whether a request of a version that cannot use topic ids
// does so: 10 and 11 carry the field already.
func misusesIDs(req *kmsg.MetadataRequest) bool {
	if req.Version >= 12 {
		return false
	}
	for _, t := range req.Topics {
		if t.Topic == nil || t.TopicID != [16]byte{} {
			return true
		}
	}
	return false
}

// metadataOf answers for the topics asked for, each once.
func (s *Server) metadataOf(r *Request, v *view, asked []kmsg.MetadataRequestTopic, create bool) []kmsg.MetadataResponseTopic {
	type question struct {
		name string
		id   [16]byte
	}
	seen := make(map[question]bool, len(asked))
	topics := make([]kmsg.MetadataResponseTopic, 0, len(asked))
	for _, a := range asked {
		q := question{id: a.TopicID}
		if a.Topic != nil && q.id == [16]byte{} {
			q.name = *a.Topic
		}
		if seen[q] {
			continue
		}
		seen[q] = true
		topics = append(topics, s.metadataOfOne(r, v, a, create))
	}
	return topics
}

func (s *Server) metadataOfOne(r *Request, v *view, a kmsg.MetadataRequestTopic, create bool) kmsg.MetadataResponseTopic {
	fail := func(err *karst.Error) kmsg.MetadataResponseTopic {
		return v.failed(a.Topic, a.TopicID, r.Code(err))
	}
	if a.TopicID != [16]byte{} {
		if t, ok := v.img.TopicByID(a.TopicID); ok {
			return v.topic(t)
		}
		a.Topic = nil
		return fail(karst.UnknownTopicID.Err())
	}
	if a.Topic == nil {
		return fail(karst.InvalidRequest.Err())
	}
	if t, ok := v.img.Topic(*a.Topic); ok {
		return v.topic(t)
	}
	if err := checkTopicName(*a.Topic); err != nil {
		return fail(err)
	}
	if create {
		if _, collides := v.img.TopicLike(*a.Topic); collides {
			return fail(karst.InvalidTopic.Err())
		}
		s.autos.ask(*a.Topic)
	}
	return fail(karst.UnknownTopic.Err())
}

// view is the image as one request sees it.
type view struct {
	img        *metadata.Image
	version    int16
	replicas   metadata.Replicas
	operations int32 // that the client may do with topics
}

func newView(img *metadata.Image, version int16) *view {
	return &view{img: img, version: version, replicas: metadata.NewReplicas(img), operations: authorizedUnknown}
}

func (v *view) failed(name *string, id [16]byte, code int16) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.ErrorCode, t.Topic, t.TopicID = code, name, id
	t.AuthorizedOperations = v.operations
	if name == nil && v.version < 12 {
		t.Topic = new("")
	}
	return t
}

func (v *view) topic(ts *metadata.TopicState) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.IsInternal = &ts.Name, ts.ID, ts.Internal
	t.AuthorizedOperations = v.operations
	t.Partitions = make([]kmsg.MetadataResponseTopicPartition, 0, ts.Partitions)
	for p := range v.img.PartitionsOf(ts.ID) {
		t.Partitions = append(t.Partitions, v.partition(p, ts.ReplicationFactor))
	}
	return t
}

// partition shows a partition of a topic with a replication factor.
func (v *view) partition(ps *metadata.PartitionState, factor int16) kmsg.MetadataResponseTopicPartition {
	p := kmsg.NewMetadataResponseTopicPartition()
	p.Partition = int32(ps.ID.Partition)
	p.LeaderEpoch = int32(ps.Epoch)
	p.Leader = int32(v.replicas.Leader(ps))
	replicas := v.replicas.Of(ps, factor)
	p.Replicas = make([]int32, 0, len(replicas))
	for _, id := range replicas {
		if v.replicas.Live(id) || v.version > 0 {
			p.Replicas = append(p.Replicas, int32(id))
		}
		if !v.replicas.Live(id) {
			p.OfflineReplicas = append(p.OfflineReplicas, int32(id))
		}
	}
	p.ISR = p.Replicas
	switch {
	case p.Leader < 0:
		p.ErrorCode = kerr.LeaderNotAvailable.Code
	case v.version == 0 && len(p.OfflineReplicas) > 0:
		p.ErrorCode = kerr.ReplicaNotAvailable.Code
	}
	return p
}
