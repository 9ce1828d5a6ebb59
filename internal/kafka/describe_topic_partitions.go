package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// DescribeTopicPartitions (key 75), version 0.
//
// What Metadata tells of topics, in pages (KIP-966): topics by name, at most as
// many partitions as the client and max.request.partition.size.limit allow, and a
// cursor to the first one left out. No topics asked for is all. The topic of a
// cursor must be among those asked for.
//
// Difference: nothing is ever an eligible leader replica, for all replicas are
// always in sync. An empty name is INVALID_TOPIC_EXCEPTION, for that topic alone;
// Kafka answers all of a request without a cursor with UNKNOWN_SERVER_ERROR.
var describeTopicPartitionsAPI = API{
	Key: int16(kmsg.DescribeTopicPartitions), Max: 0, apply: (*Server).describeTopicPartitions, frameMax: 16 << 20,
}

// partitionsPerPage is Kafka's default of max.request.partition.size.limit.
const partitionsPerPage = 2000

func (s *Server) describeTopicPartitions(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DescribeTopicPartitionsRequest)
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	resp.Version = r.Version
	v := newView(s.deps.Images.Image(), metadataAPI.Max)
	v.operations = topicOperations

	var from kmsg.DescribeTopicPartitionsRequestCursor
	if req.Cursor != nil {
		from = *req.Cursor
	}
	names, everything := v.pageOf(req.Topics, from.Topic)
	if req.Cursor != nil && (from.Partition < 0 || !everything && (len(names) == 0 || names[0] != from.Topic)) {
		for _, t := range req.Topics {
			resp.Topics = append(resp.Topics, describedFailure(r, t.Topic, kerr.InvalidRequest.Code, authorizedUnknown))
		}
		r.Note(kerr.InvalidRequest.Code)
		return Answer(resp), nil
	}
	left := min(max(req.ResponsePartitionLimit, 1), partitionsPerPage)
	for _, name := range names {
		if left == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name}
			break
		}
		if _, ok := v.img.Topic(name); !ok {
			code := kerr.UnknownTopicOrPartition.Code
			if checkTopicName(name) != nil {
				code = kerr.InvalidTopicException.Code
			}
			resp.Topics = append(resp.Topics, describedFailure(r, name, code, topicOperations))
			continue
		}
		var first int32
		if name == from.Topic {
			first = from.Partition
		}
		t, next := v.describe(name, first, left)
		resp.Topics = append(resp.Topics, t)
		if next >= 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: next}
			break
		}
		left -= int32(len(t.Partitions))
	}
	return Answer(resp), nil
}

// pageOf lists the topics asked for from a name on, sorted, each once; all topics
// if none are asked for.
func (v *view) pageOf(asked []kmsg.DescribeTopicPartitionsRequestTopic, from string) (names []string, everything bool) {
	if len(asked) == 0 {
		for t := range v.img.Topics() {
			if t.Name >= from {
				names = append(names, t.Name)
			}
			if len(names) > partitionsPerPage {
				break // each has a partition at least
			}
		}
		return names, true
	}
	for _, t := range asked {
		if t.Topic >= from {
			names = append(names, t.Topic)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), false
}

// describe shows up to limit partitions of a topic from index first on, and the
// index of the next one; -1 if there is none.
func (v *view) describe(name string, first, limit int32) (kmsg.DescribeTopicPartitionsResponseTopic, int32) {
	ts, _ := v.img.Topic(name)
	t := kmsg.NewDescribeTopicPartitionsResponseTopic()
	t.Topic, t.TopicID, t.IsInternal, t.AuthorizedOperations = &ts.Name, ts.ID, ts.Internal, v.operations
	end := int32(min(int64(ts.Partitions), int64(first)+int64(limit)))
	for n := first; n < end; n++ {
		ps, ok := v.img.Partition(karst.TopicPartition{Topic: ts.ID, Partition: karst.Partition(n)})
		if !ok {
			panic("BUG: the image lacks a partition of a topic it has")
		}
		m := v.partition(ps, ts.ReplicationFactor)
		p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		p.ErrorCode, p.Partition, p.LeaderID, p.LeaderEpoch = 0, n, m.Leader, m.LeaderEpoch
		p.Replicas, p.ISR, p.OfflineReplicas = m.Replicas, m.ISR, m.OfflineReplicas
		p.EligibleLeaderReplicas, p.LastKnownELR = []int32{}, []int32{}
		t.Partitions = append(t.Partitions, p)
	}
	if end < ts.Partitions {
		return t, end
	}
	return t, -1
}

func describedFailure(r *Request, name string, code int16, operations int32) kmsg.DescribeTopicPartitionsResponseTopic {
	t := kmsg.NewDescribeTopicPartitionsResponseTopic()
	t.Topic, t.ErrorCode, t.AuthorizedOperations = &name, code, operations
	r.Note(code)
	return t
}
