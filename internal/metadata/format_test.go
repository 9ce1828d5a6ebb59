package metadata

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store/object"
	"github.com/karst-io/karst/internal/store/objlog"
)

var update = flag.Bool("update", false, "write the golden files")

// goldenCommit has every kind of record.
func goldenCommit() *Commit {
	p := part(1, 0)
	state := &StateRef{Object: seg(1, 5), At: karst.Span{Pos: 500, Len: 50}, Check: 9, Full: true, Next: 10}
	return &Commit{
		Position: Position{Term: 3, Number: 7}, Predecessor: 0xfeedbeef, Nonce: [16]byte{1, 2, 3},
		Records: []Record{
			&RegisterBroker{Incarnation: 1, Registration: Registration{ID: 0, Rack: "a", Host: "h", Port: 9092, WALURL: "file:///w"}},
			&CreateTopic{
				ID: topicID(1), Name: "t", Internal: true, ReplicationFactor: 3, Configs: map[string]string{"b": "1", "a": "2"},
				Partitions: []NewPartition{{Leader: 1, Replicas: []karst.BrokerID{0, 2}}},
			},
			&CreatePartitions{ID: topicID(1), Partitions: []NewPartition{{Leader: 1, Replicas: []karst.BrokerID{0}}}},
			&SetConfigs{Resource: Resource{Topic: topicID(1)}, Configs: map[string]string{"k": "v"}},
			&SetConfigs{Resource: Resource{Broker: "0"}, Configs: map[string]string{"k": "v"}},
			&SetConfigs{Resource: Resource{Group: "g"}, Configs: map[string]string{"k": "v"}},
			&SetConfigs{Resource: Resource{ClientMetrics: "m"}, Configs: map[string]string{"k": "v"}},
			&AllocateProducerIDs{First: 0, Count: 1000},
			&SetFeature{Name: "f", Level: 1},
			&CommitRequest{
				Incarnation: 1, Request: 4, Settled: Settled{Counter: 2, Request: 3}, WALTrim: 6,
				Ranges: []Range{{
					Partition: p, Start: 0, End: 10, LogStart: 2, NewLeader: 1, State: state,
					Sources: []Source{source(walObject(1, 7), 0, 3), source(seg(1, 5), 4, 9)},
				}},
			},
			&FenceIncarnation{Incarnation: 1},
			&CommitRequest{
				Incarnation: 1, Adopt: true, WALEnd: 9, Held: []ObjectID{walObject(1, 8)},
				Stopped: []karst.TopicPartition{part(1, 1)},
			},
			&RegisterBroker{Incarnation: 2, Registration: Registration{
				ID: 1, Process: ProcessID{1, 2}, Host: "h", Port: 1, Listeners: []Endpoint{{Name: "A", Host: "h", Port: 1}, {Name: "B", Host: "i", Port: 2}},
				Peer: "h:3", Supports: 1,
			}},
			&AssignReplicas{Assignments: []Assignment{
				{Partition: part(1, 0), Replicas: []karst.BrokerID{1, 0}},
				{Partition: part(1, 1), Replicas: []karst.BrokerID{1}, Previous: []karst.BrokerID{0, 2}},
			}},
			&DrainBroker{ID: 1, Drained: true},
			&PlaceLeaders{Placements: []Placement{{Partition: p, Leader: 2}}},
		},
	}
}

// otherRecords do not fit goldenCommit's image, but have an encoding.
var otherRecords = []Record{
	&DeleteTopic{ID: topicID(1)}, &ForgetIncarnation{Incarnation: 1}, &ReleaseHeld{Incarnation: 1},
}

func goldenImage(t testing.TB) *Image {
	t.Helper()
	b := NewBatch(NewImage(karst.ClusterID{1}))
	c := goldenCommit()
	if err := b.Try(c.Records...); err != nil {
		t.Fatal(err)
	}
	img, _ := b.Finish(c.Position, 0xdecade)
	return img
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the stored format changed", name)
	}
}

func TestCommitFormat(t *testing.T) {
	c := goldenCommit()
	c.Records = append(c.Records, otherRecords...)
	payload, check := EncodeCommit(c)
	h := object.Header{Kind: object.Commit, Version: commitVersion, Cluster: karst.ClusterID{1}, Writer: 3, Number: 7}
	_, body := objlog.Frame(h, payload)
	golden(t, "commit.golden", body.Parts[0])
	back, checkBack, err := DecodeCommit("c", payload)
	if err != nil || check != checkBack {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, back); diff != "" {
		t.Error(diff)
	}
}

func TestSnapshotFormat(t *testing.T) {
	img := goldenImage(t)
	_, body := objlog.Frame(snapshotHeader(img), EncodeSnapshot(img))
	golden(t, "snapshot.golden", body.Parts[0])
	back, err := DecodeSnapshot("s", img.cluster, body.Parts[0][object.HeaderSize:])
	if err != nil {
		t.Fatal(err)
	}
	if back.position != img.position || back.check != img.check {
		t.Errorf("at %s, %08x", back.position, back.check)
	}
	if err := back.CheckInvariants(); err != nil {
		t.Error(err)
	}
}

func TestRequestRoundTrip(t *testing.T) {
	for _, r := range goldenCommit().Records {
		if r, ok := r.(*CommitRequest); ok {
			back, err := DecodeRequest(EncodeRequest(r))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r, back); diff != "" {
				t.Error(diff)
			}
		}
	}
}

func TestChainBreaks(t *testing.T) {
	img := goldenImage(t)
	next := Position{Term: 3, Number: 8}
	if _, _, err := Apply(img, &Commit{Position: next, Predecessor: img.check + 1}, 1); err == nil {
		t.Error("a commit with another predecessor was applied")
	}
	if _, _, err := Apply(img, &Commit{Position: img.position, Predecessor: img.check}, 1); err == nil {
		t.Error("a commit was applied twice")
	}
}

// wantUnreadable wants the error of what is damaged, or of a newer program.
func wantUnreadable(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*karst.CorruptError](err); !ok && !errors.Is(err, karst.UnsupportedVersion.Err()) {
		t.Fatal(err)
	}
}

func FuzzCommit(f *testing.F) {
	c := goldenCommit()
	c.Records = append(c.Records, otherRecords...)
	b, _ := EncodeCommit(c)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, check, err := DecodeCommit("c", b)
		if err != nil {
			wantUnreadable(t, err)
			return
		}
		img := goldenImage(t)
		c.Predecessor = img.check
		next, _, err := Apply(img, c, check)
		if err != nil {
			return
		}
		if err := next.CheckInvariants(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	f.Add(EncodeSnapshot(goldenImage(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := DecodeSnapshot("s", karst.ClusterID{1}, b)
		if err != nil {
			wantUnreadable(t, err)
			return
		}
		_ = img.CheckInvariants() // may fail, must not panic
		for b := range img.Brokers() {
			for range img.PartitionsLedBy(b.Incarnation) {
				break
			}
		}
	})
}
