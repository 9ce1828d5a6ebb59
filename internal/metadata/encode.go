package metadata

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/karst-io/karst"
	pb "github.com/karst-io/karst/internal/metadata/metadatapb"
	"github.com/karst-io/karst/internal/store/object"
)

// commitVersion is the version of Commit objects.
const commitVersion = 1

// deterministic makes equal images and commits equal bytes.
var deterministic = proto.MarshalOptions{Deterministic: true}

// EncodeCommit encodes a commit: the payload of its object, and its checksum.
func EncodeCommit(c *Commit) ([]byte, uint32) {
	m := &pb.Commit{
		Term: uint64(c.Position.Term), Number: uint64(c.Position.Number),
		Predecessor: c.Predecessor, Nonce: c.Nonce[:],
	}
	for _, r := range c.Records {
		m.Records = append(m.Records, encodeRecord(r))
	}
	b, err := deterministic.Marshal(m)
	if err != nil {
		panic("BUG: commit does not encode: " + err.Error()) // strings are checked when applied
	}
	return b, object.Checksum(b)
}

// EncodeRequest encodes a commit request alone, for the peer RPC.
func EncodeRequest(r *CommitRequest) []byte {
	b, err := deterministic.Marshal(encodeRequest(r))
	if err != nil {
		panic("BUG: commit request does not encode: " + err.Error())
	}
	return b
}

func encodeRecord(r Record) *pb.Record {
	switch r := r.(type) {
	case *RegisterBroker:
		return &pb.Record{Kind: &pb.Record_RegisterBroker{RegisterBroker: encodeRegistration(r.Incarnation, &r.Registration)}}
	case *AssignReplicas:
		return &pb.Record{Kind: &pb.Record_AssignReplicas{AssignReplicas: encodeAssignments(r)}}
	case *DrainBroker:
		return &pb.Record{Kind: &pb.Record_DrainBroker{DrainBroker: &pb.DrainBroker{
			Id: int32(r.ID), Drained: r.Drained, Since: int64(r.Since),
		}}}
	case *FenceIncarnation:
		return &pb.Record{Kind: &pb.Record_FenceIncarnation{FenceIncarnation: uint64(r.Incarnation)}}
	case *CommitRequest:
		return &pb.Record{Kind: &pb.Record_CommitRequest{CommitRequest: encodeRequest(r)}}
	case *CreateTopic:
		return &pb.Record{Kind: &pb.Record_CreateTopic{CreateTopic: &pb.CreateTopic{
			Id: r.ID[:], Name: r.Name, Internal: r.Internal,
			ReplicationFactor: int32(r.ReplicationFactor), Configs: r.Configs,
			Partitions: encodeNew(r.Partitions),
		}}}
	case *DeleteTopic:
		return &pb.Record{Kind: &pb.Record_DeleteTopic{DeleteTopic: r.ID[:]}}
	case *CreatePartitions:
		return &pb.Record{Kind: &pb.Record_CreatePartitions{CreatePartitions: &pb.CreatePartitions{
			Id: r.ID[:], Partitions: encodeNew(r.Partitions),
		}}}
	case *SetConfigs:
		return encodeConfigs(r)
	case *AllocateProducerIDs:
		return &pb.Record{Kind: &pb.Record_AllocateProducerIds{AllocateProducerIds: &pb.AllocateProducerIDs{
			First: int64(r.First), Count: r.Count,
		}}}
	case *PlaceLeaders:
		return encodePlacements(r)
	case *ForgetIncarnation:
		return &pb.Record{Kind: &pb.Record_ForgetIncarnation{ForgetIncarnation: uint64(r.Incarnation)}}
	case *ReleaseHeld:
		return &pb.Record{Kind: &pb.Record_ReleaseHeld{ReleaseHeld: uint64(r.Incarnation)}}
	case *SetFeature:
		return &pb.Record{Kind: &pb.Record_SetFeature{SetFeature: &pb.SetFeature{Name: r.Name, Level: r.Level}}}
	default:
		panic(fmt.Sprintf("BUG: record %T has no encoding", r))
	}
}

func encodeNew(all []NewPartition) []*pb.NewPartition {
	out := make([]*pb.NewPartition, len(all))
	for n, p := range all {
		out[n] = &pb.NewPartition{Leader: uint64(p.Leader), Replicas: encodeBrokers(p.Replicas)}
	}
	return out
}

func encodeBrokers(all []karst.BrokerID) []int32 {
	out := make([]int32, len(all))
	for n, id := range all {
		out[n] = int32(id)
	}
	return out
}

func encodeConfigs(r *SetConfigs) *pb.Record {
	m := &pb.SetConfigs{Resource: pb.SetConfigs_BROKER, Name: r.Resource.Broker, Configs: r.Configs}
	switch {
	case !r.Resource.Topic.IsZero():
		m.Resource, m.Topic, m.Name = pb.SetConfigs_TOPIC, r.Resource.Topic[:], ""
	case r.Resource.Group != "":
		m.Resource, m.Name = pb.SetConfigs_GROUP, r.Resource.Group
	case r.Resource.ClientMetrics != "":
		m.Resource, m.Name = pb.SetConfigs_CLIENT_METRICS, r.Resource.ClientMetrics
	}
	return &pb.Record{Kind: &pb.Record_SetConfigs{SetConfigs: m}}
}

func encodePlacements(r *PlaceLeaders) *pb.Record {
	var topics topicTable
	m := &pb.PlaceLeaders{}
	for _, p := range r.Placements {
		m.Topic = append(m.Topic, topics.add(p.Partition.Topic))
		m.Partition = append(m.Partition, int32(p.Partition.Partition))
		m.Leader = append(m.Leader, uint64(p.Leader))
	}
	m.Topics = topics.ids
	return &pb.Record{Kind: &pb.Record_PlaceLeaders{PlaceLeaders: m}}
}

func encodeRequest(r *CommitRequest) *pb.CommitRequest {
	var topics topicTable
	var objects objectTable
	m := &pb.CommitRequest{
		Incarnation: uint64(r.Incarnation), Request: r.Request,
		SettledCounter: uint64(r.Settled.Counter), SettledRequest: r.Settled.Request,
		WalTrim: uint64(r.WALTrim), Adopt: r.Adopt, WalEnd: uint64(r.WALEnd),
		Sources: &pb.Sources{},
	}
	for n := range r.Ranges {
		g := &r.Ranges[n]
		out := &pb.Range{
			Topic: topics.add(g.Partition.Topic), Partition: int32(g.Partition.Partition),
			Epoch: int32(g.Epoch), Start: int64(g.Start), End: int64(g.End),
			Sources: uint32(len(g.Sources)), LogStart: int64(g.LogStart), NewLeader: uint64(g.NewLeader),
		}
		for k := range g.Sources {
			appendSource(m.Sources, &objects, &g.Sources[k])
		}
		if g.State != nil {
			out.State = encodeState(&objects, g.State)
		}
		m.Ranges = append(m.Ranges, out)
	}
	for _, o := range r.Held {
		m.Held = append(m.Held, objects.add(o))
	}
	for _, tp := range r.Stopped {
		m.StoppedTopic = append(m.StoppedTopic, topics.add(tp.Topic))
		m.StoppedPartition = append(m.StoppedPartition, int32(tp.Partition))
	}
	m.Topics, m.Objects = topics.ids, &objects.pb
	return m
}
