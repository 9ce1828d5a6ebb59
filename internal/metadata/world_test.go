package metadata

import (
	"fmt"
	"math/rand/v2"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/proptest"
)

func topicID(n int) karst.TopicID { return karst.TopicID{15: byte(n)} }

func part(topic, partition int) karst.TopicPartition {
	return karst.TopicPartition{Topic: topicID(topic), Partition: karst.Partition(partition)}
}

func seg(inc, n int) ObjectID {
	return ObjectID{Kind: SegObject, Writer: karst.Incarnation(inc), Number: karst.Number(n)}
}

func walObject(inc, n int) ObjectID {
	return ObjectID{Kind: WALObject, Writer: karst.Incarnation(inc), Number: karst.Number(n)}
}

func source(o ObjectID, base, last karst.Offset) Source {
	return Source{
		Object: o, Base: base, Last: last, Data: karst.Span{Pos: 96, Len: 10 * int64(last-base+1)},
		Index: karst.Span{Pos: 4096, Len: 64}, IndexCheck: 7, MaxTimestamp: 1000 + karst.Timestamp(last), MaxTimestampOffset: last,
	}
}

// world draws records that mostly, but not always, fit an image.
type world struct {
	rng  *rand.Rand
	img  *Image
	next int // numbers for segments and requests
}

func (w *world) draw(least, most int) int { return proptest.Int(w.rng, least, most) }

// once tells whether this is the one time in n, on average.
func (w *world) once(n int) bool { return w.rng.IntN(n) == 0 }

func (w *world) record() Record {
	inc := karst.Incarnation(w.draw(0, int(w.img.nextIncarnation)))
	switch w.rng.IntN(22) {
	case 0, 1:
		return &RegisterBroker{
			Incarnation: w.img.nextIncarnation, Registration: Registration{
				ID: karst.BrokerID(w.draw(0, 3)), Process: ProcessID{byte(inc), 1}, Rack: "r", Host: "h", Port: 9092,
				Listeners: []Endpoint{{Name: "A", Host: "h", Port: 9092}, {Name: "B", Host: "g", Port: 1}},
				Peer:      "h:1", WALURL: fmt.Sprint("mem://", inc), Supports: 1,
			},
		}
	case 21:
		return &DrainBroker{ID: karst.BrokerID(w.draw(0, 3)), Drained: w.once(2)}
	case 20:
		a := Assignment{Partition: w.anyPartition(), Replicas: []karst.BrokerID{karst.BrokerID(w.draw(0, 3)), 7}[:w.draw(1, 2)]}
		if w.once(2) {
			a.Previous = []karst.BrokerID{karst.BrokerID(w.draw(0, 3)), 8}
		}
		return &AssignReplicas{Assignments: []Assignment{a}}
	case 2:
		return &FenceIncarnation{Incarnation: inc}
	case 3, 4:
		topic := w.draw(0, 4)
		return &CreateTopic{
			ID: topicID(topic + 1 + 10*w.draw(0, 3)), Name: fmt.Sprint("t.", topic), ReplicationFactor: 3,
			Configs: map[string]string{"a": "b"}, Partitions: w.newPartitions(),
		}
	case 5:
		return &DeleteTopic{ID: w.anyPartition().Topic}
	case 6:
		return &CreatePartitions{ID: w.anyPartition().Topic, Partitions: w.newPartitions()}
	case 7:
		return &SetConfigs{Resource: Resource{Topic: w.anyPartition().Topic}, Configs: map[string]string{"c": fmt.Sprint(inc)}}
	case 8:
		return &SetConfigs{Resource: Resource{Broker: fmt.Sprint(inc)}, Configs: map[string]string{"x": "y"}}
	case 9:
		return &AllocateProducerIDs{First: w.img.nextProducer, Count: 1000}
	case 10:
		return &PlaceLeaders{Placements: []Placement{{Partition: w.anyPartition(), Leader: inc}}}
	case 11:
		return &ForgetIncarnation{Incarnation: inc}
	case 12:
		return &ReleaseHeld{Incarnation: inc}
	case 13:
		return &SetFeature{Name: "f", Level: int32(w.draw(0, 3))}
	case 14:
		return w.adoption(inc)
	default:
		return w.flush(inc)
	}
}

func (w *world) newPartitions() []NewPartition {
	all := make([]NewPartition, w.draw(1, 3))
	for i := range all {
		inc := w.draw(0, int(w.img.nextIncarnation)-1)
		all[i] = NewPartition{Leader: karst.Incarnation(inc), Replicas: []karst.BrokerID{0, 1}}
	}
	return all
}

func (w *world) anyPartition() karst.TopicPartition {
	var all []karst.TopicPartition
	for p := range w.img.Partitions() {
		all = append(all, p.ID)
	}
	if len(all) == 0 {
		return part(1, 0)
	}
	return proptest.Pick(w.rng, all)
}

func (w *world) flush(inc karst.Incarnation) *CommitRequest {
	w.next++
	r := &CommitRequest{Incarnation: inc, Request: uint64(w.next)}
	if w.once(10) { // an old request
		r.Request = uint64(w.draw(1, w.next))
	}
	if w.once(2) {
		r.Settled = Settled{Counter: karst.Number(w.next - 1), Request: uint64(max(0, w.next-3))}
		r.WALTrim = karst.Number(w.next - 1)
	}
	object := ObjectID{Kind: SegObject, Writer: inc, Number: karst.Number(w.next)}
	if w.once(2) { // adopt a slice
		object.Kind = WALObject
	}
	w.ranges(r, object)
	return r
}

func (w *world) adoption(inc karst.Incarnation) *CommitRequest {
	w.next++
	r := &CommitRequest{Incarnation: inc, Adopt: true, WALEnd: karst.Number(w.next + 2)}
	object := ObjectID{Kind: WALObject, Writer: inc, Number: karst.Number(w.next)}
	w.ranges(r, object)
	if w.once(2) {
		r.Held = []ObjectID{{Kind: WALObject, Writer: inc, Number: karst.Number(w.next + 1)}}
		r.Stopped = []karst.TopicPartition{w.anyPartition()}
	}
	return r
}

func (w *world) ranges(r *CommitRequest, o ObjectID) {
	for p := range w.img.Partitions() {
		if p.Leader != r.Incarnation && !w.once(10) || w.once(2) {
			continue
		}
		g := Range{Partition: p.ID, Epoch: p.Epoch, Start: p.End, End: p.End + karst.Offset(w.draw(0, 5))}
		if g.End > g.Start {
			g.Sources = []Source{source(o, g.Start, g.End-1)}
		}
		if w.once(4) {
			g.LogStart = proptest.Int(w.rng, 0, g.End)
		}
		if w.once(2) {
			g.State = &StateRef{Object: o, At: karst.Span{Pos: 1, Len: 2}, Check: 3, Full: w.once(2), Next: g.End}
		}
		if w.once(4) {
			g.NewLeader = karst.Incarnation(w.draw(1, int(w.img.nextIncarnation)))
		}
		if w.once(20) { // wrong
			g.Start++
		}
		r.Ranges = append(r.Ranges, g)
	}
}
