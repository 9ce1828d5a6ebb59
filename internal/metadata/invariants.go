package metadata

import (
	"errors"
	"fmt"
	"slices"

	"github.com/karst-io/karst"
)

// CheckInvariants recomputes what the image derives and checks what must hold
// of it. It visits everything: for tests, verification and a suspicious
// operator.
func (i *Image) CheckInvariants() error {
	counts := map[ObjectID]int32{}
	leads := map[karst.Incarnation]int{}
	perTopic := map[karst.TopicID]int32{}
	for p := range i.Partitions() {
		if err := i.checkPartition(p, counts); err != nil {
			return fmt.Errorf("%s: %w", p.ID, err)
		}
		if p.ID.Partition != karst.Partition(perTopic[p.ID.Topic]) {
			return fmt.Errorf("%s: partitions are not numbered from 0", p.ID)
		}
		perTopic[p.ID.Topic]++
		leads[p.Leader]++
		if _, ok := i.led.Get(ledPartition{leader: p.Leader, partition: p.ID}); !ok {
			return fmt.Errorf("%s: missing under its leader", p.ID)
		}
	}
	if i.led.Len() != i.partitions.Len() || len(leads) != len(i.leads) {
		return fmt.Errorf("partitions by leader are out of step")
	}
	for inc, n := range leads {
		if i.leads[inc] != n {
			return fmt.Errorf("incarnation %d leads %d partitions, not %d", inc, n, i.leads[inc])
		}
	}
	for b := range i.Brokers() {
		if b.Incarnation >= i.nextIncarnation {
			return fmt.Errorf("incarnation %d was never handed out", b.Incarnation)
		}
		for _, o := range b.Held {
			counts[o]++
		}
	}
	return i.checkDerived(counts, perTopic)
}

func (i *Image) checkDerived(counts map[ObjectID]int32, perTopic map[karst.TopicID]int32) error {
	for o, n := range counts {
		if r, _ := i.refs.Get(reference{object: o}); r.count != n {
			return fmt.Errorf("%s is referenced %d times, counted %d (I7)", o.Name(), n, r.count)
		}
		if i.Deletable(o) {
			return fmt.Errorf("%s is referenced and deletable (I15)", o.Name())
		}
	}
	if i.refs.Len() != len(counts) {
		return fmt.Errorf("%d objects counted, %d referenced", i.refs.Len(), len(counts))
	}
	if i.topics.Len() != i.topicIDs.Len() || len(perTopic) != i.topics.Len() {
		return fmt.Errorf("topics are out of step")
	}
	for t := range i.Topics() {
		if byID, _ := i.TopicByID(t.ID); byID != t || perTopic[t.ID] != t.Partitions {
			return fmt.Errorf("topic %s is out of step", t.Name)
		}
	}
	return nil
}

func (i *Image) checkPartition(p *PartitionState, counts map[ObjectID]int32) error {
	if p.LogStart < 0 || p.LogStart > p.End {
		return fmt.Errorf("log start %d, end %d", p.LogStart, p.End)
	}
	if p.Leader >= i.nextIncarnation {
		return fmt.Errorf("leader %d was never handed out", p.Leader)
	}
	next := p.LogStart
	if len(p.Sources) > 0 { // it may be wholly below, see CommitRequest
		next = min(next, p.Sources[0].Base)
	}
	for n := range p.Sources {
		s := &p.Sources[n]
		counts[s.Object]++
		if s.Base != next && (n > 0 || s.Base > p.LogStart) || s.Last < min(p.LogStart, p.checkpointed()) || s.Last < s.Base {
			return fmt.Errorf("source %d [%d, %d] does not fit at %d", n, s.Base, s.Last, next)
		}
		next = s.Last + 1
	}
	if next != p.End {
		return fmt.Errorf("sources end at %d, the log at %d", next, p.End)
	}
	for n := range p.States {
		counts[p.States[n].Object]++
		if p.States[n].Full && n > 0 || p.States[n].Next > p.End {
			return fmt.Errorf("checkpoint %d is out of place", n)
		}
	}
	if _, ok := i.reassigned.Get(p.ID); ok != p.Reassigning() {
		return errors.New("the reassignments in progress are out of step")
	}
	if p.Reassigning() && slices.Contains(p.Replicas, p.Broker) {
		return fmt.Errorf("a reassignment to %v is in progress under broker %d", p.Replicas, p.Broker)
	}
	if len(p.Epochs) == 0 || p.Epochs[len(p.Epochs)-1].Epoch != p.Epoch {
		return fmt.Errorf("epochs %v do not end at %d", p.Epochs, p.Epoch)
	}
	for n, e := range p.Epochs {
		if e.Start > p.End || n > 0 && (e.Epoch <= p.Epochs[n-1].Epoch || e.Start <= p.Epochs[n-1].Start) {
			return fmt.Errorf("epochs %v are not ascending", p.Epochs)
		}
	}
	return nil
}
