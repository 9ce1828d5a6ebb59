package model

// broker takes every step of one incarnation, and of the requests it has under
// way: those take effect though it is over.
func (x *explorer) broker(k int) {
	inc := uint8(k + 1)
	b := &x.cur.brokers[k]
	if !b.over && b.image != 0 {
		x.catchUp(k)
		x.appends(k)
		x.offer(k)
		x.prove(k)
	}
	for n := range b.started {
		x.create(k, inc, n+1)
	}
}

// catchUp: the replica of a broker goes to the tail at once. Going there commit
// by commit gives nothing new: each image on the way is one that it could have
// had earlier, and reading has no effect on others. (The reader and the
// controllers read commit by commit, where it matters what is there to read.)
func (x *explorer) catchUp(k int) {
	b := &x.cur.brokers[k]
	if b.image == x.cur.truth {
		return
	}
	n := x.fork()
	n.brokers[k].image = n.truth
	img := x.images.of(n.truth)
	for p := range x.Partitions {
		if img.leader[p] != uint8(k+1) {
			n.brokers[k].moves[p] = still
		}
	}
	x.took(actReplica, uint8(k+1), 0, 0)
}

// leads reports whether the incarnation, to its own knowledge, may append.
func (x *explorer) leads(k, p int) bool {
	b := &x.cur.brokers[k]
	return x.images.of(b.image).leader[p] == uint8(k+1) && b.moves[p] == still
}

// appends starts the next number, with what it is to hold.
func (x *explorer) appends(k int) {
	b := &x.cur.brokers[k]
	if x.Appends>>k&1 == 0 || int(b.started) >= x.Numbers || int(b.started-b.acked) >= x.Overlap {
		return
	}
	all := uint8(0)
	for p := range x.Partitions {
		if x.leads(k, p) && int(x.nextOffset(k, p)) < x.Offsets {
			all |= 1 << p
		}
	}
	for set := all; set != 0; set = (set - 1) & all {
		if !x.Together || set == all {
			x.start(k, set)
		}
	}
	for p := range x.Partitions {
		if x.Trims && x.leads(k, p) {
			x.deletes(k, p)
		}
	}
}

func (x *explorer) start(k int, set uint8) {
	n, w := x.begins(k)
	img := x.images.of(x.cur.brokers[k].image)
	for p := range x.Partitions {
		if set>>p&1 == 1 {
			w.records[p] = newRecord(batch, x.nextOffset(k, p), img.epoch[p])
		}
	}
	x.took(actAppend, uint8(k+1), n, set)
}

// deletes starts a number with a trim entry up to what is acknowledged.
func (x *explorer) deletes(k, p int) {
	img := x.images.of(x.cur.brokers[k].image)
	to := x.highWatermark(k, p, x.cur.brokers[k].acked)
	if to == 0 || to <= x.cur.deleted[p] || to <= img.start[p] {
		return
	}
	for _, w := range x.cur.wal[k] {
		if w.records[p] == newRecord(trimEntry, to, img.epoch[p]) {
			return
		}
	}
	n, w := x.begins(k)
	w.records[p] = newRecord(trimEntry, to, img.epoch[p])
	x.took(actDelete, uint8(k+1), n, uint8(p))
}

// begins is a step that attempts the next number for the first time.
func (x *explorer) begins(k int) (uint8, *number) {
	s := x.fork()
	b := &s.brokers[k]
	b.started++
	if b.asked != nobodyAsked && b.fresh == 0 {
		b.fresh = b.started
	}
	w := &s.wal[k][b.started-1]
	w.open, w.tries = 1, 1
	return b.started, w
}

// nextOffset is the offset of the incarnation's next batch of a partition.
func (x *explorer) nextOffset(k, p int) uint8 {
	img := x.images.of(x.cur.brokers[k].image)
	next := img.end[p]
	for n := range x.cur.brokers[k].started {
		w := &x.cur.wal[k][n]
		if w.records[p].isBatch(img.epoch[p]) && !w.skipped {
			next = w.records[p].offset() + 1
		}
	}
	return next
}

