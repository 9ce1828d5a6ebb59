package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator/group"
	"github.com/karst-io/karst/internal/metadata"
)

// OffsetCommit (key 8), versions 2–10.
//
//	v2–4 retention time   v6 leader epoch         v7 instance id (KIP-345)
//	v9 GROUP_ID_NOT_FOUND of a group that does not exist (KIP-848)
//	v10 topics by id (KIP-848)
//
// Topics and partitions that do not exist fail by themselves; the rest goes on. A
// request of which nothing is left does not reach the coordinator.
//
// Difference: a member that commits what it has committed already writes nothing,
// for a sixteenth of offsets.retention. Who reads __consumer_offsets sees no new
// record of an idle consumer.
var offsetCommitAPI = API{Key: int16(kmsg.OffsetCommit), Min: 2, Advertised: 2, Max: 10, apply: (*Server).offsetCommit, frameMax: 16 << 20}

// offsetCommit is an OffsetCommit request being answered.
type offsetCommit struct {
	r      *Request
	resp   *kmsg.OffsetCommitResponse
	offers []*kmsg.OffsetCommitResponseTopicPartition // what the coordinator was given, in order
}

func (s *Server) offsetCommit(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.OffsetCommitRequest)
	q := group.CommitRequest{
		Group: req.Group, Member: req.MemberID, Generation: req.Generation, Instance: req.InstanceID,
		Retention: -1, ByEpoch: r.Version >= 9,
	}
	if r.Version <= 4 && req.RetentionTimeMillis >= 0 {
		q.Retention = time.Duration(min(req.RetentionTimeMillis, retentionMax)) * time.Millisecond
	}
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = r.Version
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	o := &offsetCommit{r: r, resp: resp}
	img := s.deps.Images.Image()
	for i := range req.Topics {
		o.take(img, &req.Topics[i], &resp.Topics[i], &q)
	}
	if len(q.Offsets) == 0 {
		return Answer(resp), nil
	}
	call, err := s.deps.Groups.Commit(q)
	r.Body = nil
	return await(call, err, o.answer), nil
}

// retentionMax is the longest retention time a commit may ask for, in
// milliseconds: 100 years.
const retentionMax = 100 * 365 * 24 * 60 * 60 * 1000

// take checks the partitions of one topic, and puts those that exist into q.
func (o *offsetCommit) take(img *metadata.Image, t *kmsg.OffsetCommitRequestTopic, a *kmsg.OffsetCommitResponseTopic, q *group.CommitRequest) {
	*a = kmsg.NewOffsetCommitResponseTopic()
	a.Topic, a.TopicID = t.Topic, t.TopicID
	a.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions))
	ts, known := topicNamed(img, o.r.Version >= 10, t.TopicID, t.Topic)
	for i := range t.Partitions {
		p, ap := &t.Partitions[i], &a.Partitions[i]
		ap.Partition = p.Partition
		switch {
		case !known && o.r.Version >= 10:
			ap.ErrorCode = kerr.UnknownTopicID.Code
		case !known, p.Partition < 0, p.Partition >= ts.Partitions:
			ap.ErrorCode = kerr.UnknownTopicOrPartition.Code
		default:
			c := group.CommitOffset{
				Topic: group.TopicRef{Name: ts.Name, ID: ts.ID}, Partition: p.Partition,
				Offset: karst.Offset(p.Offset), Epoch: -1,
			}
			if o.r.Version >= 6 {
				c.Epoch = karst.Epoch(p.LeaderEpoch)
			}
			if p.Metadata != nil {
				c.Metadata = *p.Metadata
			}
			q.Offsets = append(q.Offsets, c)
			o.offers = append(o.offers, ap)
		}
		o.r.Note(ap.ErrorCode)
	}
}

// topicNamed finds the topic that a request names by id or by name.
func topicNamed(img *metadata.Image, byID bool, id karst.TopicID, name string) (*metadata.TopicState, bool) {
	if byID {
		return img.TopicByID(id)
	}
	return img.Topic(name)
}

// answer fills in what the coordinator says: of all it was given, or of each.
func (o *offsetCommit) answer(a group.CommitAnswer, err error) kmsg.Response {
	if err == nil {
		err = a.Err
	}
	for i, p := range o.offers {
		if err != nil {
			p.ErrorCode = o.r.coordinatorCode(err)
		} else {
			p.ErrorCode = o.r.Code(a.Errs[i])
		}
	}
	return o.resp
}
