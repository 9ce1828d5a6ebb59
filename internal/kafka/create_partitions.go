package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// CreatePartitions (key 37), versions 0–3.
//
// Grows topics; shrinking is not possible. A manual assignment names replicas for
// the new partitions only.
//
// Difference: an internal topic does not grow (INVALID_PARTITIONS). The number of
// its partitions says where each group is: Kafka, once it is restarted, finds
// none of them.
var createPartitionsAPI = API{Key: 37, Min: 0, Max: 3, apply: (*Server).createPartitions, forward: forwardAlways, frameMax: 16 << 20}

func (s *Server) createPartitions(ctx context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.CreatePartitionsRequest)
	resp := kmsg.NewPtrCreatePartitionsResponse()
	resp.Version = r.Version
	ctx, cancel := adminContext(ctx, req.TimeoutMillis)
	defer cancel()

	twice := repeated(req.Topics, func(t kmsg.CreatePartitionsRequestTopic) string { return t.Topic })
	answered := map[string]bool{}
	var asked []kmsg.CreatePartitionsRequestTopic
	for _, t := range req.Topics {
		if !answered[t.Topic] {
			asked = append(asked, t)
		}
		answered[t.Topic] = true
	}
	resp.Topics = make([]kmsg.CreatePartitionsResponseTopic, len(asked))
	errs := make([]error, len(asked))
	concurrently(len(asked), func(i int) {
		if twice[asked[i].Topic] {
			errs[i] = karst.InvalidRequest.Errorf("Duplicate topic name.")
			return
		}
		errs[i] = s.growTopic(ctx, asked[i], req.ValidateOnly)
	})
	for i, t := range asked {
		a := &resp.Topics[i]
		*a = kmsg.NewCreatePartitionsResponseTopic()
		a.Topic, a.ErrorCode, a.ErrorMessage = t.Topic, r.Code(errs[i]), text(errs[i])
	}
	return Answer(resp), nil
}

func (s *Server) growTopic(ctx context.Context, t kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	img := s.deps.Images.Image()
	ts, ok := img.Topic(t.Topic)
	switch {
	case !ok:
		return karst.UnknownTopic.Errorf("This server does not host this topic-partition.")
	case t.Count == ts.Partitions:
		return karst.InvalidPartitions.Errorf("Topic already has %d partition(s).", ts.Partitions)
	case t.Count < ts.Partitions:
		return karst.InvalidPartitions.Errorf("The topic %s currently has %d partition(s); %d would not be an increase.", t.Topic, ts.Partitions, t.Count)
	case ts.Internal:
		return karst.InvalidPartitions.Errorf("The number of partitions of %s says where what it holds is found: it cannot change.", t.Topic)
	case t.Count-ts.Partitions > partitionsPerRequest:
		return karst.InvalidPartitions.Errorf("The topic %s would grow by more than %d partitions at once.", t.Topic, partitionsPerRequest)
	}
	assignment, err := newReplicas(ts, t)
	if err != nil {
		return err
	}
	return s.deps.Topics.CreatePartitions(ctx, ts.ID, t.Count, assignment, validateOnly)
}

// newReplicas are the replicas a client assigned to new partitions; nil if none.
func newReplicas(ts *metadata.TopicState, t kmsg.CreatePartitionsRequestTopic) ([][]karst.BrokerID, error) {
	if t.Assignment == nil {
		return nil, nil
	}
	if add := t.Count - ts.Partitions; int(add) != len(t.Assignment) {
		return nil, karst.InvalidAssignment.Errorf("Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", add, len(t.Assignment))
	}
	assignment := make([][]karst.BrokerID, len(t.Assignment))
	for i, a := range t.Assignment {
		assignment[i] = brokerIDs(a.Replicas)
	}
	return assignment, nil
}
