package metadata

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/karst-io/karst"
	pb "github.com/karst-io/karst/internal/metadata/metadatapb"
)

func encodeRegistration(inc karst.Incarnation, r *Registration) *pb.RegisterBroker {
	m := &pb.RegisterBroker{
		Incarnation: uint64(inc), Id: int32(r.ID), Rack: r.Rack, Host: r.Host, Port: r.Port,
		WalUrl: r.WALURL, Peer: r.Peer, Supports: r.Supports,
	}
	if r.Process != (ProcessID{}) {
		m.Process = r.Process[:]
	}
	for _, l := range r.Listeners {
		m.Listeners = append(m.Listeners, &pb.Listener{Name: l.Name, Host: l.Host, Port: l.Port})
	}
	return m
}

func decodeRegistration(m *pb.RegisterBroker) (*RegisterBroker, error) {
	process, err := decodeProcess(m.GetProcess())
	r := &RegisterBroker{Incarnation: karst.Incarnation(m.GetIncarnation()), Registration: Registration{
		ID: karst.BrokerID(m.GetId()), Process: process, Rack: m.GetRack(), Host: m.GetHost(), Port: m.GetPort(),
		WALURL: m.GetWalUrl(), Peer: m.GetPeer(), Supports: m.GetSupports(),
	}}
	for _, l := range m.GetListeners() {
		r.Listeners = append(r.Listeners, Endpoint{Name: l.GetName(), Host: l.GetHost(), Port: l.GetPort()})
	}
	return r, err
}

// EncodeRegistration encodes what a broker says of itself, for another process.
func EncodeRegistration(r *Registration) []byte { return marshal(encodeRegistration(0, r)) }

// DecodeRegistration decodes what EncodeRegistration encoded.
func DecodeRegistration(b []byte) (Registration, error) {
	var m pb.RegisterBroker
	if err := proto.Unmarshal(b, &m); err != nil {
		return Registration{}, karst.InvalidRequest.Errorf("registration: %v", err)
	}
	r, err := decodeRegistration(&m)
	if err != nil {
		return Registration{}, karst.InvalidRequest.Errorf("registration: %v", err)
	}
	return r.Registration, nil
}

func decodeProcess(b []byte) (p ProcessID, err error) {
	if len(b) != 0 && len(b) != len(p) {
		return p, fmt.Errorf("process id of %d bytes", len(b))
	}
	copy(p[:], b)
	return p, nil
}

func encodeAssignments(r *AssignReplicas) *pb.AssignReplicas {
	var topics topicTable
	m := &pb.AssignReplicas{}
	for _, a := range r.Assignments {
		m.Assignments = append(m.Assignments, &pb.Assignment{
			Topic: topics.add(a.Partition.Topic), Partition: int32(a.Partition.Partition),
			Replicas: encodeBrokers(a.Replicas), Previous: encodeBrokers(a.Previous),
		})
	}
	m.Topics = topics.ids
	return m
}

func decodeAssignments(m *pb.AssignReplicas) (*AssignReplicas, error) {
	topics, err := decodeTopicIDs(m.GetTopics())
	if err != nil {
		return nil, err
	}
	r := &AssignReplicas{}
	for _, a := range m.GetAssignments() {
		id, err := at(topics, a.GetTopic())
		if err != nil {
			return nil, err
		}
		r.Assignments = append(r.Assignments, Assignment{
			Partition: karst.TopicPartition{Topic: id, Partition: karst.Partition(a.GetPartition())},
			Replicas:  decodeBrokers(a.GetReplicas()), Previous: decodeBrokers(a.GetPrevious()),
		})
	}
	return r, nil
}
