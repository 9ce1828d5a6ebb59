package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// admin creates, deletes and trims.
type admin struct{ *client }

// verdict is what an error code of an admin request says.
func verdict(code int16, err error) outcome {
	switch {
	case err != nil:
		return unknown
	case code == 0:
		return acknowledged
	case indefinite(code):
		return unknown
	}
	return refused
}

// indefinite errors leave open whether the request had an effect.
func indefinite(code int16) bool {
	switch code {
	case kerr.RequestTimedOut.Code, kerr.UnknownServerError.Code, kerr.NetworkException.Code:
		return true
	}
	return false
}

// create creates a topic and finds out its id, for as long as it takes.
func (a *admin) create(ctx context.Context, name string, partitions int32, configs map[string]string) *topic {
	for ctx.Err() == nil {
		l, err := a.any(ctx)
		if err != nil {
			if !rest(ctx, 300*time.Millisecond) {
				return nil
			}
			continue
		}
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version, req.TimeoutMillis = 7, 10_000
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
		for k, v := range configs {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = k, &v
			t.Configs = append(t.Configs, c)
		}
		req.Topics = append(req.Topics, t)
		resp, err := a.do(ctx, l, req)
		if err != nil {
			continue
		}
		switch r := resp.(*kmsg.CreateTopicsResponse).Topics[0]; r.ErrorCode {
		case 0:
			return a.enter(name, r.TopicID, partitions, configs)
		case kerr.TopicAlreadyExists.Code: // an attempt of which we do not know
			if id, ok := a.lookup(ctx, l, name); ok {
				return a.enter(name, id, partitions, configs)
			}
		default:
			a.elsewhere(l)
		}
		if !rest(ctx, 200*time.Millisecond) {
			return nil
		}
	}
	return nil
}

func (a *admin) enter(name string, id [16]byte, partitions int32, configs map[string]string) *topic {
	_, retained := configs["retention.bytes"]
	t := &topic{name: name, id: id, partitions: partitions, retained: retained, high: map[int32]int64{}}
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	for _, have := range a.w.topics {
		if have.id == t.id {
			return have
		}
	}
	a.w.topics = append(a.w.topics, t)
	return t
}

func (a *admin) lookup(ctx context.Context, l *link, name string) (id karst.TopicID, ok bool) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &name
	req.Topics = append(req.Topics, t)
	resp, err := a.do(ctx, l, req)
	if err != nil {
		return id, false
	}
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		if t.ErrorCode == 0 && t.Topic != nil && *t.Topic == name {
			return t.TopicID, true
		}
	}
	return id, false
}

