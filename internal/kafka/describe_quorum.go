package kafka

import (
	"cmp"
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/metadata"
)

// DescribeQuorum (key 55), versions 0–2.
//
//	v1 timestamps (KIP-836)   v2 error messages, directories, nodes (KIP-853)
//
// As in Kafka, anything but a question about partition 0 of __cluster_metadata
// alone is UNKNOWN_TOPIC_OR_PARTITION.
//
// Difference: there is no quorum, for metadata are in the bucket. The answer is
// the one of a quorum of one voter, the broker that answers: its epoch is the term
// of the metadata log, its high watermark the number of the newest commit in that
// term. The voter's listener is the broker's own.
var describeQuorumAPI = API{Key: int16(kmsg.DescribeQuorum), Max: 2, apply: (*Server).describeQuorum, frameMax: 1 << 20}

// metadataTopic is the topic that Kafka's metadata log is called.
const metadataTopic = "__cluster_metadata"

func (s *Server) describeQuorum(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DescribeQuorumRequest)
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.Version, resp.ErrorMessage = r.Version, new("")
	known := len(req.Topics) == 1 && req.Topics[0].Topic == metadataTopic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
	if known {
		s.quorum(r, resp)
		return Answer(resp), nil
	}
	for _, t := range req.Topics {
		a := kmsg.NewDescribeQuorumResponseTopic()
		a.Topic = t.Topic
		for _, p := range t.Partitions {
			ap := kmsg.NewDescribeQuorumResponseTopicPartition()
			ap.Partition, ap.ErrorCode = p.Partition, kerr.UnknownTopicOrPartition.Code
			ap.ErrorMessage = &kerr.UnknownTopicOrPartition.Description
			r.Note(ap.ErrorCode)
			a.Partitions = append(a.Partitions, ap)
		}
		resp.Topics = append(resp.Topics, a)
	}
	return Answer(resp), nil
}

// quorum answers about the metadata log.
func (s *Server) quorum(r *Request, resp *kmsg.DescribeQuorumResponse) {
	img := s.deps.Images.Image()
	self := int32(s.cfg.Broker)
	voter := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	voter.ReplicaID, voter.LogEndOffset = self, int64(img.Position().Number)
	voter.LastFetchTimestamp, voter.LastCaughtUpTimestamp = r.Received.UnixMilli(), r.Received.UnixMilli()
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	p.ErrorMessage = new("")
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = self, int32(img.Position().Term), voter.LogEndOffset
	p.CurrentVoters = append(p.CurrentVoters, voter)
	t := kmsg.NewDescribeQuorumResponseTopic()
	t.Topic, t.Partitions = metadataTopic, append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	if b, ok := img.LiveBroker(s.cfg.Broker); ok {
		resp.Nodes = append(resp.Nodes, s.quorumNode(b))
	}
}

func (s *Server) quorumNode(b *metadata.BrokerState) kmsg.DescribeQuorumResponseNode {
	host, port := b.At(s.cfg.Listener)
	l := kmsg.NewDescribeQuorumResponseNodeListener()
	l.Name, l.Host, l.Port = cmp.Or(s.cfg.Listener, "PLAINTEXT"), host, uint16(port)
	n := kmsg.NewDescribeQuorumResponseNode()
	n.NodeID, n.Listeners = int32(b.ID), append(n.Listeners, l)
	return n
}
