// Package partition is one partition's log as the rest sees it: appending in
// order with idempotence, what is durable, what is in memory, and where in the
// segments the rest is.
//
// A Partition is one leadership: one partition at one leader epoch. When either
// changes it is closed and another is opened from the image.
//
// Producer state is changed at append; what clients see (high watermark,
// duplicates' answers, checkpoints) is taken at the high watermark or below it
// (I6).
package partition

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// Log is the write-ahead log a partition appends to.
type Log interface {
	Append(b wal.Batch) *wal.Commit
	AppendTrim(t segment.Trim) *wal.Commit
}

// Appended is the outcome of an append that is not yet durable.
type Appended struct {
	Base      karst.Offset    // of the first record; of the original for a duplicate
	Timestamp karst.Timestamp // log append time, NoTimestamp on CreateTime topics
	LogStart  karst.Offset
	// Commit is done when the batch is durable (shared by duplicates in flight);
	// nil when it already is.
	Commit *wal.Commit
}

// EpochEnd is the end of a leader epoch.
type EpochEnd struct {
	Epoch karst.Epoch
	End   karst.Offset
}

// Partition is one partition led at one epoch.
type Partition struct {
	id    karst.TopicPartition
	epoch karst.Epoch

	traffic traffic

	mu       sync.Mutex
	closed   bool
	offered  bool                     // to another leader: nobody may act on what we say
	last     *wal.Commit              // of the newest append or trim entry; nil if none
	state    *metadata.PartitionState // as of the newest image
	next     karst.Offset             // log end: the offset of the next append
	hw       karst.Offset             // all below is durable; never goes back (I5)
	logStart karst.Offset
	tail     tail

	loaded    bool          // producers are known
	loading   chan struct{} // closed when the load under way ends; nil if none
	producers producers     // at next
	flushed   producers     // at the last checkpoint
	unflushed []record.Info // producers' batches since then, in order
}

// Open starts a leadership from the image: everything below the committed end
// is durable, and nothing else exists (I5, I12).
func Open(s *metadata.PartitionState) *Partition {
	return &Partition{
		id: s.ID, epoch: s.Epoch, state: s,
		next: s.End, hw: s.End, logStart: s.LogStart,
	}
}

// Epoch is the leader epoch of this leadership.
func (p *Partition) Epoch() karst.Epoch { return p.epoch }

// Close ends the leadership: later calls answer NotLeader, memory is released.
func (p *Partition) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, r := range p.tail.runs {
		r.slice.Hold.Release()
	}
	p.tail.runs = nil
}

// Offer ends what clients can do here, until Withdraw: from the offer of a
// hand-over on another leader may be acting (section 4 of the architecture). The
// commit, nil for none, is done when nothing of the partition is in flight (I2).
func (p *Partition) Offer() *wal.Commit {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offered = true
	return p.last
}

// Withdraw takes an offer back: the hand-over did not and will not happen.
func (p *Partition) Withdraw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offered = false
}

// away reports whether clients have to look elsewhere. The caller holds mu.
func (p *Partition) away() bool { return p.closed || p.offered }

func (p *Partition) notLeader() error {
	return karst.NotLeader.Errorf("partition %s is not led here", p.id)
}

// Append gives a validated batch its offsets and puts it into the log. The
// producers must be loaded, unless the batch has none. now is the wall clock.
func (p *Partition) Append(log Log, i record.Info, b []byte, hold store.Holder, now time.Time) (Appended, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away() {
		return Appended{}, p.notLeader()
	}
	if !p.loaded && i.Producer >= 0 {
		panic("BUG: I6: append before the producers are loaded")
	}
	v, err := p.producers.check(i)
	if err != nil {
		return Appended{}, err
	}
	if v.duplicate {
		return p.duplicate(v.original), nil
	}
	i.Base, i.Epoch = p.next, p.epoch
	record.Stamp(b, i.Base, i.Epoch)
	commit := log.Append(wal.Batch{Partition: p.id, Info: i, Bytes: b, Hold: hold})
	at := timestampOf(i)
	if i.Producer >= 0 {
		p.producers.apply(i, at, commit, karst.Timestamp(now.UnixMilli()))
		p.unflushed = append(p.unflushed, i)
	}
	p.next, p.last = i.Next(), commit
	p.traffic.appended(i.Size)
	return Appended{Base: i.Base, Timestamp: at, LogStart: p.logStart, Commit: commit}, nil
}

// duplicate answers a batch that was appended before: with the original's
// offsets, and sharing its completion while that is in flight.
func (p *Partition) duplicate(o appended) Appended {
	a := Appended{Base: o.base, Timestamp: o.timestamp, LogStart: p.logStart}
	if o.base >= p.hw {
		if o.commit == nil {
			panic("BUG: I6: a batch above the high watermark without a commit")
		}
		a.Commit = o.commit
	}
	return a
}

