package metadata

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/proptest"
)

// TestRandomRecords applies random records, and checks after each commit: the
// invariants hold; what was refused left no trace; the image before did not
// change; the commit read back gives the same image; so does its snapshot; what
// was deletable stays so (I15).
func TestRandomRecords(t *testing.T) {
	refused, applied := 0, 0
	proptest.Run(t, 100, func(t *testing.T, r *rand.Rand) {
		w := &world{rng: r, img: NewImage(karst.ClusterID{1})}
		deletable := map[ObjectID]bool{}
		for step := range w.draw(1, 25) {
			before := EncodeSnapshot(w.img)
			batch := NewBatch(w.img)
			outer := w.img
			for range w.draw(1, 4) {
				w.img = batch.Image()
				r := w.record()
				was := EncodeSnapshot(batch.Image())
				if err := batch.Try(r); err == nil {
					applied++
				} else if refused++; !bytes.Equal(was, EncodeSnapshot(batch.Image())) {
					t.Fatalf("refused %+v left a trace: %v", r, err)
				}
			}
			c := &Commit{Position: Position{Term: 1, Number: karst.Number(step + 1)}, Predecessor: outer.check, Nonce: [16]byte{byte(step)}, Records: batch.Records}
			payload, check := EncodeCommit(c)
			img, d := batch.Finish(c.Position, check)
			if !bytes.Equal(before, EncodeSnapshot(outer)) {
				t.Fatal("an image changed")
			}
			if err := img.CheckInvariants(); err != nil {
				t.Fatal(err)
			}
			checkReplay(t, outer, img, d, payload)
			for o := range deletable {
				if !img.Deletable(o) {
					t.Fatalf("%s was deletable and is not any more (I15)", o.Name())
				}
			}
			for inc := range int(img.nextIncarnation) + 1 {
				for n := 1; n < w.next+3; n++ {
					for _, o := range []ObjectID{seg(inc, n), walObject(inc, n)} {
						if img.Deletable(o) {
							deletable[o] = true
						}
					}
				}
			}
			w.img = img
		}
	})
	if refused < 100 || applied < 100 {
		t.Errorf("the records are one-sided: %d applied, %d refused", applied, refused)
	}
}

func checkReplay(t *testing.T, outer, img *Image, d *Delta, payload []byte) {
	c, check, err := DecodeCommit("commit", payload)
	if err != nil {
		t.Fatal(err)
	}
	again, d2, err := Apply(outer, c, check)
	if err != nil {
		t.Fatal(err)
	}
	snapshot := EncodeSnapshot(img)
	if !bytes.Equal(snapshot, EncodeSnapshot(again)) {
		t.Fatal("the commit read back gives another image (I10)")
	}
	if diff := cmp.Diff(d, d2); diff != "" {
		t.Fatal("the commit read back gives another delta", diff)
	}
	loaded, err := DecodeSnapshot("snapshot", img.cluster, snapshot)
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.CheckInvariants(); err != nil {
		t.Fatalf("loaded: %v", err)
	}
	if !bytes.Equal(snapshot, EncodeSnapshot(loaded)) || loaded.refs.Len() != img.refs.Len() {
		t.Fatal("the snapshot read back is another image")
	}
	for o := range img.Objects() {
		a, _ := img.refs.Get(reference{object: o})
		if b, _ := loaded.refs.Get(reference{object: o}); a != b {
			t.Fatalf("%s: %d references, loaded %d", o.Name(), a.count, b.count)
		}
	}
}
