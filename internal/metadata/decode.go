package metadata

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/karst-io/karst"
	pb "github.com/karst-io/karst/internal/metadata/metadatapb"
	"github.com/karst-io/karst/internal/store/object"
)

// DecodeCommit decodes the payload of a Commit object, and says its checksum.
// What does not decode is a *karst.CorruptError that names the object; a kind of
// record that only a newer program knows is refused with UnsupportedVersion.
func DecodeCommit(name string, b []byte) (*Commit, uint32, error) {
	c, err := decodeCommit(b)
	if err != nil {
		return nil, 0, undecoded(name, 0, err)
	}
	return c, object.Checksum(b), nil
}

// undecoded is the error of an object whose payload does not decode at an offset.
func undecoded(name string, at int64, err error) error {
	if errors.Is(err, karst.UnsupportedVersion.Err()) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return &karst.CorruptError{Object: name, Offset: object.HeaderSize + at, Reason: err.Error()}
}

func decodeCommit(b []byte) (*Commit, error) {
	var m pb.Commit
	if err := proto.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	c := &Commit{
		Position:    Position{Term: karst.Term(m.Term), Number: karst.Number(m.Number)},
		Predecessor: m.Predecessor,
	}
	if copy(c.Nonce[:], m.Nonce) != len(m.Nonce) {
		return nil, fmt.Errorf("nonce of %d bytes", len(m.Nonce))
	}
	for n, r := range m.Records {
		record, err := decodeRecord(r)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", n, err)
		}
		c.Records = append(c.Records, record)
	}
	return c, nil
}

// DecodeRequest decodes what EncodeRequest encoded.
func DecodeRequest(b []byte) (*CommitRequest, error) {
	var m pb.CommitRequest
	if err := proto.Unmarshal(b, &m); err != nil {
		return nil, karst.InvalidRequest.Errorf("commit request: %v", err)
	}
	r, err := decodeRequest(&m)
	if err != nil {
		return nil, karst.InvalidRequest.Errorf("commit request: %v", err)
	}
	return r, nil
}

func decodeRecord(r *pb.Record) (Record, error) {
	switch k := r.GetKind().(type) {
	case *pb.Record_RegisterBroker:
		return decodeRegistration(k.RegisterBroker)
	case *pb.Record_FenceIncarnation:
		return &FenceIncarnation{Incarnation: karst.Incarnation(k.FenceIncarnation)}, nil
	case *pb.Record_CommitRequest:
		return decodeRequest(k.CommitRequest)
	case *pb.Record_CreateTopic:
		return decodeCreateTopic(k.CreateTopic)
	case *pb.Record_DeleteTopic:
		id, err := decodeTopicID(k.DeleteTopic)
		return &DeleteTopic{ID: id}, err
	case *pb.Record_CreatePartitions:
		id, err := decodeTopicID(k.CreatePartitions.GetId())
		return &CreatePartitions{ID: id, Partitions: decodeNew(k.CreatePartitions.GetPartitions())}, err
	case *pb.Record_SetConfigs:
		return decodeConfigs(k.SetConfigs)
	case *pb.Record_AllocateProducerIds:
		a := k.AllocateProducerIds
		return &AllocateProducerIDs{First: karst.ProducerID(a.GetFirst()), Count: a.GetCount()}, nil
	case *pb.Record_PlaceLeaders:
		return decodePlacements(k.PlaceLeaders)
	case *pb.Record_ForgetIncarnation:
		return &ForgetIncarnation{Incarnation: karst.Incarnation(k.ForgetIncarnation)}, nil
	case *pb.Record_ReleaseHeld:
		return &ReleaseHeld{Incarnation: karst.Incarnation(k.ReleaseHeld)}, nil
	case *pb.Record_SetFeature:
		return &SetFeature{Name: k.SetFeature.GetName(), Level: k.SetFeature.GetLevel()}, nil
	case *pb.Record_AssignReplicas:
		return decodeAssignments(k.AssignReplicas)
	case *pb.Record_DrainBroker:
		d := k.DrainBroker
		return &DrainBroker{ID: karst.BrokerID(d.GetId()), Drained: d.GetDrained(), Since: karst.Timestamp(d.GetSince())}, nil
	default:
		// Never skipped: an image without it would not be the image (I10).
		return nil, newer("it has a kind of record")
	}
}

func decodeCreateTopic(m *pb.CreateTopic) (*CreateTopic, error) {
	id, err := decodeTopicID(m.GetId())
	if err != nil {
		return nil, err
	}
	if f := m.GetReplicationFactor(); f < 0 || f > math.MaxInt16 {
		return nil, fmt.Errorf("replication factor %d", f)
	}
	return &CreateTopic{
		ID: id, Name: m.GetName(), Internal: m.GetInternal(),
		ReplicationFactor: int16(m.GetReplicationFactor()), Configs: m.GetConfigs(),
		Partitions: decodeNew(m.GetPartitions()),
	}, nil
}

