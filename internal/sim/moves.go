package sim

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// move asks for a partition of a topic to change its leader.
func (a *admin) move(ctx context.Context, t *topic) {
	p := a.rng.Int32N(t.count())
	l, err := a.any(ctx)
	if err != nil {
		return
	}
	if a.rng.IntN(2) == 0 {
		a.elect(ctx, l, t, p)
	} else {
		a.reassign(ctx, l, t, p)
	}
}

// reassign asks for other replicas, or takes back what was asked for.
func (a *admin) reassign(ctx context.Context, l *link, t *topic, p int32) {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.TimeoutMillis = 10_000
	rt := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	rt.Topic = t.name
	rp := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	rp.Partition = p
	if a.rng.IntN(5) > 0 {
		rp.Replicas = a.brokers(ctx, l)
	}
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := a.do(ctx, l, req)
	if err != nil {
		return
	}
	r := resp.(*kmsg.AlterPartitionAssignmentsResponse)
	code := r.ErrorCode
	if code == 0 && len(r.Topics) == 1 && len(r.Topics[0].Partitions) == 1 {
		code = r.Topics[0].Partitions[0].ErrorCode
	}
	a.asked("reassignment", l, code)
}

// brokers are one to three that there are, in any order.
func (a *admin) brokers(ctx context.Context, l *link) (ids []int32) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = 12, []kmsg.MetadataRequestTopic{}
	resp, err := a.do(ctx, l, req)
	if err != nil {
		return []int32{1}
	}
	for _, b := range resp.(*kmsg.MetadataResponse).Brokers {
		ids = append(ids, b.NodeID)
	}
	a.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids[:min(len(ids), 1+a.rng.IntN(3))]
}

// elect asks for the preferred leader.
func (a *admin) elect(ctx context.Context, l *link, t *topic, p int32) {
	req := kmsg.NewPtrElectLeadersRequest()
	req.Version, req.TimeoutMillis = 2, 10_000
	rt := kmsg.NewElectLeadersRequestTopic()
	rt.Topic, rt.Partitions = t.name, []int32{p}
	req.Topics = append(req.Topics, rt)
	resp, err := a.do(ctx, l, req)
	if err != nil {
		return
	}
	r := resp.(*kmsg.ElectLeadersResponse)
	code := r.ErrorCode
	if code == 0 && len(r.Topics) == 1 && len(r.Topics[0].Partitions) == 1 {
		code = r.Topics[0].Partitions[0].ErrorCode
	}
	a.asked("election", l, code)
}

// asked counts the answers to what moves leaders.
func (a *admin) asked(what string, l *link, code int16) {
	name := "done"
	if code != 0 {
		name = kerr.TypedErrorForCode(code).Message
	}
	a.w.event(what + " " + name)
	switch code {
	case 0, kerr.NoReassignmentInProgress.Code, kerr.ElectionNotNeeded.Code, kerr.PreferredLeaderNotAvailable.Code, kerr.EligibleLeadersNotAvailable.Code,
		kerr.RequestTimedOut.Code, kerr.NotController.Code, kerr.InvalidReplicaAssignment.Code:
	case kerr.UnknownTopicOrPartition.Code:
	default:
		if !indefinite(code) {
			a.w.reportf(Unexpected, "%s at %s: %v", what, l.to.Name, kerr.ErrorForCode(code))
		}
	}
}
