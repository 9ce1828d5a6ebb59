package reap

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
)

// pageSize is how many names are listed between two pauses.
const pageSize = 1000

// sweep lists everything and makes candidates of what is garbage. Only the
// sweeper does; it asks one image throughout, and each delete asks again.
func (r *Reaper) sweep(ctx context.Context) error {
	img := r.d.Image()
	if !r.sweeper(img) {
		return nil
	}
	s := &sweep{r: r, img: img, due: time.Now().Add(r.c.Grace), report: &Report{Kept: map[Reason]int64{}}}
	r.mu.Lock()
	r.missed = false
	r.mu.Unlock()
	var err error
	if s.logsBelow, s.snapshots, err = r.metadataFloor(ctx, img); err != nil {
		return err
	}
	if err := s.list(ctx, r.d.Data, ""); err != nil {
		return err
	}
	urls := map[string]bool{"": true}
	for b := range img.Brokers() {
		if urls[b.WALURL] {
			continue
		}
		urls[b.WALURL] = true
		in, ok := r.wal(b.WALURL)
		if !ok {
			continue
		}
		for _, prefix := range []string{"wal/", "probe/"} {
			if err := s.list(ctx, in, prefix); err != nil {
				return err
			}
		}
	}
	s.report.At = time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report = s.report
	r.stats.Sweeps++
	return nil
}

// sweep is one listing.
type sweep struct {
	r         *Reaper
	img       Image
	due       time.Time
	report    *Report
	logsBelow karst.Term          // log objects of lower terms may go
	snapshots []metadata.Position // that may go, ascending
}

