package model

// begin makes the first state: incarnation 1 leads every partition at epoch 1,
// controller 1 holds term 1.
func (x *explorer) begin() {
	s := &x.next
	*s = state{}
	img := image{}
	for inc := range x.Live {
		img.phase[inc] = live
	}
	for p := range x.Partitions {
		img.leader[p], img.epoch[p] = 1, 1
	}
	s.truth, s.term = x.images.id(img), 1
	for inc := range x.Live {
		s.brokers[inc].image = s.truth
	}
	for c := range x.Controllers {
		s.controllers[c].image, s.controllers[c].term = s.truth, 1
	}
	s.controllers[0].phase = writing
	s.claims[0] = claim{s.truth, 1, 0}
	s.reader = replica{s.truth, 1, 0}
	s.snapshot = s.reader
}

// tidy gives states that cannot come to differ in what anybody does the same
// form.
func (x *explorer) tidy(s *state) {
	img := x.images.of(s.truth)
	for k := range x.Incarnations {
		x.tidyBroker(s, img, k)
		for n := range s.wal[k] {
			w := &s.wal[k][n]
			if s.brokers[k].over || w.confirmed {
				w.tries, w.created, w.refused = 0, false, false
			}
		}
	}
	for c := range x.Controllers {
		x.tidyController(s, c)
	}
}

func (x *explorer) tidyBroker(s *state, img *image, k int) {
	b := &s.brokers[k]
	idle := x.Appends>>k&1 == 0 && !x.Moves // its replica decides nothing
	switch {
	case b.over:
		b.image, b.moves, b.moveReq, b.request = 0, [partitionsMax]uint8{}, 0, 0
		b.asked, b.fresh, b.vacant = nobodyAsked, 0, 0
	case img.phase[k] != unborn && (b.image == 0 || idle || x.Prompt):
		b.image = s.truth // it begins with the image that has it
		for p, leader := range img.leader {
			if leader != uint8(k+1) {
				b.moves[p] = still
			}
		}
	}
	if x.Terms == 1 && img.phase[k] != live {
		b.offers = [2]uint16{} // no image is older than the fence: they are refused
	}
	if b.offers[1] != 0 && b.offers[0] > b.offers[1] {
		b.offers[0], b.offers[1] = b.offers[1], b.offers[0]
	}
}

func (x *explorer) tidyController(s *state, c int) {
	k := &s.controllers[c]
	if k.job.inc != 0 && x.images.of(k.image).phase[k.job.inc-1] == adopted {
		k.job = failover{}
	}
	if x.Terms == 1 {
		return
	}
	if k.in > 0 && s.end[k.in-1] > k.said {
		k.said, k.in = 0, 0 // as it should be, for ever
	}
	if k.claimTerm > 0 && s.claims[k.claimTerm-1].owner != 0 {
		k.claimTerm, k.claimEnd, k.claim = 0, 0, 0 // it will be refused
	}
	if k.late > 0 {
		if l := x.logged.of(k.late); s.log[l.term-1][l.at-1] == sealed {
			k.late = 0 // likewise
		}
	}
}

// check finds out whether a state keeps the properties that do not belong to one
// step.
func (x *explorer) check(s *state) {
	img := x.images.of(s.truth)
	for p := range x.Partitions {
		x.checkPartition(s, img, p)
	}
	if x.Terms > 1 {
		x.checkReplicas(s)
	}
}

// checkPartition: what was acknowledged is in the image, or in what a sealer
// would read now; and what the image references is there.
func (x *explorer) checkPartition(s *state, img *image, p int) {
	sources, start, end := img.sources[p], img.start[p], img.end[p]
	for o := start; o < end; o++ {
		src := sources[o]
		switch {
		case src == 0:
			x.failed("offset %d of partition %d is in the image, and its bytes are nowhere", o, p)
		case src&copied == 0 && s.wal[src.inc()-1][src.number()-1].holds != data:
			x.failed("number %d of incarnation %d is referenced, and gone", src.number(), src.inc())
		}
	}
	if leader := img.leader[p]; img.phase[leader-1] != adopted {
		seen := uint8(0)
		for n := img.trim[leader-1]; int(n) < x.Numbers && s.wal[leader-1][n].holds == data; n++ {
			seen |= 1 << n
		}
		c, _ := x.adoption(s, img, leader, seen, 0)
		r := &c.ranges[p]
		for o := end; o < r.end; o++ {
			sources[o] = r.sources[o]
		}
		start, end = max(start, r.low), r.end
	}
	if start < s.deleted[p] {
		x.failed("partition %d starts at %d, and %d was acknowledged", p, start, s.deleted[p])
	}
	for o, told := range s.told[p] {
		switch {
		case told == 0 || uint8(o) < start:
		case uint8(o) >= end:
			x.failed("offset %d of partition %d was acknowledged, and is lost", o, p)
		case sources[o].original() != told:
			x.failed("offset %d of partition %d was acknowledged, and is another record", o, p)
		}
	}
}

// checkReplicas: replicas at one position hold one image; what was called
// committed is below the end of its term.
func (x *explorer) checkReplicas(s *state) {
	all := [controllersMax + 2]replica{{s.truth, s.term, s.length[s.term-1]}, s.reader}
	for c := range x.Controllers {
		k := &s.controllers[c]
		all[c+2] = replica{k.image, k.term, k.at}
	}
	for a := range x.Controllers + 2 {
		for b := range a {
			if one, two := &all[a], &all[b]; one.term == two.term && one.at == two.at && one.image != two.image {
				x.failed("two replicas at %d/%d hold different images", one.term, one.at)
			}
		}
	}
	for c := range x.Controllers {
		k := &s.controllers[c]
		if end := s.end[max(k.in, 1)-1]; k.in > 0 && end > 0 && k.said >= end {
			x.failed("controller %d called %d/%d committed, and term %d ended at %d", c+1, k.in, k.said, k.in, end)
		}
	}
}
