package metadata

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/tidwall/btree"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/karst-io/karst"
	pb "github.com/karst-io/karst/internal/metadata/metadatapb"
	"github.com/karst-io/karst/internal/store/object"
)

const (
	// snapshotVersion is the version of Snapshot objects.
	snapshotVersion = 1
	// partRows bounds the partitions, and roughly the sources, of one part.
	partRows = 4096
)

// EncodeSnapshot encodes an image: the payload of its object. Equal images have
// equal bytes.
func EncodeSnapshot(i *Image) []byte {
	e := &snapshotEncoder{}
	e.head(i)
	e.topics(i)
	e.partitions(i)
	return e.out
}

// snapshotEncoder writes parts.
type snapshotEncoder struct {
	out  []byte
	part []byte // scratch
}

func (e *snapshotEncoder) write(p *pb.SnapshotPart) {
	b, err := deterministic.MarshalAppend(e.part[:0], p)
	if err != nil {
		panic("BUG: snapshot does not encode: " + err.Error())
	}
	e.part = b
	e.out = binary.AppendUvarint(e.out, uint64(len(b)))
	e.out = append(e.out, b...)
}

func (e *snapshotEncoder) head(i *Image) {
	p := &pb.SnapshotPart{Head: &pb.SnapshotHead{
		Term: uint64(i.position.Term), Number: uint64(i.position.Number), Check: i.check,
		NextIncarnation: uint64(i.nextIncarnation), NextProducer: int64(i.nextProducer),
		Features: i.features,
		Topics:   uint64(i.topics.Len()), Partitions: uint64(i.partitions.Len()),
	}}
	for b := range i.Brokers() {
		p.Brokers = append(p.Brokers, encodeBroker(b))
	}
	i.ended.Scan(func(inc karst.Incarnation, end karst.Number) bool {
		p.Ended = append(p.Ended, &pb.Ended{Incarnation: uint64(inc), WalEnd: uint64(end)})
		return true
	})
	p.BrokerConfigs = encodeNamed(i.configs)
	p.GroupConfigs = encodeNamed(i.groups)
	p.ClientMetrics = encodeNamed(i.metrics)
	for id := range i.DrainedBrokers() {
		p.Drained = append(p.Drained, int32(id))
		if i.SaysSince() {
			p.DrainedSince = append(p.DrainedSince, int64(i.DrainedSince(id)))
		}
	}
	e.write(p)
}

func encodeNamed(of *btree.Map[string, map[string]string]) []*pb.BrokerConfigs {
	all := make([]*pb.BrokerConfigs, 0, of.Len())
	of.Scan(func(name string, m map[string]string) bool {
		all = append(all, &pb.BrokerConfigs{Name: name, Configs: m})
		return true
	})
	return all
}

func encodeBroker(b *BrokerState) *pb.Broker {
	var held objectTable
	for _, o := range b.Held {
		held.add(o)
	}
	return &pb.Broker{
		Registration: encodeRegistration(b.Incarnation, &b.Registration),
		Phase:        uint32(b.Phase), Trim: uint64(b.Trim),
		SettledCounter: uint64(b.Settled.Counter), SettledRequest: b.Settled.Request,
		Applied: b.Applied, WalEnd: uint64(b.WALEnd), Held: &held.pb,
	}
}

func (e *snapshotEncoder) topics(i *Image) {
	p := &pb.SnapshotPart{}
	for t := range i.Topics() {
		p.Topics = append(p.Topics, &pb.Topic{
			Id: t.ID[:], Name: t.Name, Internal: t.Internal,
			ReplicationFactor: int32(t.ReplicationFactor), Partitions: t.Partitions, Configs: t.Configs,
		})
		if len(p.Topics) == partRows {
			e.write(p)
			p = &pb.SnapshotPart{}
		}
	}
	if len(p.Topics) > 0 {
		e.write(p)
	}
}

func (e *snapshotEncoder) partitions(i *Image) {
	part := newPartitionPart()
	for p := range i.Partitions() {
		part.add(p)
		if len(part.rows) >= partRows || len(part.sources.Object) >= 4*partRows {
			e.write(part.message())
			part = newPartitionPart()
		}
	}
	if len(part.rows) > 0 {
		e.write(part.message())
	}
}

// partitionPart is a part of partitions in the making.
type partitionPart struct {
	topics  topicTable
	objects objectTable
	sources *pb.Sources
	rows    []*pb.PartitionEntry
}

func newPartitionPart() *partitionPart { return &partitionPart{sources: &pb.Sources{}} }

