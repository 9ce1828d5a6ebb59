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
	var topics Topics
	for _, v := range moves {
		m.Topic = append(m.Topic, topics.Add(v.Partition.Topic))
		m.Partition = append(m.Partition, int32(v.Partition.Partition))
		m.Epoch = append(m.Epoch, int32(v.Epoch))
		m.To = append(m.To, uint64(v.To))
	}
	m.Topics = topics.IDs
	return m
}

// Topics names topics once in a message; the rest of it refers to them by index.
// The zero value is empty.
type Topics struct {
	IDs   [][]byte
	index map[karst.TopicID]uint32
}

// Add is the index of a topic.
func (t *Topics) Add(id karst.TopicID) uint32 {
	n, ok := t.index[id]
	if !ok {
		if t.index == nil {
			t.index = map[karst.TopicID]uint32{}
		}
		n = uint32(len(t.IDs))
		t.index[id] = n
		t.IDs = append(t.IDs, id[:])
	}
	return n
}

// TopicAt is the topic of an index into what another broker sent.
func TopicAt(ids [][]byte, at uint32) (karst.TopicID, error) {
	if uint64(at) >= uint64(len(ids)) || len(ids[at]) != len(karst.TopicID{}) {
		return karst.TopicID{}, fmt.Errorf("%d is the index of no topic", at)
	}
	return karst.TopicID(ids[at]), nil
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
		id, err := TopicAt(m.Topics, m.Topic[k])
		if err != nil {
			return nil, fmt.Errorf("move %d: %w", k, err)
		}
		out[k] = Move{
			Partition: karst.TopicPartition{Topic: id, Partition: karst.Partition(m.Partition[k])},
			Epoch:     karst.Epoch(m.Epoch[k]), To: karst.Incarnation(m.To[k]),
		}
	}
	return out, nil
}
