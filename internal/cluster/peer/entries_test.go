package peer

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/karst-io/karst"
	pb "github.com/karst-io/karst/internal/cluster/peer/peerpb"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/proptest"
)

var someEntries = []metadata.Entry{
	{Term: 3, Claim: &metadata.Claim{End: 7, Check: 0xdeadbeef, Broker: -1, Host: "h", Peer: "h:1", Process: metadata.ProcessID{1, 15: 2}}},
	{Term: 3, Number: 1, Commit: []byte("commit")},
	{Term: 4, Claim: &metadata.Claim{}},
}

func someMoves(r *rand.Rand) []Move {
	moves := make([]Move, r.IntN(20))
	for n := range moves {
		moves[n] = Move{
			Partition: karst.TopicPartition{Topic: karst.TopicID{byte(r.IntN(3))}, Partition: proptest.Int[karst.Partition](r, 0, 1<<30)},
			Epoch:     proptest.Int[karst.Epoch](r, 0, 1<<30), To: karst.Incarnation(r.Uint64()),
		}
	}
	return moves
}

// What crosses the wire comes out as it went in.
func TestRoundTrips(t *testing.T) {
	wire, err := proto.Marshal(&pb.PollResponse{Entries: EncodeEntries(someEntries)})
	if err != nil {
		t.Fatal(err)
	}
	var m pb.PollResponse
	if err := proto.Unmarshal(wire, &m); err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeEntries(m.Entries); err != nil || !reflect.DeepEqual(got, someEntries) {
		t.Errorf("%+v, %v", got, err)
	}
	proptest.Run(t, 50, func(t *testing.T, r *rand.Rand) {
		moves := someMoves(r)
		if got, err := DecodeMoves(EncodeMoves(moves)); err != nil || len(got) != len(moves) || len(moves) > 0 && !reflect.DeepEqual(got, moves) {
			t.Errorf("%+v became %+v, %v", moves, got, err)
		}
	})
	p := metadata.Position{Term: 1 << 40, Number: 2}
	if got := DecodePosition(EncodePosition(p)); got != p || DecodePosition(nil) != (metadata.Position{}) {
		t.Errorf("%s became %s", p, got)
	}
}

// A process id has its length, or is none.
func TestDecodeEntriesRefuses(t *testing.T) {
	for _, n := range []int{1, 15, 17} {
		if _, err := DecodeEntries([]*pb.Entry{{Claim: &pb.Claim{Process: make([]byte, n)}}}); err == nil {
			t.Errorf("a process id of %d bytes was taken", n)
		}
	}
}

func TestDecodeMovesRefuses(t *testing.T) {
	id := make([]byte, 16)
	for _, m := range []*pb.Moves{
		{Topics: [][]byte{id}, Topic: []uint32{0}, Partition: []int32{0}, Epoch: []int32{0}},
		{Topics: [][]byte{id}, Topic: []uint32{1}, Partition: []int32{0}, Epoch: []int32{0}, To: []uint64{1}},
		{Topics: [][]byte{id}, Topic: []uint32{1 << 31}, Partition: []int32{0}, Epoch: []int32{0}, To: []uint64{1}},
		{Topics: [][]byte{id[1:]}, Topic: []uint32{0}, Partition: []int32{0}, Epoch: []int32{0}, To: []uint64{1}},
	} {
		if got, err := DecodeMoves(m); err == nil {
			t.Errorf("%v became %v", m, got)
		}
	}
	if got, err := DecodeMoves(nil); err != nil || len(got) != 0 {
		t.Errorf("none became %v, %v", got, err)
	}
}

// FuzzDecodeEntries: what is decoded is encoded to the same.
func FuzzDecodeEntries(f *testing.F) {
	seed, err := proto.Marshal(&pb.PollResponse{Entries: EncodeEntries(someEntries)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m pb.PollResponse
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		all, err := DecodeEntries(m.Entries)
		if err != nil {
			return
		}
		again, err := DecodeEntries(EncodeEntries(all))
		if err != nil || !reflect.DeepEqual(all, again) {
			t.Errorf("%+v became %+v, %v", all, again, err)
		}
	})
}

// FuzzDecodeMoves: what is decoded is encoded to the same.
func FuzzDecodeMoves(f *testing.F) {
	seed, err := proto.Marshal(EncodeMoves(someMoves(rand.New(rand.NewPCG(1, 2)))))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m pb.Moves
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		moves, err := DecodeMoves(&m)
		if err != nil {
			return
		}
		again, err := DecodeMoves(EncodeMoves(moves))
		if err != nil || !reflect.DeepEqual(moves, again) {
			t.Errorf("%+v became %+v, %v", moves, again, err)
		}
	})
}
