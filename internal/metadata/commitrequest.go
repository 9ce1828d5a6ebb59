package metadata

import (
	"slices"

	"github.com/karst-io/karst"
)

// appliedMax bounds the requests above Settled.Request that an incarnation may
// have; it must settle some before it goes on.
const appliedMax = 4096

// apply is the one apply function of flush, hand-over and adoption, with the
// one set of preconditions (I8, I9).
func (r *CommitRequest) apply(img *Image, d *changes) error {
	b, ok := img.Broker(r.Incarnation)
	if !ok {
		return karst.NotLeader.Errorf("incarnation %d is not known", r.Incarnation)
	}
	if err := r.admit(b); err != nil {
		return err
	}
	ranges, err := r.holding(img, d)
	if err != nil {
		return err
	}
	for _, h := range ranges {
		img.setPartition(d, h.old, h.next(img, d))
	}
	return r.applyBroker(img, d, b)
}

// admit decides whether the incarnation may commit this at all.
func (r *CommitRequest) admit(b *BrokerState) error {
	if r.Adopt {
		if b.Phase != Fenced && (b.Phase != Live || !r.trusted()) {
			return refuse("incarnation %d is not fenced, so it cannot be adopted (I12)", r.Incarnation)
		}
		return nil
	}
	if r.part(b) {
		if r.WALTrim != 0 || r.Settled != (Settled{}) || r.WALEnd != 0 || len(r.Held) > 0 || len(r.Stopped) > 0 {
			return refuse("a part of an adoption has ranges only")
		}
		return nil
	}
	switch {
	case b.Phase != Live:
		return karst.NotLeader.Errorf("incarnation %d is fenced", r.Incarnation)
	case r.WALEnd != 0 || len(r.Held) > 0 || len(r.Stopped) > 0:
		return refuse("only an adoption ends a WAL, holds objects or stops partitions")
	case r.Request == 0:
		return refuse("a request number is missing")
	case r.Request <= b.Settled.Request:
		return refuse("request %d of incarnation %d is settled (I9)", r.Request, r.Incarnation)
	case b.applied(r.Request):
		return ErrDuplicate
	case len(b.Applied) >= appliedMax:
		return refuse("incarnation %d has %d requests that it has not settled", r.Incarnation, len(b.Applied))
	default:
		return nil
	}
}

// trusted reports whether an adoption is taken as it is: never, unless the fence
// is taken away.
func (r *CommitRequest) trusted() bool { return r.Adopt && !adoptFenced }

// part reports whether r is some of the ranges of an adoption that is too large
// for one commit (O26). Each is that of any adoption; the incarnation stays
// fenced, and its WAL with it, until the commit that has Adopt.
func (r *CommitRequest) part(b *BrokerState) bool {
	return b.Phase == Fenced && !r.Adopt && r.Request == 0
}

// heldRange is a range that holds, with the partition it applies to.
type heldRange struct {
	*Range
	old    *PartitionState
	leader *BrokerState // the new one, nil without a hand-over
}

// holding checks the ranges against the image: those that hold. One whose
// partition is gone or led by another is dropped, its hand-over with it; any
// other failure refuses the whole commit.
func (r *CommitRequest) holding(img *Image, d *changes) ([]heldRange, error) {
	b, _ := img.Broker(r.Incarnation)
	held := make([]heldRange, 0, len(r.Ranges))
	seen := make(map[karst.TopicPartition]struct{}, len(r.Ranges))
	for n := range r.Ranges {
		h := heldRange{Range: &r.Ranges[n]}
		if _, twice := seen[h.Partition]; twice {
			return nil, refuse("%s is in the commit twice", h.Partition)
		}
		seen[h.Partition] = struct{}{}
		p, ok := img.Partition(h.Partition)
		if !ok || p.Leader != r.Incarnation {
			d.dropped = append(d.dropped, h.Partition)
			h.release(d)
			continue
		}
		h.old = p
		if err := h.check(img, r.trusted()); err != nil {
			if refuseWhole {
				return nil, err
			}
			continue
		}
		if err := h.checkObjects(r, b); err != nil {
			return nil, err
		}
		if h.NewLeader != 0 {
			h.leader, _ = img.Broker(h.NewLeader)
		}
		held = append(held, h)
	}
	return held, nil
}

// release notes the objects of a dropped range: nothing may refer to them.
func (h *heldRange) release(d *changes) {
	for n := range h.Sources {
		d.released[h.Sources[n].Object] = struct{}{}
	}
	if h.State != nil {
		d.released[h.State.Object] = struct{}{}
	}
}