func (t *partitionPart) add(p *PartitionState) {
	row := &pb.PartitionEntry{
		Topic: t.topics.add(p.ID.Topic), Partition: int32(p.ID.Partition),
		Leader: uint64(p.Leader), Broker: int32(p.Broker), Epoch: int32(p.Epoch),
		LogStart: int64(p.LogStart), End: int64(p.End), Sources: uint32(len(p.Sources)),
		Replicas: encodeBrokers(p.Replicas), Stopped: uint64(p.Stopped),
		Previous: encodeBrokers(p.Previous), Factor: int32(p.Factor),
	}
	for _, s := range p.Epochs {
		row.Epochs = append(row.Epochs, int32(s.Epoch))
		row.EpochStarts = append(row.EpochStarts, int64(s.Start))
	}
	for n := range p.Sources {
		appendSource(t.sources, &t.objects, &p.Sources[n])
	}
	for n := range p.States {
		row.States = append(row.States, encodeState(&t.objects, &p.States[n]))
	}
	t.rows = append(t.rows, row)
}

func (t *partitionPart) message() *pb.SnapshotPart {
	return &pb.SnapshotPart{
		TopicIds: t.topics.ids, Objects: &t.objects.pb, Sources: t.sources, Partitions: t.rows,
	}
}

// DecodeSnapshot decodes the payload of a Snapshot object. What does not decode
// is a *karst.CorruptError that names the object; what is of a level above
// LevelMax is refused with UnsupportedVersion.
func DecodeSnapshot(name string, cluster karst.ClusterID, b []byte) (*Image, error) {
	d := &snapshotDecoder{img: NewImage(cluster), ignored: newChanges()}
	for at := 0; at < len(b); {
		size, n := protowire.ConsumeVarint(b[at:])
		err := errors.New("a part is cut short")
		if n > 0 && size <= uint64(len(b)-at-n) {
			at += n
			err = d.part(b[at : at+int(size)])
		}
		if err != nil {
			return nil, undecoded(name, int64(at), err)
		}
		at += int(size)
	}
	if err := d.finish(); err != nil {
		return nil, &karst.CorruptError{Object: name, Offset: object.HeaderSize + int64(len(b)), Reason: err.Error()}
	}
	return d.img, nil
}

// snapshotDecoder fills an image. The derived trees are loaded at the end, in
// their own order.
type snapshotDecoder struct {
	img     *Image
	head    *pb.SnapshotHead
	refs    []reference
	led     []ledPartition
	last    *PartitionState
	ignored *changes
}

func (d *snapshotDecoder) part(b []byte) error {
	var p pb.SnapshotPart
	if err := proto.Unmarshal(b, &p); err != nil {
		return err
	}
	if d.head == nil {
		return d.first(&p)
	}
	if err := d.topics(p.Topics); err != nil {
		return err
	}
	return d.partitions(&p)
}

func (d *snapshotDecoder) first(p *pb.SnapshotPart) error {
	h := p.Head
	if h == nil || h.NextIncarnation == 0 || h.NextProducer < 0 {
		return errors.New("the head is missing or malformed")
	}
	d.head = h
	d.img.position = Position{Term: karst.Term(h.Term), Number: karst.Number(h.Number)}
	d.img.check = h.Check
	d.img.nextIncarnation, d.img.nextProducer = karst.Incarnation(h.NextIncarnation), karst.ProducerID(h.NextProducer)
	maps.Copy(d.img.features, h.Features)
	if err := d.img.admits(LevelMax); err != nil {
		return err
	}
	if len(p.DrainedSince) != 0 && len(p.DrainedSince) != len(p.Drained) {
		return errTable
	}
	for _, m := range p.Brokers {
		b, err := decodeBroker(m)
		if err != nil {
			return err
		}
		d.img.brokers.Set(b.Incarnation, b)
		for _, o := range b.Held {
			d.refs = append(d.refs, reference{object: o, count: 1})
		}
	}
	for _, m := range p.Ended {
		d.img.ended.Set(karst.Incarnation(m.GetIncarnation()), karst.Number(m.GetWalEnd()))
	}
	for _, m := range p.BrokerConfigs {
		d.img.configs.Set(m.GetName(), m.GetConfigs())
	}
	for _, m := range p.GroupConfigs {
		d.img.groups.Set(m.GetName(), m.GetConfigs())
	}
	for _, m := range p.ClientMetrics {
		d.img.metrics.Set(m.GetName(), m.GetConfigs())
	}
	for n, id := range p.Drained {
		var since karst.Timestamp
		if len(p.DrainedSince) > 0 {
			since = karst.Timestamp(p.DrainedSince[n])
		}
		d.img.drained.Set(karst.BrokerID(id), since)
	}
	return nil
}

func decodeBroker(m *pb.Broker) (*BrokerState, error) {
	r, err := decodeRegistration(m.GetRegistration())
	if err != nil {
		return nil, err
	}
	held, err := decodeObjects(m.GetHeld())
	if err != nil {
		return nil, err
	}
	phase := m.GetPhase()
	if r.Incarnation == 0 || phase < uint32(Live) || phase > uint32(Adopted) || !slices.IsSorted(m.GetApplied()) {
		return nil, errors.New("a broker is malformed")
	}
	if len(held) == 0 {
		held = nil
	}
	return &BrokerState{
		Incarnation: r.Incarnation, Registration: r.Registration,
		Phase: Phase(phase), Trim: karst.Number(m.GetTrim()),
		Settled: Settled{Counter: karst.Number(m.GetSettledCounter()), Request: m.GetSettledRequest()},
		Applied: m.GetApplied(), WALEnd: karst.Number(m.GetWalEnd()), Held: held,
	}, nil
}

