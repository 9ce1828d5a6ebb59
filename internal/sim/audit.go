package sim

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store/object"
)

// audit compares the bucket with the image: what is referenced is there and
// whole, what is deletable is not.
func (w *World) audit(img *metadata.Image) {
	ctx := context.Background()
	for o := range img.Objects() {
		if _, err := w.Bucket.Head(ctx, o.Name()); err != nil {
			w.reportf(ObjectLost, "%v", err)
			continue
		}
		if _, err := segment.Verify(ctx, w.Bucket, o.Name()); err != nil {
			w.reportf(ObjectBad, "%v", err)
		}
	}
	for s := range img.Partitions() {
		w.auditPartition(s)
	}
	counts := map[string]int{}
	for info, err := range w.Bucket.List(ctx, "", "") {
		if err != nil {
			panic("BUG: " + err.Error())
		}
		o, ok := objectOf(info.Name)
		folder, _, _ := strings.Cut(info.Name, "/")
		counts[folder]++
		if ok && img.Deletable(o) && !w.tombstone(info.Name) {
			w.reportf(Garbage, "%s is deletable, and there", info.Name)
		}
		if folder != "cluster" && folder != "meta" && folder != "wal" && folder != "seg" && folder != "probe" {
			w.reportf(Garbage, "%s belongs to nothing", info.Name)
		}
	}
	w.note("bucket: %v", counts)
}

// tombstone reports whether an object ends a log: those are never deleted.
func (w *World) tombstone(name string) bool {
	b := make([]byte, object.HeaderSize)
	n, err := w.Bucket.Get(context.Background(), name, 0, b)
	if err != nil {
		return false
	}
	h, err := object.Decode(name, b[:n])
	return err == nil && h.Kind == object.Tombstone
}

// auditPartition wants sources that follow each other up to the end.
func (w *World) auditPartition(s *metadata.PartitionState) {
	next := s.LogStart
	for i, src := range s.Sources {
		if i > 0 && src.Base != next || i == 0 && src.Base > s.LogStart {
			w.reportf(ObjectLost, "%s: source %d begins at %d, expected %d", s.ID, i, src.Base, next)
		}
		next = src.Last + 1
	}
	if next != s.End {
		w.reportf(ObjectLost, "%s: sources end at %d, the partition at %d", s.ID, next, s.End)
	}
}

// objectOf is the data object of a name.
func objectOf(name string) (metadata.ObjectID, bool) {
	parts := strings.Split(name, "/")
	var o metadata.ObjectID
	switch {
	case len(parts) == 3 && parts[0] == "wal":
		writer, err1 := strconv.ParseUint(parts[1], 10, 64)
		number, err2 := strconv.ParseUint(parts[2], 10, 64)
		o = metadata.ObjectID{Kind: metadata.WALObject, Writer: karst.Incarnation(writer), Number: karst.Number(number)}
		return o, err1 == nil && err2 == nil
	case len(parts) == 3 && parts[0] == "seg":
		_, err := fmt.Sscanf(parts[2], "%d-%d", &o.Writer, &o.Number)
		o.Kind = metadata.SegObject
		return o, err == nil
	}
	return o, false
}
