package model

// logged is one object of the metadata log: whose, where, what, and the image it
// follows (which stands for the checksum of its predecessor).
type logged struct {
	commit   uint16
	before   uint16
	writer   uint8
	term, at uint8
}

// sealed is the tombstone in state.log.
const sealed = 1

// controller takes every step of one process that may write the metadata log.
func (x *explorer) controller(c int) {
	x.failover(c)
	x.write(c)
	if x.Terms == 1 {
		return
	}
	x.creates(c)
	x.takeOver(c)
	x.claims(c)
}

// write tries what there is to commit, on the own image, and creates what fits.
func (x *explorer) write(c int) {
	k := &x.cur.controllers[c]
	if k.phase != writing || k.out[0] != 0 && (x.OneCreate || k.out[1] != 0) {
		return
	}
	who, img := uint8(c+1), x.images.of(k.image)
	for inc := range uint8(x.Incarnations) {
		for _, id := range x.cur.brokers[inc].offers {
			if id != 0 {
				x.takeOffer(c, x.commits.of(id))
			}
		}
		switch {
		case img.phase[inc] == unborn && (inc == 0 || img.phase[inc-1] != unborn):
			x.commit(c, commit{kind: register, inc: inc + 1}, actRegister, who, inc+1, 0)
		case img.phase[inc] == live && x.Fences>>inc&1 == 1 && x.FenceFirst:
			x.commit(c, commit{kind: fence, inc: inc + 1}, actFence, who, inc+1, 0)
		}
	}
	x.places(c)
	for p := range x.Partitions {
		if x.Merges {
			x.commit(c, commit{kind: merge, partition: uint8(p)}, actMerge, who, uint8(p), 0)
		}
	}
	if int(k.at) < x.Notes {
		x.commit(c, commit{kind: note}, actNote, who, 0, 0)
	}
}

func (x *explorer) takeOffer(c int, o *commit) {
	for p := range o.ranges {
		to := o.ranges[p].to
		if to == 0 {
			continue
		}
		act := actHandOver
		if x.cur.wal[to-1][0].records[p] != noRecord {
			act = actReturn // it led before
		}
		x.commit(c, *o, act, uint8(c+1), o.inc, to)
		return
	}
	x.commit(c, *o, actCommit, uint8(c+1), o.inc, o.trim)
}

// places gives partitions that nobody leads to live incarnations.
func (x *explorer) places(c int) {
	img := x.images.of(x.cur.controllers[c].image)
	for p := range x.Partitions {
		if int(img.epoch[p]) >= x.Epochs || img.phase[img.leader[p]-1] != adopted {
			continue
		}
		for inc := range uint8(x.Incarnations) {
			if img.phase[inc] == live {
				x.commit(c, commit{kind: place, inc: inc + 1, partition: uint8(p)}, actPlace, uint8(c+1), uint8(p), inc+1)
			}
		}
	}
}

// commit writes a commit if it fits the image. With one term its create is one
// step: what a create may do otherwise is the matter of the configurations with
// more.
func (x *explorer) commit(c int, what commit, act action, a, b, d uint8) {
	k := &x.cur.controllers[c]
	slot, before, at := 0, k.image, k.at+1
	if k.out[0] != 0 { // without OneCreate
		slot, before, at = 1, x.result(k.out[0]), k.at+2
	}
	if x.Terms == 1 {
		after, ok := x.apply(*x.images.of(before), &what)
		if id := x.images.id(after); ok && id != before {
			s := x.fork()
			s.controllers[c].image = id
			x.advance(s, id)
			x.took(act, a, b, d)
		}
		return
	}
	if int(at) > x.Commits {
		return
	}
	l := logged{x.commits.id(what), before, uint8(c + 1), k.term, at}
	if _, ok := x.after(&l); !ok {
		return
	}
	s := x.fork()
	s.controllers[c].out[slot] = x.logged.id(l)
	s.controllers[c].tries[slot] = attempts{open: 1, tries: 1}
	x.took(act, a, b, d)
}

// after is the image after an object of the log.
func (x *explorer) after(l *logged) (uint16, bool) {
	img, ok := x.apply(*x.images.of(l.before), x.commits.of(l.commit))
	if !ok {
		return 0, false
	}
	img.last = uint16(l.term)<<8 | uint16(l.at)<<4 | uint16(l.writer)
	return x.images.id(img), true
}

// result is the image after an object that was tried.
func (x *explorer) result(id uint16) uint16 {
	after, _ := x.after(x.logged.of(id))
	return after
}

