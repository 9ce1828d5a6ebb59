package metadata

import (
	"errors"
	"fmt"
	"math"

	"github.com/karst-io/karst"
	pb "github.com/karst-io/karst/internal/metadata/metadatapb"
)

var errTable = errors.New("a table of the message is inconsistent")

// objectTable numbers the objects of a message: each is listed once.
type objectTable struct {
	pb    pb.Objects
	index map[ObjectID]uint32
}

func (t *objectTable) add(o ObjectID) uint32 {
	if n, ok := t.index[o]; ok {
		return n
	}
	if t.index == nil {
		t.index = map[ObjectID]uint32{}
	}
	n := uint32(len(t.index))
	t.index[o] = n
	t.pb.Kind = append(t.pb.Kind, uint32(o.Kind))
	t.pb.Writer = append(t.pb.Writer, uint64(o.Writer))
	t.pb.Number = append(t.pb.Number, uint64(o.Number))
	return n
}

func decodeObjects(t *pb.Objects) ([]ObjectID, error) {
	n := len(t.GetKind())
	if len(t.GetWriter()) != n || len(t.GetNumber()) != n {
		return nil, errTable
	}
	all := make([]ObjectID, n)
	for i := range all {
		k := ObjectKind(t.Kind[i])
		if t.Kind[i] > math.MaxUint8 || k != WALObject && k != SegObject {
			return nil, fmt.Errorf("object of unknown kind %d", t.Kind[i])
		}
		all[i] = ObjectID{Kind: k, Writer: karst.Incarnation(t.Writer[i]), Number: karst.Number(t.Number[i])}
	}
	return all, nil
}

// topicTable numbers the topic ids of a message.
type topicTable struct {
	ids   [][]byte
	index map[karst.TopicID]uint32
}

func (t *topicTable) add(id karst.TopicID) uint32 {
	if n, ok := t.index[id]; ok {
		return n
	}
	if t.index == nil {
		t.index = map[karst.TopicID]uint32{}
	}
	n := uint32(len(t.ids))
	t.index[id] = n
	t.ids = append(t.ids, id[:])
	return n
}

func decodeTopicIDs(raw [][]byte) ([]karst.TopicID, error) {
	all := make([]karst.TopicID, len(raw))
	for n, b := range raw {
		id, err := decodeTopicID(b)
		if err != nil {
			return nil, err
		}
		all[n] = id
	}
	return all, nil
}

func decodeTopicID(b []byte) (id karst.TopicID, err error) {
	if len(b) != len(id) {
		return id, fmt.Errorf("topic id of %d bytes", len(b))
	}
	return karst.TopicID(b), nil
}

// appendSource adds a row to the table.
func appendSource(t *pb.Sources, objects *objectTable, s *Source) {
	t.Object = append(t.Object, objects.add(s.Object))
	t.Base = append(t.Base, int64(s.Base))
	t.LastDelta = append(t.LastDelta, int64(s.Last-s.Base))
	t.DataPos = append(t.DataPos, s.Data.Pos)
	t.DataLen = append(t.DataLen, s.Data.Len)
	t.IndexPos = append(t.IndexPos, s.Index.Pos)
	t.IndexLen = append(t.IndexLen, s.Index.Len)
	t.IndexCheck = append(t.IndexCheck, s.IndexCheck)
	t.MaxTimestamp = append(t.MaxTimestamp, int64(s.MaxTimestamp))
	t.MaxTimestampDelta = append(t.MaxTimestampDelta, int64(s.MaxTimestampOffset-s.Base))
}

// sourceTable reads rows in order.
type sourceTable struct {
	t       *pb.Sources
	objects []ObjectID
	next    int
}

func newSourceTable(t *pb.Sources, objects []ObjectID) (*sourceTable, error) {
	if t == nil {
		t = &pb.Sources{}
	}
	n := len(t.Object)
	for _, m := range []int{
		len(t.Base), len(t.LastDelta), len(t.DataPos), len(t.DataLen), len(t.IndexPos),
		len(t.IndexLen), len(t.IndexCheck), len(t.MaxTimestamp), len(t.MaxTimestampDelta),
	} {
		if m != n {
			return nil, errTable
		}
	}
	return &sourceTable{t: t, objects: objects}, nil
}

// take reads the next n rows; nil for none.
func (s *sourceTable) take(n uint32) ([]Source, error) {
	if int64(n) > int64(len(s.t.Object)-s.next) {
		return nil, errTable
	}
	if n == 0 {
		return nil, nil
	}
	rows := make([]Source, n)
	for k := range rows {
		i := s.next + k
		o, err := at(s.objects, s.t.Object[i])
		if err != nil {
			return nil, err
		}
		base := karst.Offset(s.t.Base[i])
		rows[k] = Source{
			Object: o, Base: base, Last: base + karst.Offset(s.t.LastDelta[i]),
			Data:               karst.Span{Pos: s.t.DataPos[i], Len: s.t.DataLen[i]},
			Index:              karst.Span{Pos: s.t.IndexPos[i], Len: s.t.IndexLen[i]},
			IndexCheck:         s.t.IndexCheck[i],
			MaxTimestamp:       karst.Timestamp(s.t.MaxTimestamp[i]),
			MaxTimestampOffset: base + karst.Offset(s.t.MaxTimestampDelta[i]),
		}
	}
	s.next += int(n)
	return rows, nil
}

func (s *sourceTable) end() error {
	if s.next != len(s.t.Object) {
		return errTable
	}
	return nil
}

func at[T any](table []T, n uint32) (T, error) {
	if int64(n) >= int64(len(table)) {
		var zero T
		return zero, errTable
	}
	return table[n], nil
}

func encodeState(objects *objectTable, s *StateRef) *pb.StateRef {
	return &pb.StateRef{
		Object: objects.add(s.Object), Pos: s.At.Pos, Len: s.At.Len,
		Check: s.Check, Full: s.Full, Next: int64(s.Next),
	}
}

func decodeState(objects []ObjectID, s *pb.StateRef) (StateRef, error) {
	o, err := at(objects, s.GetObject())
	return StateRef{
		Object: o, At: karst.Span{Pos: s.GetPos(), Len: s.GetLen()},
		Check: s.GetCheck(), Full: s.GetFull(), Next: karst.Offset(s.GetNext()),
	}, err
}
