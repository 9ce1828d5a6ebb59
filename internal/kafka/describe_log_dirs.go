package kafka

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// DescribeLogDirs (key 35), versions 1–5.
//
// Where partitions lie and how many bytes each has; null is all partitions. What
// does not exist is left out.
//
// Difference: there is one log directory, the bucket; its path is the bucket's
// URL. A partition is listed by the broker that leads it and by no other, so that
// the sizes of all brokers add up to what is in the bucket; a size counts durable
// record batches, whether flushed or not, and nothing else that may lie in their
// objects. A bucket has no total and no usable bytes (-1).
var describeLogDirsAPI = API{
	Key: int16(kmsg.DescribeLogDirs), Min: 1, Advertised: 1, Max: 5, apply: (*Server).describeLogDirs, frameMax: 16 << 20,
}

func (s *Server) describeLogDirs(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DescribeLogDirsRequest)
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	resp.Version = r.Version
	img := s.deps.Images.Image()
	sizes := logSizes{log: s.deps.Data, topics: map[karst.TopicID]*kmsg.DescribeLogDirsResponseDirTopic{}}
	if req.Topics == nil {
		if self, ok := img.LiveBroker(s.cfg.Broker); ok {
			for p := range img.PartitionsLedBy(self.Incarnation) {
				if ts, ok := img.TopicByID(p.ID.Topic); ok {
					sizes.add(ts, p.ID.Partition)
				}
			}
		}
	}
	for _, t := range req.Topics {
		if ts, ok := img.Topic(t.Topic); ok {
			asked := slices.Clone(t.Partitions)
			slices.Sort(asked)
			for _, n := range slices.Compact(asked) {
				if n >= 0 && n < ts.Partitions {
					sizes.add(ts, karst.Partition(n))
				}
			}
		}
	}
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir, dir.Topics = s.cfg.LogDir, sizes.sorted()
	resp.Dirs = append(resp.Dirs, dir)
	return Answer(resp), nil
}

// logSizes gathers the sizes of the partitions that are led here.
type logSizes struct {
	log    Inventory
	topics map[karst.TopicID]*kmsg.DescribeLogDirsResponseDirTopic
}

func (l *logSizes) add(ts *metadata.TopicState, n karst.Partition) {
	size, err := l.log.Size(karst.TopicPartition{Topic: ts.ID, Partition: n})
	if err != nil {
		return // another broker's, by now
	}
	t := l.topics[ts.ID]
	if t == nil {
		t = new(kmsg.NewDescribeLogDirsResponseDirTopic())
		t.Topic = ts.Name
		l.topics[ts.ID] = t
	}
	p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
	p.Partition, p.Size = int32(n), size
	t.Partitions = append(t.Partitions, p)
}

func (l *logSizes) sorted() []kmsg.DescribeLogDirsResponseDirTopic {
	all := make([]kmsg.DescribeLogDirsResponseDirTopic, 0, len(l.topics))
	for _, t := range l.topics {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b kmsg.DescribeLogDirsResponseDirTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	return all
}
