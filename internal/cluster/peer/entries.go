package peer

import (
	"fmt"

	"github.com/karst-io/karst"
	pb "github.com/karst-io/karst/internal/cluster/peer/peerpb"
	"github.com/karst-io/karst/internal/metadata"
)

// EncodeEntries encodes steps of the metadata log.
func EncodeEntries(all []metadata.Entry) []*pb.Entry {
	out := make([]*pb.Entry, len(all))
	for n := range all {
		e := &all[n]
		out[n] = &pb.Entry{Term: uint64(e.Term), Number: uint64(e.Number), Commit: e.Commit}
		if c := e.Claim; c != nil {
			out[n].Claim = &pb.Claim{
				End: uint64(c.End), Check: c.Check, Broker: int32(c.Broker), Host: c.Host, Peer: c.Peer, Process: c.Process[:],
			}
		}
	}
	return out
}

// DecodeEntries decodes what EncodeEntries encoded.
func DecodeEntries(all []*pb.Entry) ([]metadata.Entry, error) {
	out := make([]metadata.Entry, len(all))
	for n, e := range all {
		out[n] = metadata.Entry{Term: karst.Term(e.Term), Number: karst.Number(e.Number), Commit: e.Commit}
		if c := e.Claim; c != nil {
			claim := metadata.Claim{End: karst.Number(c.End), Check: c.Check, Broker: karst.BrokerID(c.Broker), Host: c.Host, Peer: c.Peer}
			if n := len(c.Process); n != 0 && n != len(claim.Process) {
				return nil, fmt.Errorf("process id of %d bytes", n)
			}
			copy(claim.Process[:], c.Process)
			out[n].Claim = &claim
		}
	}
	return out, nil
}

// EncodePosition encodes a position of the metadata log.
func EncodePosition(p metadata.Position) *pb.Position {
	return &pb.Position{Term: uint64(p.Term), Number: uint64(p.Number)}
}

// DecodePosition decodes what EncodePosition encoded.
func DecodePosition(p *pb.Position) metadata.Position {
	return metadata.Position{Term: karst.Term(p.GetTerm()), Number: karst.Number(p.GetNumber())}
}

// EncodeMoves encodes partitions that a broker is to hand over.
func EncodeMoves(moves []Move) *pb.Moves {
	m := &pb.Moves{}
	topics := map[karst.TopicID]uint32{}
	for _, v := range moves {
		n, ok := topics[v.Partition.Topic]
		if !ok {
			n = uint32(len(topics))
			topics[v.Partition.Topic] = n
			m.Topics = append(m.Topics, v.Partition.Topic[:])
		}
		m.Topic = append(m.Topic, n)
		m.Partition = append(m.Partition, int32(v.Partition.Partition))
		m.Epoch = append(m.Epoch, int32(v.Epoch))
		m.To = append(m.To, uint64(v.To))
	}
	return m
}

// Move is a partition that its leader is to hand over.
type Move struct {
	Partition karst.TopicPartition
	Epoch     karst.Epoch // at which it leads
	To        karst.Incarnation
}

// DecodeMoves decodes what EncodeMoves encoded.
func DecodeMoves(m *pb.Moves) ([]Move, error) {
	n := len(m.GetTopic())
	if len(m.GetPartition()) != n || len(m.GetEpoch()) != n || len(m.GetTo()) != n {
		return nil, fmt.Errorf("moves with columns of different length")
	}
	out := make([]Move, n)
	for k := range out {
		at := m.Topic[k]
		if int(at) >= len(m.Topics) || len(m.Topics[at]) != len(karst.TopicID{}) {
			return nil, fmt.Errorf("move %d is of no topic", k)
		}
		out[k] = Move{
			Partition: karst.TopicPartition{Topic: karst.TopicID(m.Topics[at]), Partition: karst.Partition(m.Partition[k])},
			Epoch:     karst.Epoch(m.Epoch[k]), To: karst.Incarnation(m.To[k]),
		}
	}
	return out, nil
}
