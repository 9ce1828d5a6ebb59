package flush

import (
	"context"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// TestLateHandOver: an attempt of a hand-over is on its way when another
// controller refuses it. Once HandOver says that the partition is still led here,
// and appends go on, the attempt must not happen any more (I9).
func TestLateHandOver(t *testing.T) {
	bubble(t, small, func(t *testing.T, w *world) {
		a := at(topicA, 0)
		w.add(nil, sized{a, 100})
		end := w.run()
		w.flush()
		var late func() error
		n := 0
		w.answer = func(_ metadata.CommitRequest, commit func() error) error {
			switch n++; n {
			case 1: // the answer is lost
				late = commit
				return context.DeadlineExceeded
			case 2: // a controller that does not know the new incarnation yet
				return karst.InvalidRequest.Errorf("new leader 2 is not live")
			}
			return commit()
		}
		if err := w.f.HandOver(t.Context(), map[karst.TopicPartition]karst.Incarnation{a: 2}); err == nil {
			t.Fatal("the hand-over was refused, and HandOver says that it is done")
		}
		w.add(nil, sized{a, 100})
		if err := late(); err == nil {
			t.Error("the attempt before was taken")
		}
		if p, _ := w.img.Partition(a); p.Leader != 1 {
			t.Errorf("%d leads, up to %d of %d", p.Leader, p.End, w.next[a])
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
