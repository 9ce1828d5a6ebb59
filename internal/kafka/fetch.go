package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// Fetch reads records.
//
// Versions 4 to 18.
//
//	v5  LogStartOffset          v12  LastFetchedEpoch, DivergingEpoch (KIP-595)
//	v7  sessions (KIP-227)      v13  topic ids (KIP-516)
//	v9  CurrentLeaderEpoch      v16  CurrentLeader, NodeEndpoints (KIP-951)
//	v11 preferred replica: -1
//
// All of a fetch happens in Wait, one at a time for a connection, as in Kafka:
// what is in memory is taken at once, in the order of the session; what is in
// segments is read beside it, so that a slow store keeps back one partition and
// not the others. See poll.
//
// Different from Apache Kafka: batches are never cut at the end; a second fetch
// on a session whose first one is not answered gets INVALID_FETCH_SESSION_EPOCH
// (Kafka gives that to the first one); replicas' requests are served as
// consumers'.
func fetchAPI() API {
	return API{Key: int16(kmsg.Fetch), Min: 4, Max: 18, Advertised: 4, apply: applyFetch, frameMax: fetchFrameMax}
}

// fetchFrameMax bounds a Fetch request in bytes: about 200,000 partitions.
const fetchFrameMax = 8 << 20

// fetchRequest is a Fetch request in the words of the domain.
type fetchRequest struct {
	version    int16
	wait       time.Duration
	minBytes   int64
	maxBytes   int64
	committed  bool
	session    int32
	epoch      int32
	partitions []fetchPartition
	forget     []forgotten
}

func applyFetch(s *Server, _ context.Context, r *Request) (Pending, error) {
	return &poll{d: s.records, r: r, q: fetchRequestOf(r.Body.(*kmsg.FetchRequest), s.records.bytesMax), draining: r.Conn.Draining()}, nil
}

// fetchRequestOf translates a request; bytesMax is the broker's bound.
func fetchRequestOf(m *kmsg.FetchRequest, bytesMax int64) *fetchRequest {
	q := &fetchRequest{
		version: m.Version, wait: time.Duration(m.MaxWaitMillis) * time.Millisecond,
		maxBytes:  min(int64(max(m.MaxBytes, 0)), bytesMax),
		committed: m.IsolationLevel == 1,
		session:   m.SessionID, epoch: m.SessionEpoch,
	}
	q.minBytes = min(int64(m.MinBytes), q.maxBytes)
	n := 0
	for i := range m.Topics {
		n += len(m.Topics[i].Partitions)
	}
	q.partitions = make([]fetchPartition, 0, n)
	for i := range m.Topics {
		t := &m.Topics[i]
		topic := &fetchTopic{name: t.Topic, id: t.TopicID}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			q.partitions = append(q.partitions, fetchPartition{
				topic: topic, index: p.Partition,
				offset: karst.Offset(p.FetchOffset), maxBytes: p.PartitionMaxBytes,
				current: karst.Epoch(p.CurrentLeaderEpoch), last: karst.Epoch(p.LastFetchedEpoch),
			})
		}
	}
	for i := range m.ForgottenTopics {
		t := &m.ForgottenTopics[i]
		for _, index := range t.Partitions {
			q.forget = append(q.forget, forgotten{fetchTopic{t.Topic, t.TopicID}, index})
		}
	}
	return q
}
