package group

import (
	"cmp"
	"maps"
	"slices"

	"github.com/karst-io/karst"
)

// offsets are the committed offsets of a group.
type offsets struct {
	topics map[string]*topicOffsets
}

// topicOffsets are those of the topics of one name; there may be offsets of a
// deleted one that had it.
type topicOffsets struct {
	id         karst.TopicID // of the last commit that knew it
	partitions map[int32]committed
}

// committed is one committed offset.
type committed struct {
	topic    karst.TopicID // zero: unknown
	offset   karst.Offset
	epoch    karst.Epoch
	metadata string
	at       int64 // ms, of the commit
	expires  int64 // ms; -1: by offsets.retention (KIP-211)
}

// put sets an offset and says whether it is new.
func (o *offsets) put(topic string, partition int32, c committed) bool {
	t := o.topics[topic]
	if t == nil {
		if o.topics == nil {
			o.topics = map[string]*topicOffsets{}
		}
		t = &topicOffsets{partitions: map[int32]committed{}}
		o.topics[topic] = t
	}
	if c.topic != (karst.TopicID{}) {
		t.id = c.topic
	}
	before := len(t.partitions)
	t.partitions[partition] = c
	return len(t.partitions) != before
}

// get finds the offset that was committed for this topic, and not for another of
// its name (KIP-848).
func (o *offsets) get(topic TopicRef, partition int32) (committed, bool) {
	t := o.topics[topic.Name]
	if t == nil {
		return committed{}, false
	}
	c, ok := t.partitions[partition]
	return c, ok && sameTopic(c.topic, topic.ID)
}

// remove forgets an offset and says whether there was one.
func (o *offsets) remove(topic string, partition int32) bool {
	t := o.topics[topic]
	if t == nil {
		return false
	}
	if _, ok := t.partitions[partition]; !ok {
		return false
	}
	delete(t.partitions, partition)
	if len(t.partitions) == 0 {
		delete(o.topics, topic)
	}
	return true
}

func (o *offsets) len() int {
	n := 0
	for _, t := range o.topics {
		n += len(t.partitions)
	}
	return n
}

// all lists the offsets, sorted, without those of a deleted topic whose name
// another has got.
func (o *offsets) all() []FetchedTopic {
	all := make([]FetchedTopic, 0, len(o.topics))
	for name, t := range o.topics {
		f := FetchedTopic{Topic: TopicRef{Name: name, ID: t.id}, Offsets: make([]FetchedOffset, 0, len(t.partitions))}
		for p, c := range t.partitions {
			if sameTopic(c.topic, t.id) {
				f.Offsets = append(f.Offsets, c.fetched(p))
			}
		}
		slices.SortFunc(f.Offsets, func(a, b FetchedOffset) int { return cmp.Compare(a.Partition, b.Partition) })
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b FetchedTopic) int { return cmp.Compare(a.Topic.Name, b.Topic.Name) })
	return all
}

// names lists the topics, sorted.
func (o *offsets) names() []string { return slices.Sorted(maps.Keys(o.topics)) }

// numbers lists the partitions, sorted.
func (t *topicOffsets) numbers() []int32 { return slices.Sorted(maps.Keys(t.partitions)) }

func (c committed) fetched(partition int32) FetchedOffset {
	return FetchedOffset{Partition: partition, Offset: c.offset, Epoch: c.epoch, Metadata: c.metadata}
}

// sameTopic compares the ids of topics of one name, as far as they are known.
func sameTopic(a, b karst.TopicID) bool {
	return a == b || a == karst.TopicID{} || b == karst.TopicID{}
}
