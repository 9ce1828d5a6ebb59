package metadata

import (
	"slices"

	"github.com/karst-io/karst"
)

// The only ways to change an image under construction. They keep the derived
// trees (references, leaders) in step with the primary ones.

// setPartition puts p in the place of old, which is nil for a new partition.
func (i *Image) setPartition(d *changes, old, p *PartitionState) {
	i.partitions.Set(p)
	d.partitions[p.ID] = struct{}{}
	if p.Reassigning() {
		i.reassigned.Set(p.ID)
	} else if old != nil && old.Reassigning() {
		i.reassigned.Delete(p.ID)
	}
	if old != nil && old.Leader == p.Leader {
		return
	}
	if old != nil {
		i.unlead(old)
	}
	i.led.Set(ledPartition{leader: p.Leader, partition: p.ID})
	i.leads[p.Leader]++
}

func (i *Image) unlead(p *PartitionState) {
	i.led.Delete(ledPartition{leader: p.Leader, partition: p.ID})
	if i.leads[p.Leader]--; i.leads[p.Leader] == 0 {
		delete(i.leads, p.Leader)
	}
}

// removePartition removes p and its references.
func (i *Image) removePartition(d *changes, p *PartitionState) {
	i.unlead(p)
	i.partitions.Delete(p)
	i.reassigned.Delete(p.ID)
	d.partitions[p.ID] = struct{}{}
	for n := range p.Sources {
		i.unref(d, p.Sources[n].Object)
	}
	for n := range p.States {
		i.unref(d, p.States[n].Object)
	}
}

func (i *Image) ref(o ObjectID) {
	r, _ := i.refs.Get(reference{object: o})
	i.refs.Set(reference{object: o, count: r.count + 1})
}

func (i *Image) unref(d *changes, o ObjectID) {
	r, ok := i.refs.Get(reference{object: o})
	if !ok {
		panic("BUG: I7: reference count of " + o.Name() + " below zero")
	}
	if r.count > 1 {
		i.refs.Set(reference{object: o, count: r.count - 1})
		return
	}
	i.refs.Delete(r)
	d.released[o] = struct{}{}
}

func (i *Image) setTopic(d *changes, t *TopicState) {
	i.topics.Set(t)
	i.topicIDs.Set(t)
	if hasSeparator(t.Name) {
		i.spelt.Set(spelling(t.Name), t.Name)
	}
	d.topics[t.ID] = struct{}{}
}

func (i *Image) removeTopic(d *changes, t *TopicState) {
	i.topics.Delete(t)
	i.topicIDs.Delete(t)
	i.spelt.Delete(spelling(t.Name))
	d.topics[t.ID] = struct{}{}
}

func (i *Image) setBroker(d *changes, b *BrokerState) {
	i.brokers.Set(b.Incarnation, b)
	d.incarnations[b.Incarnation] = struct{}{}
}

// lead gives p, which is not shared yet, to a leader at the next epoch.
func (p *PartitionState) lead(leader karst.Incarnation, broker karst.BrokerID) {
	p.Leader, p.Broker = leader, broker
	p.Epoch++
	epochs := slices.Clone(p.Epochs)
	if n := len(epochs); n > 0 && epochs[n-1].Start >= p.End {
		epochs = epochs[:n-1] // nothing was written in that epoch
	}
	p.Epochs = append(epochs, EpochStart{Epoch: p.Epoch, Start: p.End})
	switch {
	case slices.Contains(p.Replicas, broker):
		p.Previous = nil // what was in progress is complete
	case !p.Reassigning():
		p.Replicas = adopt(p.Replicas, broker)
	}
}

// Reassigning reports whether a reassignment is in progress: the leader is not
// one of the replicas assigned, and is to be.
func (p *PartitionState) Reassigning() bool { return len(p.Previous) > 0 }

// adopt is the replicas with broker, the new leader, in place of the first one:
// the number of replicas that clients see stays (the replica fiction).
func adopt(replicas []karst.BrokerID, broker karst.BrokerID) []karst.BrokerID {
	if len(replicas) == 0 {
		return []karst.BrokerID{broker}
	}
	replicas = slices.Clone(replicas)
	replicas[0] = broker
	return replicas
}

// checkpointed is the offset up to which checkpoints have the producers' state.
func (p *PartitionState) checkpointed() karst.Offset {
	if n := len(p.States); n > 0 {
		return p.States[n-1].Next
	}
	return 0
}

// raise moves the log start of p, which is not shared yet, and drops epochs that
// no offset of the log has any more.
func (p *PartitionState) raise(logStart karst.Offset) {
	if logStart <= p.LogStart {
		return
	}
	p.LogStart = logStart
	// OffsetForLeaderEpoch needs the epoch of the log start and all after it.
	first := 0
	for first+1 < len(p.Epochs) && p.Epochs[first+1].Start <= logStart {
		first++
	}
	if first > 0 {
		p.Epochs = slices.Clone(p.Epochs[first:])
	}
}

// drop drops the sources of p, which is not shared yet, that are wholly below an
// offset.
func (p *PartitionState) drop(img *Image, d *changes, below karst.Offset) {
	gone := 0
	for gone < len(p.Sources) && p.Sources[gone].Last < below {
		img.unref(d, p.Sources[gone].Object)
		gone++
	}
	if gone > 0 {
		p.Sources = slices.Clone(p.Sources[gone:])
	}
}
