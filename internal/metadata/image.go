package metadata

import (
	"bytes"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/btree"

	"github.com/karst-io/karst"
)

// Image is the metadata at one position. Immutable; readers share pointers. It
// shares all unchanged nodes with the image before it, so that a commit costs
// what it changes.
type Image struct {
	cluster  karst.ClusterID
	position Position
	check    uint32 // checksum of the commit at position, 0 before the first

	// forking guards what a copy-on-write tree notes about itself when it is
	// copied. Readers do not touch that.
	forking sync.Mutex

	topics     *btree.BTreeG[*TopicState]          // by name
	topicIDs   *btree.BTreeG[*TopicState]          // by id
	spelt      *btree.Map[string, string]          // names with '.' or '_', by spelling
	partitions *btree.BTreeG[*PartitionState]      // by topic id, partition
	led        *btree.BTreeG[ledPartition]         // by leader
	reassigned *btree.BTreeG[karst.TopicPartition] // those whose reassignment is in progress
	refs       *btree.BTreeG[reference]            // by object
	brokers    *btree.Map[karst.Incarnation, *BrokerState]
	ended      *btree.Map[karst.Incarnation, karst.Number] // WALEnd of forgotten incarnations
	configs    *btree.Map[string, map[string]string]       // of brokers; "" is the default
	groups     *btree.Map[string, map[string]string]       // configs of groups that have some
	metrics    *btree.Map[string, map[string]string]       // configs of subscriptions to client metrics
	drained    *btree.Map[karst.BrokerID, karst.Timestamp] // since when, if known
	features   map[string]int32
	leads      map[karst.Incarnation]int // partitions led, by leader

	nextIncarnation karst.Incarnation
	nextProducer    karst.ProducerID
}

// ledPartition says that a leader leads a partition.
type ledPartition struct {
	leader    karst.Incarnation
	partition karst.TopicPartition
}

// reference counts what refers to an object: sources, checkpoints, holds.
type reference struct {
	object ObjectID
	count  int32
}

// NewImage is the image before the first commit.
func NewImage(cluster karst.ClusterID) *Image {
	return &Image{
		cluster:    cluster,
		topics:     newTree(func(a, b *TopicState) bool { return a.Name < b.Name }),
		topicIDs:   newTree(func(a, b *TopicState) bool { return bytes.Compare(a.ID[:], b.ID[:]) < 0 }),
		spelt:      new(btree.Map[string, string]),
		partitions: newTree(func(a, b *PartitionState) bool { return less(&a.ID, &b.ID) }),
		led: newTree(func(a, b ledPartition) bool {
			return a.leader < b.leader || a.leader == b.leader && less(&a.partition, &b.partition)
		}),
		reassigned:      newTree(func(a, b karst.TopicPartition) bool { return less(&a, &b) }),
		refs:            newTree(func(a, b reference) bool { return a.object.Compare(b.object) < 0 }),
		brokers:         new(btree.Map[karst.Incarnation, *BrokerState]),
		ended:           new(btree.Map[karst.Incarnation, karst.Number]),
		configs:         new(btree.Map[string, map[string]string]),
		groups:          new(btree.Map[string, map[string]string]),
		metrics:         new(btree.Map[string, map[string]string]),
		drained:         new(btree.Map[karst.BrokerID, karst.Timestamp]),
		features:        map[string]int32{},
		leads:           map[karst.Incarnation]int{},
		nextIncarnation: 1,
	}
}