func decodeNew(all []*pb.NewPartition) []NewPartition {
	out := make([]NewPartition, len(all))
	for n, p := range all {
		out[n] = NewPartition{Leader: karst.Incarnation(p.GetLeader()), Replicas: decodeBrokers(p.GetReplicas())}
	}
	return out
}

func decodeBrokers(all []int32) []karst.BrokerID {
	if len(all) == 0 {
		return nil
	}
	out := make([]karst.BrokerID, len(all))
	for n, id := range all {
		out[n] = karst.BrokerID(id)
	}
	return out
}

func decodeConfigs(m *pb.SetConfigs) (*SetConfigs, error) {
	r := &SetConfigs{Configs: m.GetConfigs()}
	switch m.GetResource() {
	case pb.SetConfigs_TOPIC:
		id, err := decodeTopicID(m.GetTopic())
		if err == nil && id.IsZero() {
			err = fmt.Errorf("configs of a topic without an id")
		}
		r.Resource.Topic = id
		return r, err
	case pb.SetConfigs_BROKER:
		r.Resource.Broker = m.GetName()
		return r, nil
	case pb.SetConfigs_GROUP:
		r.Resource.Group = m.GetName()
	case pb.SetConfigs_CLIENT_METRICS:
		r.Resource.ClientMetrics = m.GetName()
	default:
		return nil, newer(fmt.Sprintf("it has configs of a kind of resource, %d", m.GetResource()))
	}
	if m.GetName() == "" {
		return nil, fmt.Errorf("configs of %v without a name", m.GetResource())
	}
	return r, nil
}

func decodePlacements(m *pb.PlaceLeaders) (*PlaceLeaders, error) {
	topics, err := decodeTopicIDs(m.GetTopics())
	if err != nil {
		return nil, err
	}
	if len(m.GetPartition()) != len(m.GetTopic()) || len(m.GetLeader()) != len(m.GetTopic()) {
		return nil, errTable
	}
	r := &PlaceLeaders{Placements: make([]Placement, len(m.GetTopic()))}
	for n := range r.Placements {
		id, err := at(topics, m.Topic[n])
		if err != nil {
			return nil, err
		}
		r.Placements[n] = Placement{
			Partition: karst.TopicPartition{Topic: id, Partition: karst.Partition(m.Partition[n])},
			Leader:    karst.Incarnation(m.Leader[n]),
		}
	}
	return r, nil
}

func decodeRequest(m *pb.CommitRequest) (*CommitRequest, error) {
	topics, err := decodeTopicIDs(m.GetTopics())
	if err != nil {
		return nil, err
	}
	objects, err := decodeObjects(m.GetObjects())
	if err != nil {
		return nil, err
	}
	sources, err := newSourceTable(m.GetSources(), objects)
	if err != nil {
		return nil, err
	}
	r := &CommitRequest{
		Incarnation: karst.Incarnation(m.GetIncarnation()), Request: m.GetRequest(),
		Settled: Settled{Counter: karst.Number(m.GetSettledCounter()), Request: m.GetSettledRequest()},
		WALTrim: karst.Number(m.GetWalTrim()), Adopt: m.GetAdopt(), WALEnd: karst.Number(m.GetWalEnd()),
	}
	for _, g := range m.GetRanges() {
		decoded, err := decodeRange(g, topics, objects, sources)
		if err != nil {
			return nil, err
		}
		r.Ranges = append(r.Ranges, decoded)
	}
	for _, n := range m.GetHeld() {
		o, err := at(objects, n)
		if err != nil {
			return nil, err
		}
		r.Held = append(r.Held, o)
	}
	if len(m.GetStoppedPartition()) != len(m.GetStoppedTopic()) {
		return nil, errTable
	}
	for n, p := range m.GetStoppedPartition() {
		id, err := at(topics, m.StoppedTopic[n])
		if err != nil {
			return nil, err
		}
		r.Stopped = append(r.Stopped, karst.TopicPartition{Topic: id, Partition: karst.Partition(p)})
	}
	return r, sources.end()
}

func decodeRange(g *pb.Range, topics []karst.TopicID, objects []ObjectID, sources *sourceTable) (Range, error) {
	id, err := at(topics, g.GetTopic())
	if err != nil {
		return Range{}, err
	}
	r := Range{
		Partition: karst.TopicPartition{Topic: id, Partition: karst.Partition(g.GetPartition())},
		Epoch:     karst.Epoch(g.GetEpoch()), Start: karst.Offset(g.GetStart()), End: karst.Offset(g.GetEnd()),
		LogStart: karst.Offset(g.GetLogStart()), NewLeader: karst.Incarnation(g.GetNewLeader()),
	}
	if r.Sources, err = sources.take(g.GetSources()); err != nil {
		return Range{}, err
	}
	if g.State != nil {
		s, err := decodeState(objects, g.State)
		if err != nil {
			return Range{}, err
		}
		r.State = &s
	}
	return r, nil
}
