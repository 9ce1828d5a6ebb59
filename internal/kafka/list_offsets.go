package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
)

// ListOffsets finds offsets by time, or the ends of partitions.
//
// Versions 1 to 11.
//
//	v4 leader epochs        v8  -4, earliest local (KIP-405)
//	v7 -3, largest time     v9  -5, latest tiered (KIP-1005)
//	v10 timeout (KIP-1075)  v11 -6, earliest pending upload (KIP-1023)
//
// Lookups by time read segments: they run when the request's turn to be answered
// comes, a few at once.
func listOffsetsAPI() API {
	return API{Key: int16(kmsg.ListOffsets), Min: 1, Max: 11, Advertised: 1, apply: applyListOffsets, frameMax: 8 << 20}
}

const (
	// listOffsetsTimeout is that of versions that do not say.
	listOffsetsTimeout = 30 * time.Second
	// listOffsetsAtOnce bounds the lookups of one request that go on at once.
	listOffsetsAtOnce = 8
)

// specialSince are the versions from which a special timestamp may be asked for.
var specialSince = map[karst.Timestamp]int16{
	engine.Latest: 1, engine.Earliest: 1, engine.MaxTimestamp: 7,
	engine.EarliestLocal: 8, engine.LatestTiered: 9, engine.EarliestPending: 11,
}

// listOffsets is a ListOffsets request being answered.
type listOffsets struct {
	d         *records
	r         *Request
	resp      *kmsg.ListOffsetsResponse
	committed bool
	timeout   time.Duration
	lookups   []lookup
}

// lookup is one partition of it.
type lookup struct {
	where   karst.TopicPartition
	at      karst.Timestamp
	current karst.Epoch
	answer  *kmsg.ListOffsetsResponseTopicPartition
}

func applyListOffsets(s *Server, _ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.ListOffsetsRequest)
	l := &listOffsets{
		d: s.records, r: r, committed: req.IsolationLevel == 1, timeout: listOffsetsTimeout,
		resp: &kmsg.ListOffsetsResponse{Version: r.Version, Topics: make([]kmsg.ListOffsetsResponseTopic, len(req.Topics))},
	}
	if r.Version >= 10 && req.TimeoutMillis > 0 {
		l.timeout = min(l.timeout, time.Duration(req.TimeoutMillis)*time.Millisecond)
	}
	count := make(map[producedTo]int)
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			count[producedTo{topic: req.Topics[i].Topic, index: req.Topics[i].Partitions[j].Partition}]++
		}
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		answers := make([]kmsg.ListOffsetsResponseTopicPartition, len(t.Partitions))
		l.resp.Topics[i] = kmsg.ListOffsetsResponseTopic{Topic: t.Topic, Partitions: answers}
		for j := range t.Partitions {
			p, a := &t.Partitions[j], &answers[j]
			a.Partition, a.Offset, a.Timestamp, a.LeaderEpoch = p.Partition, -1, -1, -1
			at := karst.Timestamp(p.Timestamp)
			where, err := s.records.find(false, karst.TopicID{}, t.Topic, p.Partition)
			since, special := specialSince[at]
			switch {
			case count[producedTo{topic: t.Topic, index: p.Partition}] > 1:
				a.ErrorCode = kerr.InvalidRequest.Code
			case at < 0 && (!special || r.Version < since):
				a.ErrorCode = kerr.UnsupportedVersion.Code
			case err != nil:
				a.ErrorCode = Code(err)
			default:
				l.lookups = append(l.lookups, lookup{where, at, karst.Epoch(p.CurrentLeaderEpoch), a})
			}
			r.Note(a.ErrorCode)
		}
	}
	return l, nil
}

// readsStore reports whether a lookup may have to read segments.
func (l *lookup) readsStore() bool { return l.at >= 0 || l.at == engine.MaxTimestamp }

// Wait answers all lookups.
func (l *listOffsets) Wait(ctx context.Context) (Response, error) {
	timed, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	var running sync.WaitGroup
	slots := make(chan struct{}, listOffsetsAtOnce)
	for i := range l.lookups {
		k := &l.lookups[i]
		if !k.readsStore() || len(l.lookups) == 1 {
			l.find(timed, k)
			continue
		}
		slots <- struct{}{}
		running.Go(func() {
			l.find(timed, k)
			<-slots
		})
	}
	running.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i := range l.lookups {
		l.r.Note(l.lookups[i].answer.ErrorCode)
	}
	return Message(l.resp), nil
}

func (l *listOffsets) find(ctx context.Context, k *lookup) {
	found, err := l.d.log.ListOffset(ctx, k.where, k.at, k.current, l.committed)
	if err != nil {
		k.answer.ErrorCode = Code(asNamed(false, err))
		return
	}
	k.answer.Offset, k.answer.Timestamp, k.answer.LeaderEpoch = int64(found.Offset), int64(found.Timestamp), int32(found.Epoch)
}
