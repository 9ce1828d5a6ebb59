// Package engine is the set of partitions this incarnation leads: it opens them
// from the image, appends to them through the WAL, reads from memory and from
// segments, and tells subscribers what changed.
package engine

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/partition"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// The engine speaks of one partition in the words of package partition.
type (
	Appended    = partition.Appended
	ReadRequest = partition.ReadRequest
	Read        = partition.Read
	Aborted     = partition.Aborted
	EpochEnd    = partition.EpochEnd
	Found       = partition.Found
)

// Special timestamps of ListOffsets, as on the wire.
const (
	Latest          = partition.Latest
	Earliest        = partition.Earliest
	MaxTimestamp    = partition.MaxTimestamp
	EarliestLocal   = partition.EarliestLocal
	LatestTiered    = partition.LatestTiered
	EarliestPending = partition.EarliestPending
)

// Log is the write-ahead log of the incarnation.
type Log interface {
	partition.Log
	// Pending is the number of bytes appended and not yet durable.
	Pending() int64
}

// Config bounds an Engine.
type Config struct {
	Self           karst.Incarnation
	TailBytes      int64         // WAL segments kept in memory after their flush
	UnflushedBytes int64         // above it, appends wait and then are refused
	WaitMax        time.Duration // how long an append waits for room
	ProducerExpiry time.Duration // producer.id.expiration.ms, until SetProducerExpiry
}

// Deps is what an Engine works with.
type Deps struct {
	Image     *metadata.Image
	Log       Log
	Segments  partition.Segments
	Validator *record.Validator
	Decoder   *record.Decoder
	// Rules are what a topic demands of its batches; Now is filled in.
	Rules    func(t *metadata.TopicState) record.Rules
	Watchers *Watchers
	// Flush takes over the holds of a durable segment.
	Flush func(s *wal.Segment)
	// Unflushed is the number of durable bytes that no flush has covered.
	Unflushed func() int64
}

// Engine serves the partitions of one incarnation. All errors of its methods
// are *karst.Error, or the context's.
type Engine struct {
	cfg  Config
	deps Deps

	mu         sync.RWMutex
	closed     bool
	image      *metadata.Image
	partitions map[karst.TopicPartition]*partition.Partition
	rules      map[karst.TopicID]record.Rules

	expiry atomic.Int64 // of producers, a time.Duration
	memory memory
	room   room
}

// New makes the engine of one incarnation.
func New(cfg Config, deps Deps) *Engine {
	e := &Engine{
		cfg: cfg, deps: deps, image: deps.Image,
		partitions: make(map[karst.TopicPartition]*partition.Partition),
		rules:      make(map[karst.TopicID]record.Rules),
		memory:     memory{limit: cfg.TailBytes},
		room:       room{freed: make(chan struct{})},
	}
	e.SetProducerExpiry(cfg.ProducerExpiry)
	return e
}

// SetProducerExpiry changes after how long an idle producer is forgotten.
func (e *Engine) SetProducerExpiry(d time.Duration) { e.expiry.Store(int64(d)) }

func (e *Engine) producerExpiry() time.Duration { return time.Duration(e.expiry.Load()) }

// lead finds an open partition, or opens it if the image says we lead it.
func (e *Engine) lead(tp karst.TopicPartition) (*partition.Partition, error) {
	e.mu.RLock()
	p := e.partitions[tp]
	e.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.partitions[tp]; p != nil {
		return p, nil
	}
	if e.closed {
		return nil, karst.NotLeader.Errorf("partition %s is not led here: this incarnation is over", tp)
	}
	s, ok := e.image.Partition(tp)
	if !ok {
		if _, known := e.image.TopicByID(tp.Topic); known {
			return nil, karst.UnknownTopic.Errorf("topic has no partition %d", tp.Partition)
		}
		return nil, karst.UnknownTopicID.Errorf("no topic has id %s", tp.Topic)
	}
	if s.Leader != e.cfg.Self || e.over() {
		return nil, karst.NotLeader.Errorf("partition %s is not led here", tp)
	}
	p = partition.Open(s)
	e.partitions[tp] = p
	return p, nil
}

// over reports whether this incarnation was fenced. What it led may have no other
// leader yet, at the same epoch, and end where its log was found to end: above what
// it has heard of. The caller holds mu.
func (e *Engine) over() bool {
	b, ok := e.image.Broker(e.cfg.Self)
	return ok && b.Phase != metadata.Live
}

