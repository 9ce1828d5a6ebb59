package model

// prove takes the steps of one question to a coordinator on partition 0, the
// answer to which others act on: wal.Prove.
func (x *explorer) prove(k int) {
	if !x.Asks || k != 0 {
		return
	}
	b := &x.cur.brokers[k]
	if b.asked == nobodyAsked {
		s := x.fork()
		s.brokers[k].asked = askedInTime
		if x.images.of(s.truth).leader[0] != 1 {
			s.brokers[k].asked = askedTooLate
		}
		x.took(actAsk, 1, s.brokers[k].asked, 0)
		return
	}
	x.head(k)
	if x.images.of(b.image).leader[0] != 1 || b.moves[0] == offered {
		return // NOT_COORDINATOR
	}
	if b.vacant > 0 && (b.acked >= b.vacant-1 || !x.HeadWaitsForPrefix) {
		x.answer(k, b.vacant)
	}
	for n := b.fresh; n > 0 && n <= b.acked; n++ {
		x.answer(k, n)
		break
	}
	if !x.CreateIsFresh && b.acked > 0 {
		x.answer(k, b.acked)
	}
}

// head asks the store for a number. The question, its effect and its answer are
// one step: an answer that comes after the number was attempted is thrown away.
func (x *explorer) head(k int) {
	b := &x.cur.brokers[k]
	n := b.started + 1
	if !x.HeadNeverAttempted {
		n = b.acked + 1
	}
	if b.vacant != 0 || int(n) > x.Numbers || x.cur.wal[k][n-1].holds != absent {
		return
	}
	s := x.fork()
	s.brokers[k].vacant = n
	x.took(actHead, uint8(k+1), n, 0)
}

// answer answers the question.
func (x *explorer) answer(k int, by uint8) {
	s := x.fork()
	b := &s.brokers[k]
	if b.asked == askedTooLate {
		x.failed("incarnation %d answers a question that came after it was deposed", k+1)
	}
	b.asked, b.fresh, b.vacant = nobodyAsked, 0, 0
	x.took(actProve, uint8(k+1), by, 0)
}
