package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/metadata"
)

// ElectLeaders (key 43), versions 0–2.
//
//	v1 election type (KIP-460)
//
// A preferred election has partitions handed over to the first of the replicas
// that they were assigned, and answers when they are led there, or with
// REQUEST_TIMED_OUT. When all partitions are asked about (null) those that need no
// election are left out, as in Kafka.
//
// Difference: a leader that is missing cannot be elected
// (PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE): one is placed
// without being asked as soon as a broker is live. A preferred leader that is
// drained is not available.
var electLeadersAPI = API{Key: int16(kmsg.ElectLeaders), Max: 2, apply: (*Server).electLeaders, forward: forwardAlways, frameMax: 16 << 20}

// Types of elections (KIP-460).
const (
	electPreferred = 0
	electUnclean   = 1
)

// electionMax bounds the wait for leaders that are moving: the broker that the
// client asked waits for our answer.
const electionMax = forwardMax - 10*time.Second

// electionPoll is how often the image is looked at for leaders that are moving.
const electionPoll = 10 * time.Millisecond

// election is an ElectLeaders request, whose moves it waits for.
type election struct {
	s     *Server
	r     *Request
	resp  *kmsg.ElectLeadersResponse
	all   bool // partitions that need no election are left out
	topic []electionTopic
	until time.Time
}

// electionTopic is one topic of it.
type electionTopic struct {
	name       string
	partitions []int32
	elected    []controller.Elected // of each
}

func (s *Server) electLeaders(ctx context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.ElectLeadersRequest)
	resp := kmsg.NewPtrElectLeadersResponse()
	resp.Version = r.Version
	kind := req.ElectionType
	if r.Version < 1 {
		kind = electPreferred
	}
	ctx, cancel := adminContext(ctx, req.TimeoutMillis)
	defer cancel()
	e := &election{s: s, r: r, resp: resp, all: req.Topics == nil}
	e.until = time.Now().Add(electionMax)
	if d, ok := ctx.Deadline(); ok && d.Before(e.until) {
		e.until = d
	}
	known := kind == electPreferred || kind == electUnclean
	switch {
	case e.all && known:
		e.askAll(s.deps.Images.Image())
	case !e.all:
		for _, t := range req.Topics {
			e.topic = append(e.topic, electionTopic{name: t.Topic, partitions: t.Partitions})
		}
	}
	if !known {
		resp.ErrorCode = kerr.InvalidRequest.Code
		r.Note(resp.ErrorCode)
		e.failAll(karst.InvalidRequest.Errorf("Unknown election type %d", kind))
		return e, nil
	}
	names := e.names()
	if len(names) == 0 {
		return e, nil
	}
	elected, err := s.deps.Topics.Elect(ctx, names, kind == electPreferred)
	if err != nil {
		resp.ErrorCode = r.Code(err)
		e.failAll(err)
		return e, nil
	}
	for i := range e.topic {
		n := len(e.topic[i].partitions)
		e.topic[i].elected, elected = elected[:n], elected[n:]
	}
	return e, nil
}

// askAll asks about all partitions there are.
func (e *election) askAll(img *metadata.Image) {
	for ts := range img.Topics() {
		t := electionTopic{name: ts.Name, partitions: make([]int32, 0, ts.Partitions)}
		for n := range ts.Partitions {
			t.partitions = append(t.partitions, n)
		}
		e.topic = append(e.topic, t)
	}
}

func (e *election) names() []controller.PartitionName {
	var names []controller.PartitionName
	for _, t := range e.topic {
		for _, n := range t.partitions {
			names = append(names, controller.PartitionName{Topic: t.name, Partition: karst.Partition(n)})
		}
	}
	return names
}

// failAll answers all partitions with an error.
func (e *election) failAll(err error) {
	for i := range e.topic {
		e.topic[i].elected = make([]controller.Elected, len(e.topic[i].partitions))
		for j := range e.topic[i].elected {
			e.topic[i].elected[j].Err = err
		}
	}
}

// Wait answers when all moves are done, or the client's time is over.
func (e *election) Wait(ctx context.Context) (Response, error) {
	left := e.moving()
	if len(left) > 0 {
		if err := e.watch(ctx, left); err != nil {
			return nil, err
		}
	}
	img := e.s.deps.Images.Image()
	for i := range e.topic {
		t := &e.topic[i]
		a := kmsg.NewElectLeadersResponseTopic()
		a.Topic = t.name
		for j, n := range t.partitions {
			if err := t.elected[j].Err; !e.all || !errors.Is(err, karst.ElectionNotNeeded.Err()) {
				a.Partitions = append(a.Partitions, e.answer(img, t.name, n, err))
			}
		}
		e.resp.Topics = append(e.resp.Topics, a)
	}
	return Message(e.resp), nil
}

// moving lists the partitions that are to be moved.
func (e *election) moving() []*controller.Elected {
	var moving []*controller.Elected
	for i := range e.topic {
		for j := range e.topic[i].elected {
			if el := &e.topic[i].elected[j]; el.Err == nil {
				moving = append(moving, el)
			}
		}
	}
	return moving
}

// watch waits for moves; those that are not seen in time have timed out. The error
// is ctx's.
func (e *election) watch(ctx context.Context, left []*controller.Elected) error {
	tick := time.NewTicker(electionPoll)
	defer tick.Stop()
	late := time.NewTimer(time.Until(e.until))
	defer late.Stop()
	var seen *metadata.Image
	for over := false; ; {
		if img := e.s.deps.Images.Image(); img != seen {
			left, seen = notLed(img, left), img
		}
		if len(left) == 0 {
			return nil
		}
		if over {
			for _, el := range left {
				el.Err = karst.TimedOut.Errorf("The partition is not led by broker %d yet.", el.Leader)
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-late.C:
			over = true
		case <-e.s.draining:
			over = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notLed lists the moves that an image does not show as done. Partitions that are
// gone fail.
func notLed(img *metadata.Image, moves []*controller.Elected) []*controller.Elected {
	view := metadata.NewReplicas(img)
	var left []*controller.Elected
	for _, el := range moves {
		p, ok := img.Partition(el.Partition)
		switch {
		case !ok:
			el.Err = karst.UnknownTopic.Err()
		case view.Leader(p) != el.Leader:
			left = append(left, el)
		}
	}
	return left
}

func (e *election) answer(img *metadata.Image, topic string, n int32, err error) kmsg.ElectLeadersResponseTopicPartition {
	a := kmsg.NewElectLeadersResponseTopicPartition()
	a.Partition, a.ErrorCode, a.ErrorMessage = n, Code(err), text(err)
	if errors.Is(err, karst.UnknownTopic.Err()) {
		a.ErrorMessage = new(fmt.Sprintf("No such topic as %s", topic))
		if _, ok := img.Topic(topic); ok {
			a.ErrorMessage = new(fmt.Sprintf("No such partition as %s-%d", topic, n))
		}
	}
	if !errors.Is(err, karst.ElectionNotNeeded.Err()) { // no failure for the metrics
		e.r.Note(a.ErrorCode)
	}
	return a
}