func (d *snapshotDecoder) topics(all []*pb.Topic) error {
	for _, m := range all {
		id, err := decodeTopicID(m.GetId())
		if err != nil {
			return err
		}
		if f := m.GetReplicationFactor(); f < 0 || f > math.MaxInt16 {
			return fmt.Errorf("replication factor %d", f)
		}
		d.img.setTopic(d.ignored, &TopicState{
			ID: id, Name: m.GetName(), Internal: m.GetInternal(),
			ReplicationFactor: int16(m.GetReplicationFactor()), Partitions: m.GetPartitions(), Configs: m.GetConfigs(),
		})
	}
	return nil
}

func (d *snapshotDecoder) partitions(m *pb.SnapshotPart) error {
	topics, err := decodeTopicIDs(m.TopicIds)
	if err != nil {
		return err
	}
	objects, err := decodeObjects(m.Objects)
	if err != nil {
		return err
	}
	sources, err := newSourceTable(m.Sources, objects)
	if err != nil {
		return err
	}
	counts := make(map[ObjectID]int32, len(objects))
	for _, row := range m.Partitions {
		p, err := decodePartition(row, topics, objects, sources)
		if err != nil {
			return err
		}
		if d.last != nil && !less(&d.last.ID, &p.ID) {
			return fmt.Errorf("partition %s is out of order", p.ID)
		}
		d.last = p
		d.img.partitions.Load(p)
		if p.Reassigning() {
			d.img.reassigned.Load(p.ID)
		}
		d.led = append(d.led, ledPartition{leader: p.Leader, partition: p.ID})
		for n := range p.Sources {
			counts[p.Sources[n].Object]++
		}
		for n := range p.States {
			counts[p.States[n].Object]++
		}
	}
	for o, n := range counts {
		d.refs = append(d.refs, reference{object: o, count: n})
	}
	return sources.end()
}

func decodePartition(m *pb.PartitionEntry, topics []karst.TopicID, objects []ObjectID, sources *sourceTable) (*PartitionState, error) {
	id, err := at(topics, m.GetTopic())
	if err != nil {
		return nil, err
	}
	if len(m.GetEpochs()) == 0 || len(m.GetEpochs()) != len(m.GetEpochStarts()) {
		return nil, errTable
	}
	if f := m.GetFactor(); f < 0 || f > math.MaxInt16 {
		return nil, fmt.Errorf("replication factor %d", f)
	}
	p := &PartitionState{
		ID:     karst.TopicPartition{Topic: id, Partition: karst.Partition(m.GetPartition())},
		Leader: karst.Incarnation(m.GetLeader()), Broker: karst.BrokerID(m.GetBroker()),
		Epoch: karst.Epoch(m.GetEpoch()), LogStart: karst.Offset(m.GetLogStart()), End: karst.Offset(m.GetEnd()),
		Replicas: decodeBrokers(m.GetReplicas()), Stopped: karst.Incarnation(m.GetStopped()),
		Previous: decodeBrokers(m.GetPrevious()), Factor: int16(m.GetFactor()),
		Epochs: make([]EpochStart, len(m.Epochs)),
	}
	for n := range p.Epochs {
		p.Epochs[n] = EpochStart{Epoch: karst.Epoch(m.Epochs[n]), Start: karst.Offset(m.EpochStarts[n])}
	}
	if p.Sources, err = sources.take(m.GetSources()); err != nil {
		return nil, err
	}
	for _, s := range m.States {
		state, err := decodeState(objects, s)
		if err != nil {
			return nil, err
		}
		p.States = append(p.States, state)
	}
	return p, nil
}

// finish loads the derived trees and checks the counts.
func (d *snapshotDecoder) finish() error {
	if d.head == nil {
		return errors.New("the snapshot is empty")
	}
	i := d.img
	if uint64(i.topics.Len()) != d.head.Topics || uint64(i.topicIDs.Len()) != d.head.Topics ||
		uint64(i.partitions.Len()) != d.head.Partitions {
		return errors.New("topics or partitions are missing")
	}
	slices.SortFunc(d.led, func(a, b ledPartition) int {
		return cmp.Or(cmp.Compare(a.leader, b.leader), a.partition.Compare(b.partition))
	})
	for _, l := range d.led {
		i.led.Load(l)
		i.leads[l.leader]++
	}
	slices.SortFunc(d.refs, func(a, b reference) int { return a.object.Compare(b.object) })
	for n := 0; n < len(d.refs); {
		r := d.refs[n]
		for n++; n < len(d.refs) && d.refs[n].object == r.object; n++ {
			r.count += d.refs[n].count
		}
		i.refs.Load(r)
	}
	return nil
}
