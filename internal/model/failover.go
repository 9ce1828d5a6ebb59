package model

// failover takes the steps of a failover at one controller: fence (a commit like
// others), seal, adopt. It may be one whose term is over.
func (x *explorer) failover(c int) {
	k := &x.cur.controllers[c]
	img := x.images.of(k.image)
	if k.job.inc == 0 {
		for inc := range uint8(x.Incarnations) {
			if x.Fences>>inc&1 == 0 || k.phase != writing {
				continue
			}
			if phase := img.phase[inc]; phase == fenced || phase == live && !x.FenceFirst {
				s := x.fork()
				s.controllers[c].job = failover{inc: inc + 1, next: img.trim[inc] + 1}
				x.took(actSealStart, uint8(c+1), inc+1, img.trim[inc])
			}
		}
		return
	}
	if k.job.end == 0 {
		x.sealWAL(c)
		return
	}
	if k.phase == writing && (k.out[0] == 0 || !x.OneCreate) {
		x.adopt(c)
	}
}

// sealWAL settles the next number of the WAL: data is read, a free number becomes
// the tombstone, which is where the WAL ends.
func (x *explorer) sealWAL(c int) {
	who, job := uint8(c+1), x.cur.controllers[c].job
	if int(job.next) > x.Numbers { // beyond what the model has: free
		s := x.fork()
		s.controllers[c].job.end = job.next
		x.took(actSealEnd, who, job.inc, job.next)
		return
	}
	s := x.fork()
	n, w := &s.controllers[c].job, &s.wal[job.inc-1][job.next-1]
	switch w.holds {
	case data:
		n.seen |= 1 << (job.next - 1)
		n.next++
		x.took(actSealData, who, job.inc, job.next)
	case tombstone:
		n.end = job.next
		x.took(actSealFound, who, job.inc, job.next)
	default:
		w.holds = tombstone
		n.end = job.next
		x.took(actSealEnd, who, job.inc, job.next)
	}
	for at := job.next + 1; x.Walls && int(at) <= x.Numbers; at++ {
		if x.cur.wal[job.inc-1][at-1].holds == absent {
			s := x.fork()
			s.wal[job.inc-1][at-1].holds = tombstone
			x.took(actWall, who, job.inc, at)
		}
	}
}

// adopt commits what the sealed WAL holds, computed from the image that it is
// tried on; what it was computed from before and refused is computed anew.
func (x *explorer) adopt(c int) {
	k := &x.cur.controllers[c]
	img := x.images.of(k.image)
	for heir := range uint8(x.Incarnations + 1) {
		if heir != 0 && (img.phase[heir-1] != live || heir == k.job.inc) {
			continue
		}
		what, segments := x.adoption(&x.cur, img, k.job.inc, k.job.seen, heir)
		act := actAdopt
		if segments > 1 {
			act = actAdoptMany
		}
		x.commit(c, what, act, uint8(c+1), k.job.inc, heir)
	}
}

// adoption is what continues the end of each partition that the incarnation
// leads, of the current epoch, in the numbers that were read: plan in package
// failover. The second result is how many segments it refers to.
func (x *explorer) adoption(s *state, img *image, inc, seen, heir uint8) (commit, int) {
	c := commit{kind: adopt, inc: inc}
	used := uint8(0)
	for p := range x.Partitions {
		if img.leader[p] != inc {
			continue
		}
		r := span{set: true, epoch: img.epoch[p], start: img.end[p], end: img.end[p]}
		if int(r.epoch) < x.Epochs {
			r.to = heir
		}
		for n, gap := uint8(0), false; int(n) < x.Numbers && !gap; n++ {
			if seen>>n&1 == 0 {
				continue
			}
			rec := s.wal[inc-1][n].records[p]
			switch {
			case x.EpochFilter && rec.epoch() != r.epoch:
			case rec.kind() == trimEntry:
				r.low = max(r.low, rec.offset())
			case rec.kind() == batch && rec.offset() == r.end:
				r.sources[r.end] = newSource(inc, n+1)
				r.end++
				used |= 1 << n
			case rec.kind() == batch:
				gap = rec.offset() > r.end
			}
		}
		r.low = min(r.low, r.end)
		c.ranges[p] = r
	}
	segments := 0
	for ; used != 0; used &= used - 1 {
		segments++
	}
	return c, segments
}