// creates takes the steps of the creates that a controller has under way.
func (x *explorer) creates(c int) {
	k := &x.cur.controllers[c]
	if k.late != 0 {
		s := x.fork()
		s.controllers[c].late = 0
		l := x.logged.of(k.late)
		x.put(s, k.late)
		x.took(actMetaLate, uint8(c+1), l.term, l.at)
	}
	for slot, id := range k.out {
		if id != 0 {
			x.createOne(c, slot, id)
		}
	}
	if k.phase == writing && k.out[0] != 0 && k.out[1] == 0 {
		s := x.fork()
		s.controllers[c].phase = following
		x.drop(s, c, 0)
		x.took(actAbandon, uint8(c+1), 0, 0)
	}
}

func (x *explorer) createOne(c, slot int, id uint16) {
	k, l, who := &x.cur.controllers[c], x.logged.of(id), uint8(c+1)
	t := &k.tries[slot]
	if t.open > 0 {
		s := x.fork()
		n := &s.controllers[c].tries[slot]
		n.open--
		if x.put(s, id) {
			n.created = true
			x.took(actMetaLands, who, l.term, l.at)
		} else {
			n.refused = true
			x.took(actMetaRefused, who, l.term, l.at)
		}
	}
	if int(t.tries) < x.Attempts {
		s := x.fork()
		s.controllers[c].tries[slot].open++
		s.controllers[c].tries[slot].tries++
		x.took(actMetaRetry, who, 0, 0)
	}
	there := x.cur.log[l.term-1][l.at-1]
	switch {
	case t.created, t.refused && there == id:
		x.committed(c, slot, id)
	case t.refused:
		s := x.fork()
		s.controllers[c].phase = following
		x.drop(s, c, slot)
		x.took(actMetaOver, who, l.term, l.at)
	}
}

// committed: the controller knows that its commit is there. It says so to all
// who wait, and its image advances.
func (x *explorer) committed(c, slot int, id uint16) {
	l := x.logged.of(id)
	s := x.fork()
	k := &s.controllers[c]
	k.said, k.in = max(k.said, l.at), l.term
	if slot == 0 {
		k.image, k.at = x.result(id), l.at
		x.drop(s, c, 0)
	} else {
		k.tries[slot].created, k.tries[slot].refused = false, false
	}
	x.took(actMetaDone, uint8(c+1), l.term, l.at)
}

// drop forgets a create; an attempt that is still open may take effect later.
func (x *explorer) drop(s *state, c, slot int) {
	k := &s.controllers[c]
	if k.tries[slot].open > 0 {
		k.late = k.out[slot]
	}
	k.out[slot], k.tries[slot] = 0, attempts{}
	if slot == 0 {
		k.out[0], k.tries[0] = k.out[1], k.tries[1]
		k.out[1], k.tries[1] = 0, attempts{}
	}
}

// put: a create of an object of the log takes effect, if the name is free.
func (x *explorer) put(s *state, id uint16) bool {
	l := x.logged.of(id)
	at := &s.log[l.term-1][l.at-1]
	if *at != 0 {
		return false
	}
	*at = id
	x.extend(s, l.term)
	return true
}

// extend advances the truth over what is in the log now.
func (x *explorer) extend(s *state, term uint8) {
	t := term - 1
	for s.end[t] == 0 && term == s.term {
		n := s.length[t]
		if int(n) >= len(s.log[t]) || s.log[t][n] == 0 {
			return
		}
		if s.log[t][n] == sealed {
			s.end[t] = n + 1
			return
		}
		s.length[t]++
		x.advance(s, x.result(s.log[t][n]))
	}
}

// advance makes an image the true one, and checks that nothing went back.
func (x *explorer) advance(s *state, id uint16) {
	old, img := x.images.of(s.truth), x.images.of(id)
	for p := range x.Partitions {
		if img.end[p] < old.end[p] || img.start[p] < old.start[p] || img.epoch[p] < old.epoch[p] {
			x.failed("partition %d goes back: end %d to %d, start %d to %d, epoch %d to %d", p,
				old.end[p], img.end[p], old.start[p], img.start[p], old.epoch[p], img.epoch[p])
		}
	}
	for inc := range uint8(x.Incarnations) {
		for n := uint8(1); int(n) <= x.Numbers; n++ {
			if x.deletable(old, inc+1, n) && !x.deletable(img, inc+1, n) {
				x.failed("number %d of incarnation %d was deletable, and is not any more", n, inc+1)
			}
		}
	}
	s.truth = id
}