// remove deletes a topic, by its id. It tries once.
func (a *admin) remove(ctx context.Context, t *topic) {
	l, err := a.any(ctx)
	if err != nil {
		return
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis = 6, 10_000
	d := kmsg.NewDeleteTopicsRequestTopic()
	d.TopicID = t.id
	req.Topics = append(req.Topics, d)
	t.mu.Lock()
	t.doomed = true
	t.mu.Unlock()
	resp, err := a.do(ctx, l, req)
	var code int16
	if err == nil {
		code = resp.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode
	}
	if verdict(code, err) == acknowledged {
		t.mu.Lock()
		t.deleted = true
		t.mu.Unlock()
		a.w.event("topic deleted")
	}
}

// widen adds a partition.
func (a *admin) widen(ctx context.Context, t *topic) {
	l, err := a.any(ctx)
	if err != nil {
		return
	}
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Version, req.TimeoutMillis = 3, 10_000
	p := kmsg.NewCreatePartitionsRequestTopic()
	p.Topic, p.Count = t.name, t.count()+1
	req.Topics = append(req.Topics, p)
	resp, err := a.do(ctx, l, req)
	if err != nil {
		return
	}
	if resp.(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode == 0 {
		t.mu.Lock()
		t.partitions = p.Count
		t.mu.Unlock()
		a.w.event("partitions added")
	}
}

// trim deletes records of one partition.
func (a *admin) trim(ctx context.Context, t *topic, p int32) {
	l, err := a.leader(ctx, spotID{t.id, p})
	if err != nil {
		return
	}
	t.mu.Lock()
	high := t.high[p]
	t.mu.Unlock()
	if high == 0 {
		return
	}
	before := 1 + a.rng.Int64N(high)
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = 2, 10_000
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = t.name
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = p, before
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	d := deletion{tp: karst.TopicPartition{Topic: t.id, Partition: karst.Partition(p)}, before: before}
	resp, err := a.do(ctx, l, req)
	if err != nil {
		a.w.delete(d)
		return
	}
	r := resp.(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0]
	d.outcome, d.low = verdict(r.ErrorCode, nil), r.LowWatermark
	a.w.delete(d)
	if d.outcome == acknowledged {
		a.w.event("records deleted")
	} else {
		a.elsewhere(l)
	}
}

// look asks for offsets by time, and checks what can be checked at once.
func (a *admin) look(ctx context.Context, t *topic) {
	for _, at := range []int64{-1, -2, -3, time.Now().Add(-time.Duration(a.rng.IntN(20)) * time.Second).UnixMilli()} {
		if _, _, err := a.offset(ctx, t, a.rng.Int32N(t.count()), at); err != nil {
			return
		}
	}
	a.w.event("offsets listed")
}

// offset asks the leader for one offset.
func (c *client) offset(ctx context.Context, t *topic, p int32, at int64) (offset int64, code int16, err error) {
	l, err := c.leader(ctx, spotID{t.id, p})
	if err != nil {
		return 0, 0, err
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 8, -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = t.name
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = p, at, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := c.do(ctx, l, req)
	if err != nil {
		return 0, 0, err
	}
	r := resp.(*kmsg.ListOffsetsResponse)
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		return 0, 0, fmt.Errorf("ListOffsets answers %d topics", len(r.Topics))
	}
	a := &r.Topics[0].Partitions[0]
	if a.ErrorCode != 0 {
		c.elsewhere(l)
	}
	return a.Offset, a.ErrorCode, nil
}

// certainly asks for one offset until somebody answers, or ctx ends.
func (c *client) certainly(ctx context.Context, t *topic, p int32, at int64) (int64, error) {
	for {
		offset, code, err := c.offset(ctx, t, p, at)
		if err == nil {
			err = kerr.ErrorForCode(code)
		}
		if err == nil || !rest(ctx, 100*time.Millisecond) {
			return offset, err
		}
	}
}

// run does something now and then until ctx ends.
func (a *admin) run(ctx context.Context, churn int) {
	defer a.hangUp()
	for n := 0; rest(ctx, time.Duration(500+a.rng.IntN(3000))*time.Millisecond); n++ {
		living := a.w.living()
		if len(living) == 0 {
			continue
		}
		t := living[a.rng.IntN(len(living))]
		if a.w.clustered && a.rng.IntN(3) == 0 {
			a.move(ctx, t)
			continue
		}
		switch k := a.rng.IntN(10); {
		case k < 4 && t.name[0] != 'c':
			a.trim(ctx, t, a.rng.Int32N(t.count()))
		case k < 6:
			a.look(ctx, t)
		case k < 7 && t.count() < 6 && t.name[0] != 'c':
			a.widen(ctx, t)
		case k < 9 && churn > 0 && len(living) > 2 && t.name[0] == 'c':
			a.remove(ctx, t)
		case churn > 0:
			name := fmt.Sprintf("c%d", a.rng.IntN(churn))
			if !a.known(name) {
				a.create(ctx, name, 1+a.rng.Int32N(3), nil)
				a.w.event("topic created")
			}
		}
	}
}

// known reports whether a living topic has the name, or one whose deletion is
// not certain.
func (a *admin) known(name string) bool {
	for _, t := range a.w.allTopics() {
		t.mu.Lock()
		there := t.name == name && !t.deleted
		t.mu.Unlock()
		if there {
			return true
		}
	}
	return false
}
