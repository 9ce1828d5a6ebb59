package model

// collect takes the steps of collectors. They ask the true image: whoever asks an
// older one may delete less, because what is deletable stays so (advance checks
// that).
func (x *explorer) collect() {
	if x.Collects {
		for inc := range uint8(x.Incarnations) {
			for n := uint8(1); int(n) <= x.Numbers; n++ {
				x.collectOne(inc+1, n)
				x.deleted(inc+1, n)
			}
		}
	}
	if x.Snapshots {
		x.snapshots()
	}
	if x.CollectsMeta {
		x.collectMeta()
	}
}

func (x *explorer) collectOne(inc, n uint8) {
	img := x.images.of(x.cur.truth)
	act := actCollect
	switch x.cur.wal[inc-1][n-1].holds {
	case absent:
		return
	case tombstone:
		if x.TombstonesStay {
			return
		}
		act = actCollectTombstone
	case data:
		if n > img.trim[inc-1] {
			act = actCollectAdopted
		}
	}
	if !x.deletable(img, inc, n) {
		return
	}
	s := x.fork()
	if x.SlowDeletes {
		if s.doomed[inc-1]>>n&1 == 1 {
			return
		}
		s.doomed[inc-1] |= 1 << n
	} else {
		s.wal[inc-1][n-1].holds = absent
	}
	x.took(act, inc, n, 0)
}

// deleted: a delete takes effect: whatever is there by now is gone, and be it a tombstone
// that a sealer with an old image put where the object had been.
func (x *explorer) deleted(inc, n uint8) {
	if x.cur.doomed[inc-1]>>n&1 == 0 {
		return
	}
	s := x.fork()
	s.doomed[inc-1] &^= 1 << n
	s.wal[inc-1][n-1].holds = absent
	x.took(actDeleted, inc, n, 0)
}

// snapshots: a controller writes its image, of which only the newest matters.
func (x *explorer) snapshots() {
	for c := range x.Controllers {
		k := &x.cur.controllers[c]
		if k.phase != writing || k.at == 0 || k.term < x.cur.snapshot.term || k.term == x.cur.snapshot.term && k.at <= x.cur.snapshot.at {
			continue
		}
		s := x.fork()
		s.snapshot = replica{k.image, k.term, k.at}
		x.took(actSnapshot, uint8(c+1), k.term, k.at)
	}
}

// collectMeta deletes commits of a term, one by one, once the next is claimed and
// a snapshot is at or above its end.
func (x *explorer) collectMeta() {
	for t := range uint8(x.Terms - 1) {
		next, snap := x.cur.claims[t+1], x.cur.snapshot
		above := snap.term > t+1 || snap.term == t+1 && snap.at+1 == next.end
		if x.ClaimBeforeCollected && (next.owner == 0 || !above) {
			continue
		}
		for n, id := range x.cur.log[t] {
			if id > sealed {
				s := x.fork()
				s.log[t][n] = absent
				x.took(actCollectCommit, t+1, uint8(n+1), 0)
			}
		}
	}
}