func (h *heldRange) check(img *Image, trusted bool) error {
	p := h.old
	logStart := max(p.LogStart, h.LogStart)
	switch {
	case h.Epoch != p.Epoch:
		return refuse("%s is at epoch %d, not %d (I8)", p.ID, p.Epoch, h.Epoch)
	case h.Start != p.End && !trusted:
		return refuse("%s ends at %d, not %d (I8)", p.ID, p.End, h.Start)
	case h.End < h.Start:
		return refuse("%s: range [%d, %d) is backwards", p.ID, h.Start, h.End)
	case logStart > h.End && !trusted:
		return refuse("%s: log start %d is above the end %d", p.ID, logStart, h.End)
	case h.NewLeader != 0 && !img.live(h.NewLeader):
		return refuse("%s: new leader %d is not live (I8)", p.ID, h.NewLeader)
	}
	// The bytes below the log start may be missing; the rest must be there.
	next := h.Start
	for n := range h.Sources {
		s := &h.Sources[n]
		gap := s.Base > next && (n > 0 || s.Base > logStart)
		if s.Base < next || gap || s.Last < s.Base {
			return refuse("%s: source [%d, %d] does not continue at %d", p.ID, s.Base, s.Last, next)
		}
		next = s.Last + 1
	}
	if next != h.End && (len(h.Sources) > 0 || logStart < h.End) {
		return refuse("%s: sources end at %d, the range at %d", p.ID, next, h.End)
	}
	if s := h.State; s != nil {
		last := len(p.States) - 1
		if s.Next > h.End || last >= 0 && s.Next < p.States[last].Next {
			return refuse("%s: checkpoint covers up to %d", p.ID, s.Next)
		}
	}
	return nil
}

// checkObjects makes sure that nothing is named that may have been deleted: the
// other half of Deletable.
func (h *heldRange) checkObjects(r *CommitRequest, b *BrokerState) error {
	for n := range h.Sources {
		if err := r.nameable(b, h.Sources[n].Object); err != nil {
			return err
		}
	}
	if h.State != nil {
		return r.nameable(b, h.State.Object)
	}
	return nil
}

func (r *CommitRequest) nameable(b *BrokerState, o ObjectID) error {
	switch {
	case o.Writer != r.Incarnation:
		return refuse("%s is not an object of incarnation %d", o.Name(), r.Incarnation)
	case r.trusted():
		return nil
	case o.Kind == SegObject && o.Number > b.Settled.Counter:
		return nil
	case o.Kind == WALObject && o.Number > b.Trim && (r.WALEnd == 0 || o.Number < r.WALEnd):
		return nil
	default:
		return refuse("%s may be deleted by now, or never was (I9, I15)", o.Name())
	}
}

// next is the partition after the range. A source below the log start goes once
// a checkpoint covers it; until then the producers' state is rebuilt from it. An
// adoption brings no checkpoint, a flush does if it can read what it needs.
func (h *heldRange) next(img *Image, d *changes) *PartitionState {
	p := *h.old
	if len(h.Sources) > 0 {
		p.Sources = slices.Concat(p.Sources, h.Sources)
		for n := range h.Sources {
			img.ref(h.Sources[n].Object)
		}
	}
	p.End = h.End
	if s := h.State; s != nil {
		p.addState(img, d, *s)
	}
	p.raise(h.LogStart)
	p.drop(img, d, min(p.checkpointed(), p.LogStart))
	if h.leader != nil {
		p.lead(h.NewLeader, h.leader.ID)
	}
	return &p
}

// addState appends a delta; a full checkpoint replaces all before it.
func (p *PartitionState) addState(img *Image, d *changes, s StateRef) {
	img.ref(s.Object)
	if !s.Full {
		p.States = append(slices.Clip(p.States), s)
		return
	}
	for n := range p.States {
		img.unref(d, p.States[n].Object)
	}
	p.States = []StateRef{s}
}

// applyBroker applies what the commit says of the incarnation itself.
func (r *CommitRequest) applyBroker(img *Image, d *changes, b *BrokerState) error {
	if r.part(b) {
		return nil
	}
	next := *b
	next.Trim = max(b.Trim, r.WALTrim)
	if r.Adopt {
		if err := r.adopt(img, d, &next); err != nil {
			return err
		}
		img.setBroker(d, &next)
		return nil
	}
	next.Settled = Settled{
		Counter: max(b.Settled.Counter, r.Settled.Counter),
		Request: max(b.Settled.Request, r.Settled.Request),
	}
	at, _ := slices.BinarySearch(b.Applied, r.Request)
	applied := slices.Insert(slices.Clone(b.Applied), at, r.Request)
	settled, _ := slices.BinarySearch(applied, next.Settled.Request+1)
	next.Applied = slices.Clip(applied[settled:])
	img.setBroker(d, &next)
	d.requests = append(d.requests, AppliedRequest{Incarnation: r.Incarnation, Request: r.Request})
	return nil
}

func (r *CommitRequest) adopt(img *Image, d *changes, b *BrokerState) error {
	b.Phase, b.WALEnd, b.Applied = Adopted, r.WALEnd, nil
	old, _ := img.Broker(r.Incarnation)
	for _, o := range r.Held {
		if o.Kind != WALObject {
			return refuse("%s cannot be held", o.Name())
		}
		if err := r.nameable(old, o); err != nil {
			return err
		}
		img.ref(o)
	}
	b.Held = slices.Clone(r.Held)
	if len(r.Stopped) > 0 && len(r.Held) == 0 {
		return refuse("partitions are stopped for no held object")
	}
	for _, tp := range r.Stopped {
		p, ok := img.Partition(tp)
		if !ok {
			continue // deleted meanwhile
		}
		if p.Leader != r.Incarnation {
			return refuse("%s is stopped but led by %d", tp, p.Leader)
		}
		next := *p
		next.Stopped = r.Incarnation
		img.setPartition(d, p, &next)
	}
	return nil
}
