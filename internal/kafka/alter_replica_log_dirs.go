package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// AlterReplicaLogDirs (key 34), versions 1–2.
//
// Moves replicas between the log directories of a broker. There is one (see
// DescribeLogDirs): a partition that is led here is in it already, any other
// directory is LOG_DIR_NOT_FOUND.
var alterReplicaLogDirsAPI = API{
	Key: int16(kmsg.AlterReplicaLogDirs), Min: 1, Advertised: 1, Max: 2, apply: (*Server).alterReplicaLogDirs, frameMax: 16 << 20,
}

func (s *Server) alterReplicaLogDirs(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.AlterReplicaLogDirsRequest)
	resp := kmsg.NewPtrAlterReplicaLogDirsResponse()
	resp.Version = r.Version
	at := map[string]int{} // of a topic in the answer
	for _, d := range req.Dirs {
		for _, t := range d.Topics {
			k, ok := at[t.Topic]
			if !ok {
				k = len(resp.Topics)
				at[t.Topic] = k
				a := kmsg.NewAlterReplicaLogDirsResponseTopic()
				a.Topic = t.Topic
				resp.Topics = append(resp.Topics, a)
			}
			for _, n := range t.Partitions {
				p := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
				p.Partition, p.ErrorCode = n, s.moveTo(d.Dir, t.Topic, n)
				r.Note(p.ErrorCode)
				resp.Topics[k].Partitions = append(resp.Topics[k].Partitions, p)
			}
		}
	}
	return Answer(resp), nil
}

// moveTo is the Kafka error of moving a partition's replica into a directory.
func (s *Server) moveTo(dir, topic string, n int32) int16 {
	if dir != s.cfg.LogDir {
		return kerr.LogDirNotFound.Code
	}
	tp, err := s.records.find(false, karst.TopicID{}, topic, n)
	if err != nil {
		return Code(err)
	}
	if _, err := s.deps.Data.Size(tp); err != nil {
		return kerr.ReplicaNotAvailable.Code
	}
	return 0
}