// rulesOf are the rules of a topic, cached until its configs change.
func (e *Engine) rulesOf(id karst.TopicID) (record.Rules, error) {
	e.mu.RLock()
	r, ok := e.rules[id]
	e.mu.RUnlock()
	if ok {
		return r, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.image.TopicByID(id)
	if !ok {
		return record.Rules{}, karst.UnknownTopicID.Errorf("no topic has id %s", id)
	}
	r = e.deps.Rules(t)
	e.rules[id] = r
	return r, nil
}

// Append validates one record batch as Kafka does, checks its producer, gives
// it offsets and puts it into the WAL. b is stamped in place; the engine
// retains hold for as long as it needs b. It waits for the store only where a
// partition's producers must be loaded first, and for room when the store is
// behind: for those, ctx counts.
func (e *Engine) Append(ctx context.Context, tp karst.TopicPartition, b []byte, hold store.Holder) (Appended, error) {
	p, err := e.lead(tp)
	if err != nil {
		return Appended{}, err
	}
	rules, err := e.rulesOf(tp.Topic)
	if err != nil {
		return Appended{}, err
	}
	now := time.Now()
	rules.Now = karst.Timestamp(now.UnixMilli())
	v, err := e.deps.Validator.Validate(b, rules)
	if err != nil {
		return Appended{}, err
	}
	if v.Info.Attributes.Transactional() {
		return Appended{}, karst.InvalidTxnState.Errorf("producer %d has no transaction on this partition", v.Info.Producer)
	}
	if err := e.waitForRoom(ctx); err != nil {
		return Appended{}, err
	}
	if v.Info.Producer >= 0 {
		if err := p.Load(ctx, e.deps.Segments, now, e.producerExpiry()); err != nil {
			return Appended{}, err
		}
	}
	if v.Reencoded {
		hold = collected{}
	}
	return p.Append(e.deps.Log, v.Info, v.Bytes, hold, now)
}

// AppendInternal appends a batch of the broker's own to an internal topic. It
// neither waits for room (that is kept for clients' batches: what coordinators
// write is the reserved share) nor reads the store, and so never blocks: Gather
// of the WAL may call it. b, of memory that the garbage collector looks after, is
// stamped in place and belongs to the engine from then on. Only its shape is
// checked; topic configs do not apply. A batch with a producer id is a bug: the
// partition's producers may not be known. Its leader epoch is the one that what it
// says was decided in: in another one it is refused with NotLeader.
func (e *Engine) AppendInternal(tp karst.TopicPartition, b []byte) (Appended, error) {
	i, err := record.Parse(b)
	if err != nil {
		return Appended{}, err
	}
	if int(i.Size) != len(b) || i.Count < 1 || i.LastDelta != i.Count-1 {
		return Appended{}, karst.InvalidRecord.Errorf("batch of %d bytes says it has %d, %d records and last offset delta %d", len(b), i.Size, i.Count, i.LastDelta)
	}
	if i.Producer >= 0 || i.Attributes.Control() {
		panic("BUG: I6: an internal batch with a producer")
	}
	p, err := e.lead(tp)
	if err != nil {
		return Appended{}, err
	}
	if i.Epoch != p.Epoch() {
		return Appended{}, karst.NotLeader.Errorf("partition %s is led at epoch %d, the batch was decided at %d", tp, p.Epoch(), i.Epoch)
	}
	return p.Append(e.deps.Log, i, b, collected{}, time.Now())
}

// collected is the hold on memory that the garbage collector looks after.
type collected struct{}

func (collected) Retain()  {}
func (collected) Release() {}

// Read reads from one partition; it goes to the store only for what the tail
// cache does not hold. Offsets below the log start or above the log end are
// OffsetOutOfRange; at the end there is nothing and no error.
func (e *Engine) Read(ctx context.Context, tp karst.TopicPartition, r ReadRequest) (*Read, error) {
	p, err := e.lead(tp)
	if err != nil {
		return nil, err
	}
	return p.Read(ctx, e.deps.Segments, r)
}

// Subscribe makes an empty subscription; Close it.
func (e *Engine) Subscribe() *Subscription { return e.deps.Watchers.Subscribe() }

// ListOffset finds an offset by a special timestamp, or the first record whose
// timestamp is at or after at.
func (e *Engine) ListOffset(ctx context.Context, tp karst.TopicPartition, at karst.Timestamp, current karst.Epoch, committed bool) (Found, error) {
	p, err := e.lead(tp)
	if err != nil {
		return Found{}, err
	}
	return p.ListOffset(ctx, e.deps.Segments, e.deps.Decoder, at, current, committed)
}

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch at or below want and
// where it ended; want and where the log's first epoch starts if all are newer;
// NoEpoch and -1 if want is newer than all.
func (e *Engine) EpochEnd(tp karst.TopicPartition, current, want karst.Epoch) (EpochEnd, error) {
	p, err := e.lead(tp)
	if err != nil {
		return EpochEnd{}, err
	}
	return p.EpochEnd(current, want)
}

// DeleteRecords moves the log start to before (-1: the high watermark). The
// answer low holds once commit (nil: already) is done.
func (e *Engine) DeleteRecords(tp karst.TopicPartition, before karst.Offset) (low karst.Offset, commit *wal.Commit, err error) {
	p, err := e.lead(tp)
	if err != nil {
		return 0, nil, err
	}
	return p.DeleteRecords(e.deps.Log, before)
}

// Checkpoint encodes the producer state of a partition as it was just before
// next (flush.Partitions). A full one is given even where nothing was appended:
// then the producers are read first.
func (e *Engine) Checkpoint(ctx context.Context, tp karst.TopicPartition, next karst.Offset, full bool) ([]byte, bool) {
	p, err := e.lead(tp)
	if err != nil {
		return nil, false
	}
	if full {
		if err := p.Load(ctx, e.deps.Segments, time.Now(), e.producerExpiry()); err != nil {
			return nil, false
		}
	}
	p.Expire(time.Now(), e.producerExpiry())
	return p.Checkpoint(next, full)
}

// LogStart is the log start offset that durable DeleteRecords entries and the
// image ask for; 0 if the partition is not led here (flush.Partitions).
func (e *Engine) LogStart(tp karst.TopicPartition) karst.Offset {
	p, err := e.lead(tp)
	if err != nil {
		return 0
	}
	return p.LogStart()
}

// Durable takes a durable WAL segment, in number order: watermarks advance,
// readers are woken, the flusher takes the segment over.
func (e *Engine) Durable(s *wal.Segment) {
	for k := range s.Slices {
		slice := &s.Slices[k]
		if p := e.open(slice.Partition); p != nil && p.Durable(s.Number, slice) {
			e.deps.Watchers.Notify(slice.Partition)
		}
	}
	for _, t := range s.Trims {
		if p := e.open(t.Partition); p != nil && p.Trimmed(t) {
			e.deps.Watchers.Notify(t.Partition)
		}
	}
	e.memory.add(s)
	e.deps.Flush(s)
	e.evict()
}

func (e *Engine) open(tp karst.TopicPartition) *partition.Partition {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.partitions[tp]
}

// Apply takes a newer image and what changed (metadata.Listener). Images that
// are older than the engine's count for what changed only.
func (e *Engine) Apply(img *metadata.Image, d *metadata.Delta) {
	ended, changed := e.install(img, d)
	for _, p := range ended {
		p.Close()
	}
	for _, tp := range changed {
		e.deps.Watchers.Notify(tp)
	}
	if d.Reset {
		e.deps.Watchers.NotifyAll()
	}
	if b, ok := img.Broker(e.cfg.Self); ok {
		e.memory.flushed(b.Trim)
	}
	e.evict()
	e.room.free()
}

// install gives the open partitions their new states. It returns those whose
// leadership ended, and all that changed.
func (e *Engine) install(img *metadata.Image, d *metadata.Delta) (ended []*partition.Partition, changed []karst.TopicPartition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if img.Position().Compare(e.image.Position()) > 0 {
		e.image = img
	}
	for _, id := range d.Topics {
		delete(e.rules, id)
	}
	if d.BrokerConfigs { // they are the defaults of topics'
		clear(e.rules)
	}
	changed = d.Partitions
	if d.Reset { // the image jumped: anything may have changed
		clear(e.rules)
		changed = slices.Collect(maps.Keys(e.partitions))
	}
	for _, tp := range changed {
		p := e.partitions[tp]
		if p == nil {
			continue
		}
		s, ok := e.image.Partition(tp)
		if !ok || s.Leader != e.cfg.Self || s.Epoch != p.Epoch() || e.over() {
			delete(e.partitions, tp)
			ended = append(ended, p)
			continue
		}
		p.Install(s)
	}
	return ended, changed
}

// Close ends every leadership and releases the memory of all partitions.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	all := e.partitions
	e.partitions = make(map[karst.TopicPartition]*partition.Partition)
	e.mu.Unlock()
	for _, p := range all {
		p.Close()
	}
}