// Durable takes one partition's part of a durable WAL segment into the tail and
// advances the high watermark. It reports whether that moved.
func (p *Partition) Durable(n karst.Number, s *wal.Slice) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(s.Entries) == 0 || s.Entries[0].Info.Epoch != p.epoch {
		return false
	}
	if s.Base != p.hw {
		panic(fmt.Sprintf("BUG: I5: %v, epoch %d: a durable range starts at %d and not at the high watermark %d", p.id, p.epoch, s.Base, p.hw))
	}
	p.tail.push(n, s)
	p.hw = s.Last + 1
	return true
}

// Trimmed takes a durable DeleteRecords entry. It reports whether the log start
// moved.
func (p *Partition) Trimmed(t segment.Trim) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || t.Epoch != p.epoch || t.Offset <= p.logStart {
		return false
	}
	p.logStart = t.Offset
	return true
}

// Install takes the partition's state of a newer image, of the same leadership.
// It reports whether the log start moved.
func (p *Partition) Install(s *metadata.PartitionState) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.End > p.hw {
		panic(fmt.Sprintf("BUG: I8: %v, epoch %d: committed end %d above the high watermark %d", p.id, p.epoch, s.End, p.hw))
	}
	p.state = s
	if s.LogStart <= p.logStart {
		return false
	}
	p.logStart = s.LogStart
	return true
}

// Evict lets go of memory of flushed WAL segments up to n.
func (p *Partition) Evict(n karst.Number) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail.drop(n, p.state.End)
}

// DeleteRecords moves the log start to before, -1 meaning the high watermark.
// low holds once commit is done; nil means it holds already.
func (p *Partition) DeleteRecords(log Log, before karst.Offset) (low karst.Offset, commit *wal.Commit, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away() {
		return 0, nil, p.notLeader()
	}
	if before == -1 {
		before = p.hw
	}
	if before < 0 || before > p.hw {
		return 0, nil, karst.OffsetOutOfRange.Errorf("offset %d is not between 0 and the high watermark %d", before, p.hw)
	}
	if before <= p.logStart {
		return p.logStart, nil, nil
	}
	p.last = log.AppendTrim(segment.Trim{Partition: p.id, Epoch: p.epoch, Offset: before})
	return before, p.last, nil
}

// LogStart is the first offset a client may read.
func (p *Partition) LogStart() karst.Offset {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logStart
}

// HighWatermark is the durable end.
func (p *Partition) HighWatermark() karst.Offset {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hw
}

// checkEpoch compares the leader epoch a client believes in (KIP-320); any that
// is negative is none.
func (p *Partition) checkEpoch(current karst.Epoch) error {
	switch {
	case p.away():
		return p.notLeader()
	case current < 0 || current == p.epoch:
		return nil
	case current < p.epoch:
		return karst.FencedLeaderEpoch.Errorf("leader epoch of %s is %d, the request says %d", p.id, p.epoch, current)
	default:
		return karst.UnknownLeaderEpoch.Errorf("leader epoch of %s is %d, the request says %d", p.id, p.epoch, current)
	}
}

// EpochEnd finds the largest epoch at or below want and where it ended. One that
// is older than the log ended where the log's first epoch starts, as in Kafka: a
// consumer that is told of no epoch at all starts over by its reset policy.
func (p *Partition) EpochEnd(current, want karst.Epoch) (EpochEnd, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.checkEpoch(current); err != nil {
		return EpochEnd{}, err
	}
	return p.epochEnd(want), nil
}

func (p *Partition) epochEnd(want karst.Epoch) EpochEnd {
	none := EpochEnd{Epoch: karst.NoEpoch, End: -1}
	if want < 0 || want > p.epoch {
		return none
	}
	if want == p.epoch {
		return EpochEnd{Epoch: want, End: p.hw}
	}
	epochs := p.state.Epochs
	for k, epoch := range slices.Backward(epochs) {
		if epoch.Epoch > want {
			continue
		}
		if k == len(epochs)-1 {
			return EpochEnd{Epoch: epoch.Epoch, End: p.hw}
		}
		return EpochEnd{Epoch: epoch.Epoch, End: epochs[k+1].Start}
	}
	if len(epochs) > 0 {
		return EpochEnd{Epoch: want, End: epochs[0].Start}
	}
	return none
}

// epochAt is the leader epoch that wrote an offset.
func (p *Partition) epochAt(off karst.Offset) karst.Epoch {
	epochs := p.state.Epochs
	for _, epoch := range slices.Backward(epochs) {
		if epoch.Start <= off {
			return epoch.Epoch
		}
	}
	return p.epoch
}