// highWatermark is where the batches of the own epoch in the numbers up to a
// given one end.
func (x *explorer) highWatermark(k, p int, upTo uint8) uint8 {
	img := x.images.of(x.cur.brokers[k].image)
	end := img.end[p]
	for n := range upTo {
		w := &x.cur.wal[k][n]
		if w.records[p].isBatch(img.epoch[p]) && !w.skipped {
			end = max(end, w.records[p].offset()+1)
		}
	}
	return end
}

// create takes the steps of the create of one number.
func (x *explorer) create(k int, inc, n uint8) {
	w := &x.cur.wal[k][n-1]
	over := x.cur.brokers[k].over
	if w.open > 0 {
		x.lands(k, inc, n)
	}
	if over || w.confirmed || w.skipped {
		return
	}
	if int(w.tries) < x.Attempts {
		s := x.fork()
		s.wal[k][n-1].open++
		s.wal[k][n-1].tries++
		x.took(actRetry, inc, n, 0)
	}
	if w.created {
		s := x.fork()
		s.wal[k][n-1].created = false
		x.confirm(s, k, n)
	}
	if w.refused {
		s := x.fork()
		s.wal[k][n-1].refused = false
		if w.holds == data {
			x.confirm(s, k, n)
		} else {
			s.brokers[k].over = x.RefusalEnds
			if !x.RefusalEnds {
				s.wal[k][n-1].skipped = true
			}
			x.took(actRefused, inc, n, 0)
		}
	}
	if !x.AmbiguousIsRead {
		s := x.fork()
		s.wal[k][n-1].skipped = true
		x.acknowledge(s, k)
		x.took(actGiveUp, inc, n, 0)
	}
}

// lands: an attempt takes effect, or meets what is there. Its answer is another
// step, which may never come.
func (x *explorer) lands(k int, inc, n uint8) {
	s := x.fork()
	w := &s.wal[k][n-1]
	w.open--
	if w.holds != absent {
		w.refused = !w.confirmed
		x.took(actMeet, inc, n, 0)
		return
	}
	w.holds, w.created = data, !w.confirmed
	act := actLand
	if s.brokers[k].over || x.images.of(s.truth).phase[k] != live {
		act = actLandLate
	}
	x.took(act, inc, n, 0)
}

// confirm: the broker knows that its number is there, and acknowledges.
func (x *explorer) confirm(s *state, k int, n uint8) {
	s.wal[k][n-1].confirmed = true
	s.wal[k][n-1].created, s.wal[k][n-1].refused = false, false
	if !x.PrefixOrder {
		x.tell(s, k, n)
	}
	x.acknowledge(s, k)
	x.took(actHear, uint8(k+1), n, 0)
}

// acknowledge tells clients of the numbers that are confirmed with all below (I1).
func (x *explorer) acknowledge(s *state, k int) {
	b := &s.brokers[k]
	for b.acked < b.started {
		w := &s.wal[k][b.acked]
		if !w.confirmed && !w.skipped {
			return
		}
		b.acked++
		if !w.skipped {
			x.tell(s, k, b.acked)
		}
	}
}

// tell notes what clients were told: one content, and one incarnation for each
// epoch (I5, I13).
func (x *explorer) tell(s *state, k int, n uint8) {
	for p, r := range s.wal[k][n-1].records {
		switch {
		case r.kind() == trimEntry:
			s.deleted[p] = max(s.deleted[p], r.offset())
		case r.kind() == batch && !s.wal[k][n-1].deserted[p]:
			x.tellBatch(s, p, r, newSource(uint8(k+1), n))
		}
	}
}

func (x *explorer) tellBatch(s *state, p int, r record, src source) {
	for o, t := range s.told[p] {
		switch {
		case t == 0 || t == src:
		case o == int(r.offset()):
			x.failed("offset %d of partition %d is acknowledged with two contents", o, p)
		case t.inc() != src.inc() && s.wal[t.inc()-1][t.number()-1].records[p].epoch() == r.epoch():
			x.failed("incarnations %d and %d acknowledge in epoch %d of partition %d", t.inc(), src.inc(), r.epoch(), p)
		}
	}
	s.told[p][r.offset()] = src
}
