package sim

import (
	"context"
	"math"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator/group"
	"github.com/karst-io/karst/internal/metadata"
)

// What a broker answers about a partition, or about a group from its partition of
// the topic of groups, it answers as the leader of some epoch, which most answers
// do not name. Whether it must have known something depends on it: what was
// answered in one epoch is known in that one and in every later one (I12), and not
// to a leader of an earlier one, which does not know yet that it is deposed.
//
// The epoch lies between two that can be seen from outside. It is at least the one
// in the broker's own image when the request is sent: a request takes time, and
// virtual time does not go on while a new image is still being handed to engine
// and coordinators. And it is at most the one in the broker's own image after the
// answer, for they hear of an epoch after the image has it. So no clock, and no
// guess who is connected to whom, is needed; and it does not matter how many
// brokers there are.

// about finds a partition in an image.
type about func(img *metadata.Image) (*metadata.PartitionState, bool)

// aboutPartition is about a partition.
func aboutPartition(tp karst.TopicPartition) about {
	return func(img *metadata.Image) (*metadata.PartitionState, bool) { return img.Partition(tp) }
}

// aboutGroup is about the partition that has a group.
func aboutGroup(name string) about {
	return func(img *metadata.Image) (*metadata.PartitionState, bool) {
		t, ok := img.Topic(group.Topic)
		if !ok {
			return nil, false
		}
		return img.Partition(karst.TopicPartition{Topic: t.ID, Partition: karst.Partition(group.PartitionIn(img, name))})
	}
}

// in is the epoch in an image; -1 if there is none.
func (a about) in(img *metadata.Image) int32 {
	if img == nil {
		return -1
	}
	s, ok := a(img)
	if !ok {
		return -1
	}
	return int32(s.Epoch)
}

// atLeast is the earliest epoch in which the process can answer a request that is
// sent after; -1 if that is not known.
func (p *Process) atLeast(a about) int32 { return a.in(p.Broker.Image()) }

// atMost is the latest epoch in which the process can have given an answer that
// was there before. One that is stopping does not show its image any more: then it
// is the latest that there is.
func (p *Process) atMost(a about) int32 {
	if e := a.in(p.Broker.Image()); e >= 0 {
		return e
	}
	if e := a.in(p.w.truth()); e >= 0 {
		return e
	}
	return math.MaxInt32
}

// truth is the image that the bucket has; nil if it cannot be read.
func (w *World) truth() *metadata.Image {
	ctx := context.Background()
	cluster, err := metadata.OpenCluster(ctx, w.Bucket)
	if err != nil {
		return nil
	}
	r := metadata.NewReplica(w.Bucket, cluster)
	if r.Load(ctx) != nil {
		return nil
	}
	return r.Image()
}
