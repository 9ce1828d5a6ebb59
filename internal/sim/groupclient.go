package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupClient commits and fetches offsets, and notes both.
type groupClient struct {
	*client
	commitVersion, fetchVersion int16
	at                          *link // to the coordinator of the group it is about
}

func (w *World) newGroupClient(name string, seed uint64) *groupClient {
	c := &groupClient{client: w.newClient(name, seed)}
	c.commitVersion = []int16{2, 5, 7, 9, 10}[c.rng.IntN(5)]
	c.fetchVersion = []int16{1, 5, 7, 8, 9, 10}[c.rng.IntN(6)]
	return c
}

// connect finds the coordinator of a group.
func (c *groupClient) connect(ctx context.Context, group string) (err error) {
	c.at, err = c.coordinator(ctx, group)
	return err
}

// ask asks the coordinator.
func (c *groupClient) ask(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	return c.do(ctx, c.at, req)
}

// lost has the client look for the coordinator anew.
func (c *groupClient) lost() {
	if c.at != nil {
		c.elsewhere(c.at)
		c.at = nil
	}
}

// moved says of an error code that somebody else may be the coordinator.
func moved(code int16) bool {
	return code == kerr.NotCoordinator.Code || code == kerr.CoordinatorNotAvailable.Code
}

// commit commits a new value for each of the places. It returns the first error
// code.
func (c *groupClient) commit(ctx context.Context, req *kmsg.OffsetCommitRequest, places []place) (code int16, err error) {
	req.Version = c.commitVersion
	var writes []*regWrite
	for _, p := range places {
		sent := c.w.tick()
		w := &regWrite{value: int64(sent), sent: sent, source: c.name + " at " + c.at.to.Name}
		writes = append(writes, w)
		c.w.commit(p, w)
		q := kmsg.NewOffsetCommitRequestTopicPartition()
		q.Partition, q.Offset, q.Metadata = p.partition, w.value, new(p.metadata(w.value))
		i := slices.IndexFunc(req.Topics, func(t kmsg.OffsetCommitRequestTopic) bool { return t.Topic == p.topic })
		if i < 0 {
			i = len(req.Topics)
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic, t.TopicID = p.topic, c.w.topicNamed(p.topic).id
			req.Topics = append(req.Topics, t)
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, q)
	}
	resp, err := c.ask(ctx, req)
	if err != nil {
		return 0, err // what became of it is unknown
	}
	codes := c.commitCodes(resp.(*kmsg.OffsetCommitResponse))
	for i, p := range places {
		k, ok := codes[p.of("")]
		if !ok {
			c.w.reportf(Unexpected, "an answer to OffsetCommit v%d leaves out %s", req.Version, p)
			continue
		}
		c.w.committed(writes[i], commitVerdict(k))
		if code == 0 {
			code = k
		}
	}
	if code == kerr.UnknownTopicOrPartition.Code || code == kerr.UnknownTopicID.Code {
		return kerr.NotCoordinator.Code, nil // at a zombie that has not heard of it
	}
	return code, nil
}

// of is the same partition of another group.
func (p place) of(group string) place { return place{group, p.topic, p.partition} }

func (c *groupClient) commitCodes(r *kmsg.OffsetCommitResponse) map[place]int16 {
	codes := map[place]int16{}
	for _, t := range r.Topics {
		name := c.topicOf(t.Topic, t.TopicID, r.Version >= 10)
		for _, p := range t.Partitions {
			codes[place{"", name, p.Partition}] = p.ErrorCode
		}
	}
	return codes
}

// commitVerdict is what a commit's error code says.
func commitVerdict(code int16) outcome {
	if moved(code) {
		return unknown // it may have been decided before the coordinator went
	}
	return verdict(code, nil)
}

// topicOf is the name of a topic in an answer.
func (c *groupClient) topicOf(name string, id [16]byte, byID bool) string {
	if !byID {
		return name
	}
	if t := c.w.topicByID(id); t != nil {
		return t.name
	}
	c.w.reportf(Unexpected, "an answer about offsets names topic %x", id)
	return ""
}

