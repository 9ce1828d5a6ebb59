package partition

import (
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/wal"
)

// windowBatches is how many batches of a producer are remembered, so that a
// retry of any of five requests in flight is recognised (KIP-98).
const windowBatches = 5

// appended is what is remembered of one batch of a producer.
type appended struct {
	last      karst.Sequence // of its last record
	delta     int32          // records - 1
	base      karst.Offset
	timestamp karst.Timestamp // log append time, NoTimestamp on CreateTime topics
	commit    *wal.Commit     // nil once durable
}

// producer is the state of one producer id in one partition.
type producer struct {
	epoch  karst.ProducerEpoch
	n      uint8                   // batches in the window, oldest first
	window [windowBatches]appended // of this epoch only
	seen   karst.Timestamp         // wall clock of the last append, for expiry only
	dirty  bool                    // changed since the last checkpoint
}

func (p *producer) push(a appended) {
	if p.n == windowBatches {
		copy(p.window[:], p.window[1:])
		p.n--
	}
	p.window[p.n] = a
	p.n++
}

// producers is the idempotence state of one partition: a function of the
// batches applied to it. It does no I/O and reads no clock.
type producers struct {
	byID map[karst.ProducerID]*producer
}

// verdict is what a check says of a batch that is not refused.
type verdict struct {
	duplicate bool
	original  appended // of a duplicate
}

// check decides whether a batch may be appended now (KIP-98; the rules of
// Apache Kafka's ProducerAppendInfo).
func (t *producers) check(i record.Info) (verdict, error) {
	if i.Producer < 0 {
		return verdict{}, nil
	}
	p := t.byID[i.Producer]
	if p == nil && i.ProducerEpoch < -1 {
		return verdict{}, karst.InvalidProducerEpoch.Errorf("producer %d says epoch %d", i.Producer, i.ProducerEpoch)
	}
	if p == nil {
		return verdict{}, nil // no state: any starting sequence will do
	}
	switch {
	case i.ProducerEpoch < p.epoch:
		return verdict{}, karst.InvalidProducerEpoch.Errorf("producer %d has epoch %d, this batch says %d", i.Producer, p.epoch, i.ProducerEpoch)
	case i.ProducerEpoch > p.epoch:
		if i.BaseSequence != 0 {
			return verdict{}, karst.OutOfOrderSequence.Errorf("producer %d begins epoch %d at sequence %d, not 0", i.Producer, i.ProducerEpoch, i.BaseSequence)
		}
		return verdict{}, nil
	}
	if p.n == 0 {
		return verdict{}, nil
	}
	for k := range p.window[:p.n] {
		w := p.window[k]
		if w.last == i.LastSequence() && w.delta == i.LastDelta {
			return verdict{duplicate: true, original: w}, nil
		}
	}
	if want := p.window[p.n-1].last.Add(1); i.BaseSequence != want {
		return verdict{}, karst.OutOfOrderSequence.Errorf("producer %d continues at sequence %d, this batch starts at %d", i.Producer, want, i.BaseSequence)
	}
	return verdict{}, nil
}

// apply records an appended batch. now is for expiry only.
func (t *producers) apply(i record.Info, at karst.Timestamp, commit *wal.Commit, now karst.Timestamp) {
	if i.Producer < 0 || i.Attributes.Control() {
		return
	}
	if t.byID == nil {
		t.byID = make(map[karst.ProducerID]*producer, 1)
	}
	p := t.byID[i.Producer]
	if p == nil {
		p = &producer{epoch: i.ProducerEpoch}
		t.byID[i.Producer] = p
	}
	if i.ProducerEpoch != p.epoch {
		*p = producer{epoch: i.ProducerEpoch}
	}
	p.push(appended{last: i.LastSequence(), delta: i.LastDelta, base: i.Base, timestamp: at, commit: commit})
	p.seen, p.dirty = now, true
}

// expire forgets producers that have not appended for keep.
func (t *producers) expire(now karst.Timestamp, keep time.Duration) {
	for id, p := range t.byID {
		if now-p.seen >= karst.Timestamp(keep.Milliseconds()) {
			delete(t.byID, id)
		}
	}
}

// clone is a deep copy.
func (t *producers) clone() producers {
	c := producers{byID: make(map[karst.ProducerID]*producer, len(t.byID))}
	for id, p := range t.byID {
		q := *p
		c.byID[id] = &q
	}
	return c
}

// timestampOf is the log append time that a batch was answered with.
func timestampOf(i record.Info) karst.Timestamp {
	if i.Attributes.LogAppendTime() {
		return i.MaxTimestamp
	}
	return karst.NoTimestamp
}