func (s *sweep) list(ctx context.Context, in Bucket, prefix string) error {
	n := 0
	for info, err := range in.List(ctx, prefix, "") {
		if err != nil {
			return fmt.Errorf("reap: list %q: %w", prefix, err)
		}
		if !s.visit(in, info) {
			s.report.Truncated = true
			return nil
		}
		if n++; n%pageSize == 0 {
			if err := sleep(ctx, s.r.c.SweepPause); err != nil {
				return err
			}
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// visit decides about one object; false when no more candidates fit.
func (s *sweep) visit(in Bucket, info store.Info) bool {
	s.report.Found++
	s.report.FoundBytes += info.Size
	c := candidate{name: info.Name, in: in, size: info.Size, due: s.due, by: s.report}
	var why Reason
	c.id, c.data = parse(info.Name)
	switch {
	case c.data:
		why = s.data(c)
	case probed(info.Name):
		c.due = time.Now().Add(probeGrace)
	default:
		why = s.meta(info)
	}
	if why != "" {
		s.report.Kept[why]++
		return true
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if !s.r.add(c) {
		return false
	}
	s.report.Garbage++
	s.report.GarbageBytes += info.Size
	return true
}

// probeGrace is how long an object of a start-up probe stays after a sweep found
// it. A probe takes seconds and cleans up after itself, under a name drawn anew
// each time, so by then its process was killed. Should it have stood still
// instead, it refuses to start, once; nothing else is below probe/.
const probeGrace = time.Hour

// probed reports whether a name is one that package probe makes.
func probed(name string) bool {
	rest, ok := strings.CutPrefix(name, "probe/")
	id, check, _ := strings.Cut(rest, "/")
	raw, err := hex.DecodeString(id)
	return ok && err == nil && len(raw) == 8 && hex.EncodeToString(raw) == id && slices.Contains([]string{"second", "race", "overlap", "visible"}, check)
}

// data says why a data object stays, "" if it goes.
func (s *sweep) data(c candidate) Reason {
	switch {
	case c.id.Kind == metadata.WALObject && c.size <= object.HeaderSize:
		return Permanent // a tombstone has no payload, a segment has
	case s.img.Referenced(c.id):
		return Referenced
	case !s.img.Deletable(c.id):
		return Unsettled
	default:
		return ""
	}
}

// meta says why any other object stays, "" if it goes.
func (s *sweep) meta(info store.Info) Reason {
	rest, ok := strings.CutPrefix(info.Name, "meta/")
	switch {
	case !ok && info.Name == "cluster":
		return Permanent
	case !ok:
		return Foreign
	case strings.HasPrefix(rest, "term/"):
		return Permanent
	}
	if rest, ok := strings.CutPrefix(rest, "log/"); ok {
		term, number, ok := pair(rest, "/")
		switch {
		case !ok || number == 0:
			return Foreign
		case info.Size <= object.HeaderSize:
			return Permanent
		case karst.Term(term) >= s.logsBelow:
			return Needed
		default:
			return ""
		}
	}
	if rest, ok := strings.CutPrefix(rest, "snapshot/"); ok {
		at, ok := snapshotAt(rest)
		switch {
		case !ok:
			return Foreign
		case slices.Contains(s.snapshots, at):
			return ""
		default:
			return Needed
		}
	}
	return Foreign
}

// metadataFloor finds the two newest readable snapshots. Log objects of terms
// below both may go (logsBelow, 0 for none), and so may snapshots below both.
func (r *Reaper) metadataFloor(ctx context.Context, img Image) (logsBelow karst.Term, old []metadata.Position, err error) {
	if r.d.SnapshotReadable == nil {
		return 0, nil, nil
	}
	var all []metadata.Position
	for info, err := range r.d.Data.List(ctx, "meta/snapshot/", "") {
		if err != nil {
			return 0, nil, fmt.Errorf("reap: list snapshots: %w", err)
		}
		if at, ok := snapshotAt(strings.TrimPrefix(info.Name, "meta/snapshot/")); ok {
			all = append(all, at)
		}
	}
	slices.SortFunc(all, comparePositions)
	good := 0
	for i, a := range slices.Backward(all) {
		if comparePositions(a, img.Position()) > 0 {
			continue // newer than what we know: leave it, and do not count on it
		}
		if err := r.d.SnapshotReadable(ctx, a); err != nil {
			r.d.Log.Warn("reap: a snapshot cannot be read", "term", a.Term, "number", a.Number, "err", err)
			continue
		}
		if good++; good == 2 {
			return a.Term, all[:i], nil
		}
	}
	return 0, nil, nil
}

func comparePositions(a, b metadata.Position) int {
	if a.Term != b.Term {
		if a.Term < b.Term {
			return -1
		}
		return 1
	}
	switch {
	case a.Number < b.Number:
		return -1
	case a.Number > b.Number:
		return 1
	default:
		return 0
	}
}

// parse reads the name of a data object; only exact names count.
func parse(name string) (o metadata.ObjectID, ok bool) {
	if rest, is := strings.CutPrefix(name, "wal/"); is {
		writer, number, _ := pair(rest, "/")
		o = metadata.ObjectID{Kind: metadata.WALObject, Writer: karst.Incarnation(writer), Number: karst.Number(number)}
	} else if rest, is := strings.CutPrefix(name, "seg/"); is {
		_, rest, _ = strings.Cut(rest, "/")
		writer, number, _ := pair(rest, "-")
		o = metadata.ObjectID{Kind: metadata.SegObject, Writer: karst.Incarnation(writer), Number: karst.Number(number)}
	}
	return o, o.Kind != 0 && o.Writer != 0 && o.Number != 0 && o.Name() == name
}

func snapshotAt(s string) (metadata.Position, bool) {
	term, number, ok := pair(s, "-")
	return metadata.Position{Term: karst.Term(term), Number: karst.Number(number)}, ok && term > 0
}

// pair reads two decimal numbers, digits only.
func pair(s, sep string) (a, b uint64, ok bool) {
	left, right, found := strings.Cut(s, sep)
	if !found {
		return 0, 0, false
	}
	a, errA := strconv.ParseUint(left, 10, 64)
	b, errB := strconv.ParseUint(right, 10, 64)
	return a, b, errA == nil && errB == nil
}

// listFolders lists the WALs of incarnations that were adopted a grace period
// ago, for objects that nobody references.
func (r *Reaper) listFolders(ctx context.Context) {
	now := time.Now()
	r.mu.Lock()
	var due []folder
	r.folders = slices.DeleteFunc(r.folders, func(f folder) bool {
		if f.due.After(now) {
			return false
		}
		due = append(due, f)
		return true
	})
	r.mu.Unlock()
	for _, f := range due {
		if err := r.listFolder(ctx, f.inc, now); err != nil && ctx.Err() == nil {
			r.d.Log.Warn("reap: left to the next sweep", "incarnation", f.inc, "err", err)
			r.tally(func(s *Stats) { s.Failures++ })
		}
	}
}

func (r *Reaper) listFolder(ctx context.Context, inc karst.Incarnation, due time.Time) error {
	img := r.d.Image()
	b, ok := img.Broker(inc)
	if !ok {
		return nil
	}
	in, ok := r.wal(b.WALURL)
	if !ok {
		return nil
	}
	s := &sweep{r: r, img: img, due: due, report: &Report{Kept: map[Reason]int64{}}}
	return s.list(ctx, in, fmt.Sprintf("wal/%020d/", inc))
}
