package model

// takeOver takes the steps of Replica.TakeOver: seal the newest term known, read
// it to its end, claim the next. It may begin from any image, however old.
func (x *explorer) takeOver(c int) {
	k, who := &x.cur.controllers[c], uint8(c+1)
	switch k.phase {
	case following:
		x.followOne(&x.cur.controllers[c].image, &k.term, &k.at, who)
		if int(k.term) < x.Terms && k.claimTerm == 0 && k.out[0] == 0 && k.term > 0 {
			s := x.fork()
			s.controllers[c].phase = sealing
			if !x.SealBeforeClaim {
				s.controllers[c].phase = ended
			}
			x.took(actTermStart, who, k.term, 0)
		}
	case sealing:
		x.sealTerm(c)
	case ended:
		s := x.fork()
		n := &s.controllers[c]
		n.phase, n.claim, n.claimTerm, n.claimEnd = claiming, k.image, k.term+1, k.at+1
		x.took(actClaim, who, n.claimTerm, n.claimEnd)
	}
}

// sealTerm settles the next number of the term: data is applied, a free number
// becomes the tombstone.
func (x *explorer) sealTerm(c int) {
	k, who := &x.cur.controllers[c], uint8(c+1)
	at := k.at + 1
	s := x.fork()
	n := &s.controllers[c]
	switch id := x.cur.log[k.term-1][k.at]; id {
	case absent:
		s.log[k.term-1][k.at] = sealed
		n.phase = ended
		x.extend(s, k.term)
		x.took(actTermEnd, who, k.term, at)
	case sealed:
		n.phase = ended
		x.took(actTermFound, who, k.term, at)
	default:
		if x.logged.of(id).before != k.image {
			n.phase = following
			x.took(actTermLost, who, k.term, at)
			return
		}
		n.image, n.at = x.result(id), at
		x.took(actTermData, who, k.term, at)
	}
}

// claims takes the steps of a claim under way. Its create may take effect though
// its writer has given up.
func (x *explorer) claims(c int) {
	k, who := &x.cur.controllers[c], uint8(c+1)
	if k.claimTerm != 0 {
		s := x.fork()
		s.controllers[c].claimTerm, s.controllers[c].claimEnd, s.controllers[c].claim = 0, 0, 0
		s.claims[k.claimTerm-1] = claim{k.claim, who, k.claimEnd} // it is free: see tidyController
		x.claimed(s, k.claimTerm)
		x.took(actClaimLands, who, k.claimTerm, 0)
	}
	if k.phase != claiming {
		return
	}
	s := x.fork()
	n := &s.controllers[c]
	n.phase = following
	switch at := x.cur.claims[k.term]; {
	case at.owner == who:
		n.phase, n.term, n.at, n.said, n.in = writing, k.term+1, 0, 0, k.term+1
		x.took(actWriter, who, n.term, 0)
	case at.owner != 0:
		x.took(actTermLost, who, k.term, 0)
	case k.claimTerm != 0:
		x.took(actAbandon, who, 0, 0)
	}
}

// claimed: a claim was created, and the true log goes on in its term.
func (x *explorer) claimed(s *state, term uint8) {
	last := term - 2
	at := s.claims[term-1]
	if at.end != s.length[last]+1 || at.image != s.truth {
		x.failed("the claim of term %d says that term %d ended at %d; it has %d commits", term, last+1, at.end, s.length[last])
	}
	s.end[last], s.term = at.end, term
}

// follow takes the steps of the replica that only follows.
func (x *explorer) follow() {
	if x.Reader {
		r := &x.cur.reader
		x.followOne(&r.image, &r.term, &r.at, 0)
	}
}

// followOne is Replica.step: data is applied; a tombstone leads to the next term
// if its claim says that the last one ended here; absence is the tail only if the
// next claim is absent. The fields are those of the current state: they say whose
// replica it is, and who is 0 for the reader.
func (x *explorer) followOne(image *uint16, term, at *uint8, who uint8) {
	s := x.fork()
	to := &s.reader.image
	toTerm, toAt := &s.reader.term, &s.reader.at
	if who != 0 {
		n := &s.controllers[who-1]
		to, toTerm, toAt = &n.image, &n.term, &n.at
	}
	id := uint16(absent)
	if int(*at) < len(x.cur.log[0]) {
		id = x.cur.log[*term-1][*at]
	}
	next := claim{}
	if int(*term) < x.Terms {
		next = x.cur.claims[*term]
	}
	switch {
	case id > sealed:
		if x.logged.of(id).before != *image {
			x.failed("replica %d: commit %d/%d does not follow its image", who, *term, *at+1)
		}
		*to, *toAt = x.result(id), *at+1
		x.took(actRead, who, *term, *toAt)
	case next.owner == 0:
	case id == sealed && (!x.ClaimStatesEnd || next.end == *at+1 && next.image == *image):
		*toTerm, *toAt = *term+1, 0
		x.took(actEnter, who, *toTerm, 0)
	default:
		x.restart(to, toTerm, toAt, who)
	}
}

// restart begins again from the newest snapshot, which must be above.
func (x *explorer) restart(image *uint16, term, at *uint8, who uint8) {
	from := &x.cur.snapshot
	if from.term < *term || from.term == *term && from.at <= *at {
		x.failed("replica %d: commit %d/%d is gone, and no snapshot is above it", who, *term, *at+1)
	}
	*image, *term, *at = from.image, from.term, from.at
	x.took(actRestart, who, from.term, from.at)
}
