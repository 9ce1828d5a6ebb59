package metadata

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store/mem"
)

// wantNewer wants the error of a program that is too old, which says so.
func wantNewer(t *testing.T, err error) {
	t.Helper()
	if _, damage := errors.AsType[*karst.CorruptError](err); damage || !errors.Is(err, karst.UnsupportedVersion.Err()) {
		t.Fatalf("%v", err)
	}
	if !strings.Contains(err.Error(), "run a newer Karst") {
		t.Errorf("it does not say what to do: %v", err)
	}
}

// TestUnknownRecord: what a newer program writes is no damage.
func TestUnknownRecord(t *testing.T) {
	payload, _ := EncodeCommit(goldenCommit())
	record := protowire.AppendVarint(protowire.AppendTag(nil, 4095, protowire.VarintType), 1)
	payload = protowire.AppendBytes(protowire.AppendTag(payload, 5, protowire.BytesType), record)
	_, _, err := DecodeCommit("c", payload)
	wantNewer(t, err)
}

// TestLevelAbove: a program that reads less than the level does not go on, whether
// it was at work, begins from the commits, or from a snapshot.
func TestLevelAbove(t *testing.T) {
	st := mem.New("level")
	working, writer := newReplica(t, st), newReplica(t, st)
	must(t, working.Load(t.Context()))
	term := takeOver(t, writer)
	b := NewBatch(writer.Image())
	must(t, b.Try(&RegisterBroker{Incarnation: 1, Registration: Registration{ID: 7, Supports: LevelMax}}))
	must(t, term.Commit(t.Context(), b))
	must(t, working.CatchUp(t.Context()))
	at := working.Image().Position()
	b = NewBatch(writer.Image())
	must(t, b.Try(&FenceIncarnation{Incarnation: 1}, &SetFeature{Name: LevelFeature, Level: LevelMax + 1}))
	must(t, term.Commit(t.Context(), b))

	for range 2 { // it stays so
		wantNewer(t, working.CatchUp(t.Context()))
	}
	entries, _ := writer.Since(at, 1<<20)
	wantNewer(t, working.Push(t.Context(), entries))
	if working.Image().Position() != at {
		t.Error("it went on")
	}
	wantNewer(t, newReplica(t, st).Load(t.Context()))
	_, err := WriteSnapshot(t.Context(), st, writer.Image())
	must(t, err)
	wantNewer(t, newReplica(t, st).Load(t.Context()))
}

// TestLevelFormats: below level 2 nothing of it is stored, and its commit is as
// documented.
func TestLevelFormats(t *testing.T) {
	c := &Commit{Position: Position{Term: 1, Number: 2}, Records: []Record{&DrainBroker{ID: 7, Drained: true, Since: 1234}}}
	payload, _ := EncodeCommit(c)
	golden(t, "commit-level2.golden", payload)
	back, _, err := DecodeCommit("c", payload)
	must(t, err)
	if diff := cmp.Diff(c, back); diff != "" {
		t.Error(diff)
	}
	for level := int32(1); level <= 2; level++ {
		b := NewBatch(NewImage(karst.ClusterID{1}))
		must(t, b.Try(&SetFeature{Name: LevelFeature, Level: level}, &DrainBroker{ID: 7, Drained: true}))
		if level == 2 {
			must(t, b.Try(c.Records...))
		}
		img, _ := b.Finish(c.Position, 1)
		snapshot := EncodeSnapshot(img)
		back, err := DecodeSnapshot("s", karst.ClusterID{1}, snapshot)
		if level > LevelMax {
			wantNewer(t, err)
			continue
		}
		must(t, err)
		if !back.Drained(7) || back.DrainedSince(7) != img.DrainedSince(7) || string(EncodeSnapshot(back)) != string(snapshot) {
			t.Errorf("level %d: drained since %d, not %d", level, back.DrainedSince(7), img.DrainedSince(7))
		}
	}
}