// fetch reads the offsets of places of one group; all there are, for nil. It
// returns errElsewhere if the coordinator is to be looked for anew.
func (c *groupClient) fetch(ctx context.Context, group string, places []place) error {
	all := places == nil
	if all {
		if c.fetchVersion < 2 {
			return nil
		}
		places = c.w.places(group)
	}
	sent := c.w.tick()
	resp, err := c.ask(ctx, c.fetchRequest(group, places, all))
	if err != nil {
		return err
	}
	answered := c.w.tick()
	source := fmt.Sprintf("%s (v%d) at %s", c.name, c.fetchVersion, c.at.to.Name)
	answer, code := c.fetchAnswer(resp.(*kmsg.OffsetFetchResponse))
	switch code {
	case 0:
	case kerr.CoordinatorLoadInProgress.Code:
		c.w.event("fetch of offsets while loading")
		rest(ctx, 100*time.Millisecond)
		return nil
	case kerr.NotCoordinator.Code, kerr.CoordinatorNotAvailable.Code:
		c.w.event("fetch of offsets refused")
		return errElsewhere
	default:
		c.w.reportf(Unexpected, "%s: OffsetFetch of %s: %v", source, group, kerr.ErrorForCode(code))
		return errElsewhere
	}
	for _, p := range places {
		a, ok := answer[p.of("")]
		switch {
		case !ok && all:
			a.Offset = -1
		case !ok:
			c.w.reportf(Unexpected, "%s: an answer to OffsetFetch leaves out %s", source, p)
			continue
		case a.Offset >= 0 && (a.Metadata == nil || *a.Metadata != p.metadata(a.Offset)):
			c.w.reportf(Corrupt, "%s: %s has offset %d with metadata %v", source, p, a.Offset, a.Metadata)
			continue
		}
		c.w.fetched(p, regRead{value: a.Offset, sent: sent, answered: answered, source: source})
	}
	c.w.event("offsets fetched")
	return nil
}

func (c *groupClient) fetchRequest(group string, places []place, all bool) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group, req.RequireStable = c.fetchVersion, group, c.fetchVersion >= 7
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	for _, p := range places {
		if all {
			break
		}
		i := slices.IndexFunc(req.Topics, func(t kmsg.OffsetFetchRequestTopic) bool { return t.Topic == p.topic })
		if i < 0 {
			i = len(req.Topics)
			t, u := kmsg.NewOffsetFetchRequestTopic(), kmsg.NewOffsetFetchRequestGroupTopic()
			t.Topic, u.Topic, u.TopicID = p.topic, p.topic, c.w.topicNamed(p.topic).id
			req.Topics, g.Topics = append(req.Topics, t), append(g.Topics, u)
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p.partition)
		g.Topics[i].Partitions = append(g.Topics[i].Partitions, p.partition)
	}
	req.Groups = append(req.Groups, g)
	return req
}

// fetchAnswer is what an answer tells, or its first error.
func (c *groupClient) fetchAnswer(r *kmsg.OffsetFetchResponse) (map[place]kmsg.OffsetFetchResponseTopicPartition, int16) {
	answer, code := map[place]kmsg.OffsetFetchResponseTopicPartition{}, r.ErrorCode
	take := func(topic string, p kmsg.OffsetFetchResponseTopicPartition) {
		answer[place{"", topic, p.Partition}] = p
		if code == 0 {
			code = p.ErrorCode
		}
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			take(t.Topic, p)
		}
	}
	for _, g := range r.Groups {
		if code == 0 {
			code = g.ErrorCode
		}
		for _, t := range g.Topics {
			name := c.topicOf(t.Topic, t.TopicID, r.Version >= 10)
			for _, p := range t.Partitions {
				q := kmsg.NewOffsetFetchResponseTopicPartition()
				q.Partition, q.Offset, q.Metadata, q.ErrorCode = p.Partition, p.Offset, p.Metadata, p.ErrorCode
				take(name, q)
			}
		}
	}
	return answer, code
}

// topicNamed is the living topic of a name; the first, which is never deleted
// where groups are about it.
func (w *World) topicNamed(name string) *topic {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.topics {
		if t.name == name {
			return t
		}
	}
	panic("BUG: no topic " + name)
}
