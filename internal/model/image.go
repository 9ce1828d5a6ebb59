package model

// Phases of an incarnation.
const (
	unborn = iota
	live
	fenced
	adopted
)

// image is what the commits of the metadata log amount to: metadata.Image
// without what no rule depends on.
type image struct {
	leader, epoch, end, start [partitionsMax]uint8
	sources                   [partitionsMax][offsetsMax]source
	phase, trim, settled      [incarnationsMax]uint8
	last                      uint16 // the last commit: term, number, writer. Stands for the checksum
}

// Kinds of commits.
const (
	note     = iota // anything else: a topic, say
	register        // a new incarnation
	fence
	request // flush and hand-over
	adopt
	place
	merge // a WAL segment's bytes of a partition are copied
)

// commit is one commit of the metadata log.
type commit struct {
	kind, inc        uint8
	partition        uint8 // of place and merge
	trim             uint8
	request, settled uint8
	ranges           [partitionsMax]span
}

// span is what a commit says of one partition.
type span struct {
	set        bool
	epoch      uint8
	start, end uint8
	low        uint8 // log start
	to         uint8 // new leader, 0: as it is
	sources    [offsetsMax]source
}

// apply is the image after a commit, or false if the commit is refused:
// CommitRequest.apply and its siblings in package metadata.
func (r *Rules) apply(i image, c *commit) (image, bool) {
	switch c.kind {
	case register:
		i.phase[c.inc-1] = live
		return i, true
	case fence:
		ok := i.phase[c.inc-1] == live
		i.phase[c.inc-1] = fenced
		return i, ok
	case place:
		return placed(i, int(c.partition), c.inc)
	case merge:
		return merged(i, int(c.partition))
	case request, adopt:
		if !r.admits(&i, c) {
			return i, false
		}
	case note:
		return i, true
	}
	for p := range c.ranges {
		s := &c.ranges[p]
		if !s.set || i.leader[p] != c.inc {
			continue // dropped, its hand-over with it
		}
		if s.epoch != i.epoch[p] || s.to != 0 && i.phase[s.to-1] != live {
			return i, false
		}
		if r.EndIsChecked && s.start != i.end[p] {
			if r.RefusalIsWhole {
				return i, false
			}
			continue
		}
		if !r.nameable(&i, c, s) {
			return i, false
		}
		i.take(p, s)
	}
	if c.kind == adopt {
		i.phase[c.inc-1] = adopted
	}
	if c.inc != 0 {
		i.trim[c.inc-1] = max(i.trim[c.inc-1], c.trim)
		i.settled[c.inc-1] = max(i.settled[c.inc-1], c.settled)
	}
	return i, true
}

// admits is CommitRequest.admit.
func (r *Rules) admits(i *image, c *commit) bool {
	phase := i.phase[c.inc-1]
	if c.kind == adopt {
		return phase == fenced || phase == live && !r.FenceFirst
	}
	return phase == live && (c.request == 0 || c.request > i.settled[c.inc-1])
}

// nameable is CommitRequest.nameable: nothing is named that may be deleted.
func (r *Rules) nameable(i *image, c *commit, s *span) bool {
	for _, src := range s.sources {
		if src != 0 && src&copied == 0 && src.number() <= i.trim[c.inc-1] {
			return false
		}
	}
	return true
}

// take applies a range that holds.
func (i *image) take(p int, s *span) {
	for o := range s.sources {
		if s.sources[o] != 0 {
			i.sources[p][o] = s.sources[o]
		}
	}
	i.end[p] = s.end
	i.start[p] = max(i.start[p], s.low)
	for o := range i.start[p] {
		i.sources[p][o] = 0
	}
	if s.to != 0 {
		i.leader[p] = s.to
		i.epoch[p]++
	}
}

// placed is the image after a partition that nobody leads is given to a live
// incarnation: PlaceLeaders.
func placed(i image, p int, to uint8) (image, bool) {
	leader := i.leader[p]
	if i.phase[to-1] != live || leader != 0 && i.phase[leader-1] != adopted {
		return i, false
	}
	i.leader[p] = to
	i.epoch[p]++
	return i, true
}

// merged is the image after a partition's bytes in WAL segments were copied.
func merged(i image, p int) (image, bool) {
	some := false
	for o, s := range i.sources[p] {
		if s != 0 && s&copied == 0 {
			i.sources[p][o] |= copied
			some = true
		}
	}
	return i, some
}

func (i *image) references(src source) bool {
	for p := range i.sources {
		for _, s := range i.sources[p] {
			if s == src {
				return true
			}
		}
	}
	return false
}

// deletable is Image.Deletable, of a WAL object that is data.
func (r *Rules) deletable(i *image, inc, n uint8) bool {
	if r.ReferencedStays && i.references(newSource(inc, n)) {
		return false
	}
	switch phase := i.phase[inc-1]; {
	case n <= i.trim[inc-1]:
		return true
	case phase == adopted:
		return true
	case phase == fenced:
		return !r.AdoptedBeforeCollected
	default:
		return !r.TrimmedBeforeCollected && i.unused(inc, n)
	}
}

// unused is the reason that a collector might think of, wrongly: some range was
// taken from the incarnation, and the object is not in the image.
func (i *image) unused(inc, n uint8) bool {
	for p := range i.sources {
		for _, s := range i.sources[p] {
			if s.original() == newSource(inc, n) && s&copied != 0 {
				return true
			}
		}
	}
	return false
}