func newTree[T any](less func(a, b T) bool) *btree.BTreeG[T] {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func less(a, b *karst.TopicPartition) bool {
	if c := bytes.Compare(a.Topic[:], b.Topic[:]); c != 0 {
		return c < 0
	}
	return a.Partition < b.Partition
}

// fork is an image that can be changed without changing i.
func (i *Image) fork() *Image {
	i.forking.Lock()
	defer i.forking.Unlock()
	return &Image{
		cluster: i.cluster, position: i.position, check: i.check,
		topics: i.topics.Copy(), topicIDs: i.topicIDs.Copy(), spelt: i.spelt.Copy(),
		partitions: i.partitions.Copy(), led: i.led.Copy(), reassigned: i.reassigned.Copy(), refs: i.refs.Copy(),
		brokers: i.brokers.Copy(), ended: i.ended.Copy(), configs: i.configs.Copy(),
		groups: i.groups.Copy(), metrics: i.metrics.Copy(), drained: i.drained.Copy(),
		features: maps.Clone(i.features), leads: maps.Clone(i.leads),
		nextIncarnation: i.nextIncarnation, nextProducer: i.nextProducer,
	}
}

// Position is the commit the image is at.
func (i *Image) Position() Position { return i.position }

// Check is the checksum of the commit the image is at; 0 before the first.
func (i *Image) Check() uint32 { return i.check }

// Cluster is the cluster's id.
func (i *Image) Cluster() karst.ClusterID { return i.cluster }

// NextIncarnation is the incarnation that will be handed out next. It and those
// above are live as far as anybody knows.
func (i *Image) NextIncarnation() karst.Incarnation { return i.nextIncarnation }

// NextProducerID is the producer id that will be handed out next.
func (i *Image) NextProducerID() karst.ProducerID { return i.nextProducer }

// Feature is the level of a feature, 0 if never raised.
func (i *Image) Feature(name string) int32 { return i.features[name] }

// Topic finds a topic by name.
func (i *Image) Topic(name string) (*TopicState, bool) {
	return i.topics.Get(&TopicState{Name: name})
}

// TopicByID finds a topic by id.
func (i *Image) TopicByID(id karst.TopicID) (*TopicState, bool) {
	return i.topicIDs.Get(&TopicState{ID: id})
}

// TopicLike finds a topic whose name differs from name at most in '.' and '_'.
func (i *Image) TopicLike(name string) (string, bool) {
	if _, ok := i.Topic(name); ok {
		return name, true
	}
	if !hasSeparator(name) {
		return "", false
	}
	return i.spelt.Get(spelling(name))
}

func hasSeparator(name string) bool { return strings.ContainsAny(name, "._") }

// spelling is the name as Kafka's metric names spell it, where '.' is '_'.
func spelling(name string) string { return strings.ReplaceAll(name, ".", "_") }

// Topics yields all topics in name order.
func (i *Image) Topics() iter.Seq[*TopicState] { return i.topics.Scan }

// TopicCount is the number of topics.
func (i *Image) TopicCount() int { return i.topics.Len() }

// Partition finds a partition.
func (i *Image) Partition(tp karst.TopicPartition) (*PartitionState, bool) {
	return i.partitions.Get(&PartitionState{ID: tp})
}

// Partitions yields all partitions in (topic id, partition) order.
func (i *Image) Partitions() iter.Seq[*PartitionState] { return i.partitions.Scan }

// PartitionCount is the number of partitions.
func (i *Image) PartitionCount() int { return i.partitions.Len() }

// PartitionsOf yields the partitions of a topic in order.
func (i *Image) PartitionsOf(id karst.TopicID) iter.Seq[*PartitionState] {
	return func(yield func(*PartitionState) bool) {
		from := &PartitionState{ID: karst.TopicPartition{Topic: id}}
		i.partitions.Ascend(from, func(p *PartitionState) bool { return p.ID.Topic == id && yield(p) })
	}
}

// PartitionsLedBy yields the partitions whose leader is inc (0: those that
// never had one), in order.
func (i *Image) PartitionsLedBy(inc karst.Incarnation) iter.Seq[*PartitionState] {
	return func(yield func(*PartitionState) bool) {
		i.led.Ascend(ledPartition{leader: inc}, func(l ledPartition) bool {
			if l.leader != inc {
				return false
			}
			p, _ := i.Partition(l.partition)
			return yield(p)
		})
	}
}

// Reassigning yields the partitions whose reassignment is in progress, in order.
func (i *Image) Reassigning() iter.Seq[*PartitionState] {
	return func(yield func(*PartitionState) bool) {
		i.reassigned.Scan(func(tp karst.TopicPartition) bool {
			p, _ := i.Partition(tp)
			return yield(p)
		})
	}
}

// LeadCount is the number of partitions whose leader is inc.
func (i *Image) LeadCount(inc karst.Incarnation) int { return i.leads[inc] }

// Broker finds an incarnation, whatever its phase, until it is forgotten.
func (i *Image) Broker(inc karst.Incarnation) (*BrokerState, bool) { return i.brokers.Get(inc) }

// Brokers yields all known incarnations in order.
func (i *Image) Brokers() iter.Seq[*BrokerState] {
	return func(yield func(*BrokerState) bool) {
		i.brokers.Scan(func(_ karst.Incarnation, b *BrokerState) bool { return yield(b) })
	}
}

// LiveBrokers yields the live incarnations in order.
func (i *Image) LiveBrokers() iter.Seq[*BrokerState] {
	return func(yield func(*BrokerState) bool) {
		for b := range i.Brokers() {
			if b.Phase == Live && !yield(b) {
				return
			}
		}
	}
}

// LiveBroker finds the live incarnation of a broker id.
func (i *Image) LiveBroker(id karst.BrokerID) (*BrokerState, bool) {
	for b := range i.LiveBrokers() {
		if b.ID == id {
			return b, true
		}
	}
	return nil, false
}

// Drained reports whether a broker id is to lead nothing.
func (i *Image) Drained(id karst.BrokerID) bool {
	_, drained := i.drained.Get(id)
	return drained
}

// DrainedSince is when it was said that a broker id is to lead nothing; 0 if that is not
// known.
func (i *Image) DrainedSince(id karst.BrokerID) karst.Timestamp {
	since, _ := i.drained.Get(id)
	return since
}

// DrainedBrokers yields the ids of the brokers that are to lead nothing, in order.
func (i *Image) DrainedBrokers() iter.Seq[karst.BrokerID] {
	return func(yield func(karst.BrokerID) bool) {
		i.drained.Scan(func(id karst.BrokerID, _ karst.Timestamp) bool { return yield(id) })
	}
}

// BrokerConfigs are the explicit dynamic configs of a broker, by its id in
// decimal; "" is the cluster-wide default. Do not change the map.
func (i *Image) BrokerConfigs(name string) map[string]string {
	m, _ := i.configs.Get(name)
	return m
}

// GroupConfigs are the explicit configs of a group. Do not change the map.
func (i *Image) GroupConfigs(name string) map[string]string {
	m, _ := i.groups.Get(name)
	return m
}

// ClientMetrics are the explicit configs of a subscription to client metrics.
// Do not change the map.
func (i *Image) ClientMetrics(name string) map[string]string {
	m, _ := i.metrics.Get(name)
	return m
}

// ConfiguredGroups yields the names of the groups that have explicit configs, in order.
func (i *Image) ConfiguredGroups() iter.Seq[string] { return names(i.groups) }

// ClientMetricsNames yields the names of the subscriptions to client metrics, in order.
func (i *Image) ClientMetricsNames() iter.Seq[string] { return names(i.metrics) }

// NamedConfigs is the number of groups and subscriptions that have configs.
func (i *Image) NamedConfigs() int { return i.groups.Len() + i.metrics.Len() }

func names(of *btree.Map[string, map[string]string]) iter.Seq[string] {
	return func(yield func(string) bool) {
		of.Scan(func(name string, _ map[string]string) bool { return yield(name) })
	}
}

// ConfigsOf are the explicit configs of a resource; false if it is a topic that
// does not exist. Do not change the map.
func (i *Image) ConfigsOf(r Resource) (map[string]string, bool) {
	switch {
	case !r.Topic.IsZero():
		t, ok := i.TopicByID(r.Topic)
		if !ok {
			return nil, false
		}
		return t.Configs, true
	case r.Group != "":
		return i.GroupConfigs(r.Group), true
	case r.ClientMetrics != "":
		return i.ClientMetrics(r.ClientMetrics), true
	default:
		return i.BrokerConfigs(r.Broker), true
	}
}

// live reports whether inc may lead.
func (i *Image) live(inc karst.Incarnation) bool {
	b, ok := i.brokers.Get(inc)
	return ok && b.Phase == Live
}

// adopted reports whether nothing can come from inc any more: it was adopted,
// perhaps forgotten since. An incarnation newer than the image is not.
func (i *Image) adopted(inc karst.Incarnation) bool {
	if inc == 0 || inc >= i.nextIncarnation {
		return false
	}
	b, ok := i.brokers.Get(inc)
	return !ok || b.Phase == Adopted
}

// Referenced reports whether the image references the object.
func (i *Image) Referenced(o ObjectID) bool {
	_, ok := i.refs.Get(reference{object: o})
	return ok
}

// Objects yields every object the image references, in order.
func (i *Image) Objects() iter.Seq[ObjectID] {
	return func(yield func(ObjectID) bool) {
		i.refs.Scan(func(r reference) bool { return yield(r.object) })
	}
}

// Deletable is the one predicate of section 8: the image does not reference the
// object and no later image can (I15). It is never true of the tombstone of a
// WAL. For an incarnation that was adopted without a known tombstone only what
// was trimmed is deletable.
func (i *Image) Deletable(o ObjectID) bool {
	if i.Referenced(o) || o.Number == 0 {
		return false
	}
	b, known := i.brokers.Get(o.Writer)
	adopted := i.adopted(o.Writer)
	switch o.Kind {
	case SegObject:
		return adopted || known && o.Number <= b.Settled.Counter
	case WALObject:
		if known && o.Number <= b.Trim {
			return true
		}
		end, _ := i.ended.Get(o.Writer)
		if known {
			end = b.WALEnd
		}
		if !adoptedOnly && known && b.Phase == Fenced {
			return true
		}
		return adopted && end != 0 && o.Number != end
	default:
		return false
	}
}

// Applied reports whether a commit request of an incarnation was applied, as
// far as the image still knows: above Settled.Request it is exact; at or below,
// and for an incarnation that is forgotten, it is false.
func (i *Image) Applied(inc karst.Incarnation, request uint64) bool {
	b, ok := i.brokers.Get(inc)
	return ok && b.applied(request)
}

func (b *BrokerState) applied(request uint64) bool {
	_, ok := slices.BinarySearch(b.Applied, request)
	return ok
}
