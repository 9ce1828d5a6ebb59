package metadata

import (
	"maps"
	"slices"

	"github.com/karst-io/karst"
)

// Batch collects records that were tried on a copy of an image: what fails is
// refused and leaves no trace. The controller makes commits of batches.
type Batch struct {
	img     *Image
	changed *changes
	Records []Record
}

// NewBatch starts a batch on an image.
func NewBatch(img *Image) *Batch { return &Batch{img: img.fork(), changed: newChanges()} }

// Image is the image with what was tried so far. It is not to be shown to
// anybody, and changes with the next Try.
func (b *Batch) Image() *Image { return b.img }

// Try adds records, all of them or, when one is refused, none.
func (b *Batch) Try(records ...Record) error {
	img, changed := b.img.fork(), newChanges()
	for _, r := range records {
		if err := r.apply(img, changed); err != nil {
			return err
		}
	}
	b.img = img
	b.changed.add(changed)
	b.Records = append(b.Records, records...)
	return nil
}

// Finish closes the batch: its image at the position of the commit made of it.
func (b *Batch) Finish(at Position, check uint32) (*Image, *Delta) {
	b.img.position, b.img.check = at, check
	return b.img, b.changed.delta(b.img, at)
}

// changes is a Delta in the making. Sets: a thing may change twice in a commit.
type changes struct {
	topics       map[karst.TopicID]struct{}
	partitions   map[karst.TopicPartition]struct{}
	incarnations map[karst.Incarnation]struct{}
	released     map[ObjectID]struct{} // may have lost their last reference
	configs      bool
	requests     []AppliedRequest
	dropped      []karst.TopicPartition
}

func newChanges() *changes {
	return &changes{
		topics:       map[karst.TopicID]struct{}{},
		partitions:   map[karst.TopicPartition]struct{}{},
		incarnations: map[karst.Incarnation]struct{}{},
		released:     map[ObjectID]struct{}{},
	}
}

func (c *changes) add(o *changes) {
	maps.Copy(c.topics, o.topics)
	maps.Copy(c.partitions, o.partitions)
	maps.Copy(c.incarnations, o.incarnations)
	maps.Copy(c.released, o.released)
	c.configs = c.configs || o.configs
	c.requests = append(c.requests, o.requests...)
	c.dropped = append(c.dropped, o.dropped...)
}

func (c *changes) delta(img *Image, at Position) *Delta {
	d := &Delta{
		Position: at, Requests: c.requests, Dropped: c.dropped, BrokerConfigs: c.configs,
		Topics:       slices.SortedFunc(maps.Keys(c.topics), func(a, b karst.TopicID) int { return slices.Compare(a[:], b[:]) }),
		Partitions:   slices.SortedFunc(maps.Keys(c.partitions), karst.TopicPartition.Compare),
		Incarnations: slices.Sorted(maps.Keys(c.incarnations)),
	}
	for o := range c.released {
		if !img.Referenced(o) {
			d.Unreferenced = append(d.Unreferenced, o)
		}
	}
	slices.SortFunc(d.Unreferenced, ObjectID.Compare)
	return d
}
