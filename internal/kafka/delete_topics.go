package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// DeleteTopics (key 20), versions 1–6.
//
// By name, and from version 6 by name or id. A topic is gone from this broker's
// metadata when the answer is sent, and from the others' soon after; its objects
// are deleted by the collector.
var deleteTopicsAPI = API{Key: 20, Min: 1, Advertised: 1, Max: 6, apply: (*Server).deleteTopics, forward: forwardAlways, frameMax: 16 << 20}

func (s *Server) deleteTopics(ctx context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DeleteTopicsRequest)
	resp := kmsg.NewPtrDeleteTopicsResponse()
	resp.Version = r.Version
	ctx, cancel := adminContext(ctx, req.TimeoutMillis)
	defer cancel()

	asked := req.Topics
	for _, name := range req.TopicNames {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &name
		asked = append(asked, t)
	}
	resp.Topics = make([]kmsg.DeleteTopicsResponseTopic, len(asked))
	ids := make([]karst.TopicID, len(asked))
	errs := make([]error, len(asked))
	for i, t := range asked {
		a := &resp.Topics[i]
		*a = kmsg.NewDeleteTopicsResponseTopic()
		a.Topic, a.TopicID = t.Topic, t.TopicID
		ids[i], errs[i] = s.topicToDelete(a)
	}
	twice := repeated(ids, karst.TopicID.String)
	concurrently(len(asked), func(i int) {
		switch {
		case errs[i] != nil:
		case twice[ids[i].String()]:
			errs[i] = karst.InvalidRequest.Errorf("The topic was given more than once.")
		default:
			errs[i] = s.deps.Topics.DeleteTopic(ctx, ids[i])
		}
	})
	for i, err := range errs {
		resp.Topics[i].ErrorCode, resp.Topics[i].ErrorMessage = r.Code(err), text(err)
	}
	resp.Topics = answeredOnce(resp.Topics, func(i int) bool { return ids[i] != karst.TopicID{} && twice[ids[i].String()] })
	return Answer(resp), nil
}

// answeredOnce leaves one answer to each name or id that was given more than once,
// and without the other of the two, as Kafka does.
func answeredOnce(all []kmsg.DeleteTopicsResponseTopic, twice func(i int) bool) []kmsg.DeleteTopicsResponseTopic {
	once, answered := all[:0], map[string]bool{}
	for i, a := range all {
		if twice(i) {
			if answered[*a.Topic] {
				continue
			}
			answered[*a.Topic] = true
			a.TopicID = karst.TopicID{}
		}
		once = append(once, a)
	}
	return once
}

// topicToDelete finds the topic that a names, and completes a.
func (s *Server) topicToDelete(a *kmsg.DeleteTopicsResponseTopic) (karst.TopicID, error) {
	img := s.deps.Images.Image()
	switch byID := a.TopicID != [16]byte{}; {
	case !s.cfg.DeleteTopics:
		return karst.TopicID{}, karst.TopicDeletionDisabled.Errorf("Topic deletion is disabled.")
	case byID && a.Topic != nil:
		return karst.TopicID{}, karst.InvalidRequest.Errorf("You may not specify both topic name and topic id.")
	case byID:
		t, ok := img.TopicByID(a.TopicID)
		if !ok {
			return karst.TopicID{}, karst.UnknownTopicID.Errorf("This server does not host this topic ID.")
		}
		a.Topic = &t.Name
		return t.ID, nil
	case a.Topic == nil:
		return karst.TopicID{}, karst.InvalidRequest.Errorf("Neither topic name nor id were specified.")
	}
	t, ok := img.Topic(*a.Topic)
	if !ok {
		return karst.TopicID{}, karst.UnknownTopic.Errorf("This server does not host this topic-partition.")
	}
	a.TopicID = t.ID
	return t.ID, nil
}
