package model

// offer takes the steps of flush and planned move: commit requests of an
// incarnation, made from its own replica's image. They may be lost, arrive late,
// in any order and more than once.
func (x *explorer) offer(k int) {
	b := &x.cur.brokers[k]
	img := x.images.of(b.image)
	if img.phase[k] != live {
		return
	}
	for _, mode := range []struct {
		on  bool
		bit source
	}{{x.Adopts, 0}, {x.Copies, copied}} {
		if !mode.on {
			continue
		}
		for upTo := img.trim[k] + 1; upTo <= b.acked; upTo++ {
			if c := x.flush(k, upTo, mode.bit); c.flushes(img) {
				x.send(k, c, actFlush, upTo, uint8(mode.bit>>7))
			}
		}
		if x.Partial {
			x.flushOne(k, mode.bit)
		}
	}
	if x.Moves {
		for p := range x.Partitions {
			x.move(k, p)
		}
	}
}

// flush is the request that flushes the numbers up to one and trims the WAL.
func (x *explorer) flush(k int, upTo uint8, bit source) commit {
	img := x.images.of(x.cur.brokers[k].image)
	c := commit{kind: request, inc: uint8(k + 1), trim: upTo}
	for p := range x.Partitions {
		if img.leader[p] != c.inc {
			continue
		}
		s := span{set: true, epoch: img.epoch[p], start: img.end[p], end: x.highWatermark(k, p, upTo)}
		for n := range upTo {
			w := &x.cur.wal[k][n]
			switch r := w.records[p]; {
			case w.skipped:
			case r.isBatch(s.epoch) && r.offset() >= s.start:
				s.sources[r.offset()] = newSource(c.inc, n+1) | bit
			case r.kind() == trimEntry && r.epoch() == s.epoch:
				s.low = max(s.low, r.offset())
			}
		}
		s.set = s.end > s.start || s.low > img.start[p]
		if s.set {
			c.ranges[p] = s
		}
	}
	return c
}

// flushes reports whether the request changes anything.
func (c *commit) flushes(img *image) bool {
	for _, s := range c.ranges {
		if s.set {
			return true
		}
	}
	return c.trim > img.trim[c.inc-1]
}

// flushOne offers one partition's records, which lets no trim advance.
func (x *explorer) flushOne(k int, bit source) {
	for p := range x.Partitions {
		c := x.flush(k, x.cur.brokers[k].acked, bit)
		for q := range c.ranges {
			if p != q {
				c.ranges[q] = span{}
			}
		}
		c.trim = 0
		if c.ranges[p].set {
			x.send(k, c, actFlushOne, uint8(p), uint8(bit>>7))
		}
	}
}

// move takes the steps of a planned move: stop, drain, offer, and the outcome as
// the own replica shows it.
func (x *explorer) move(k, p int) {
	b := &x.cur.brokers[k]
	img := x.images.of(b.image)
	inc := uint8(k + 1)
	if img.leader[p] != inc {
		return
	}
	switch b.moves[p] {
	case still:
		s := x.fork()
		s.brokers[k].moves[p] = stopped
		x.took(actStop, inc, uint8(p), 0)
	case stopped:
		if int(img.epoch[p]) < x.Epochs {
			x.handOver(k, p)
		}
	case offered:
		x.outcome(k, p)
	}
}

// outcome: the incarnation keeps the partition once the own replica shows that
// the hand-over will not be taken any more (I9). That a controller has refused it
// says nothing: it may be one that is none any more, and an earlier attempt may be
// on its way to another.
func (x *explorer) outcome(k, p int) {
	b := &x.cur.brokers[k]
	s := x.fork()
	s.brokers[k].moves[p] = still
	switch {
	case x.images.of(b.image).settled[k] >= b.moveReq:
		x.took(actResume, uint8(k+1), uint8(p), 0)
	case !x.OutcomeBeforeAppends, !x.RefusalIsNoOutcome && x.refused(b):
		x.took(actResumeEarly, uint8(k+1), uint8(p), 0)
	}
}

// refused reports whether some controller would refuse the hand-over.
func (x *explorer) refused(b *broker) bool {
	for _, id := range b.offers {
		if id == 0 || x.commits.of(id).request != b.moveReq {
			continue
		}
		for c := range x.Controllers {
			k := &x.cur.controllers[c]
			if _, ok := x.apply(*x.images.of(k.image), x.commits.of(id)); !ok && k.phase == writing {
				return true
			}
		}
	}
	return false
}

// drained reports whether nothing of the partition is in flight.
func (x *explorer) drained(k, p int) bool {
	b := &x.cur.brokers[k]
	for n := b.acked; n < b.started; n++ {
		if x.cur.wal[k][n].records[p].kind() != noRecord {
			return false
		}
	}
	return true
}

func (x *explorer) handOver(k, p int) {
	b := &x.cur.brokers[k]
	img := x.images.of(b.image)
	drained := x.drained(k, p)
	if !drained && x.DrainBeforeHandOver && !x.Deserts {
		return
	}
	bit := copied
	if x.Adopts {
		bit = 0
	}
	for to := range uint8(x.Incarnations) {
		if int(to) == k || img.phase[to] != live {
			continue
		}
		c := x.flush(k, b.acked, bit)
		c.ranges[p].set, c.ranges[p].epoch, c.ranges[p].to = true, img.epoch[p], to+1
		c.ranges[p].start, c.ranges[p].end = img.end[p], x.highWatermark(k, p, b.acked)
		act := actOffer
		if !drained {
			act = actDesert
		}
		x.send(k, c, act, uint8(p), to+1)
	}
}

// send puts a request on its way. Where incarnations hand over, requests have
// numbers, and each may say that no earlier one is to be taken any more (I9).
func (x *explorer) send(k int, c commit, act action, a, b uint8) {
	from := &x.cur.brokers[k]
	settles := []uint8{0}
	if x.Requests > 0 {
		if int(from.request) >= x.Requests {
			return
		}
		c.request = from.request + 1
		if from.request > 0 {
			settles = append(settles, from.request)
		}
	}
	for _, settled := range settles {
		c.settled = settled
		id := x.commits.id(c)
		if from.offers[0] == id || from.offers[1] == id {
			continue
		}
		for slot := range x.Offers {
			if slot == 1 && from.offers[0] == 0 {
				break
			}
			s := x.fork()
			x.sent(s, k, &c, act, a)
			s.brokers[k].offers[slot] = id
			x.took(act, uint8(k+1), a, b)
			if from.offers[slot] == 0 {
				break // nothing had to be lost for it
			}
		}
	}
}

// sent is what the sender notes.
func (x *explorer) sent(s *state, k int, c *commit, act action, a uint8) {
	to := &s.brokers[k]
	to.request = c.request
	if act != actOffer && act != actDesert {
		return
	}
	to.moves[a], to.moveReq = offered, c.request
	if x.DrainBeforeHandOver {
		for n := to.acked; n < to.started; n++ {
			s.wal[k][n].deserted[a] = s.wal[k][n].records[a].kind() == batch
		}
	}
}
