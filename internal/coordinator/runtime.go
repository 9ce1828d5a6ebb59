package coordinator

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/metadata"
)

// Config bounds a Runtime; zero values are the defaults.
type Config struct {
	Topic        string // the internal topic whose partitions have machines
	Self         karst.Incarnation
	BatchBytes   int64 // of one record batch; 512 KiB. One effect may exceed it
	PendingBytes int64 // of records not durable, above which operations are refused; 64 MiB
	CallsMax     int   // operations that wait for their answer; 131,072
	Loads        int   // partitions loaded at once; 16
}

func (c Config) withDefaults() Config {
	if c.BatchBytes <= 0 {
		c.BatchBytes = 512 << 10
	}
	if c.PendingBytes <= 0 {
		c.PendingBytes = 64 << 20
	}
	if c.CallsMax <= 0 {
		c.CallsMax = 1 << 17
	}
	if c.Loads <= 0 {
		c.Loads = 16
	}
	return c
}

// Deps is what a Runtime works with.
type Deps[M Machine] struct {
	Log     Log
	Decoder *record.Decoder
	New     func(partition int32) M // an empty machine
	// Loaded is done after Start, before anything else; nil: nothing. What it looks
	// at it may be told of with Tell, too: that reaches every machine for which
	// Loaded came too early.
	Loaded func(m M, now time.Time) []Effect
	Logger *slog.Logger
}

// Runtime runs the machines of one internal topic in one incarnation. What a
// machine decides it decides in Do; the records of all decisions between two
// segments of the write-ahead log lie in one batch for each partition, which
// Gather appends just before the segment is sealed.
//
// Invariants:
//
//   - I6: an answer is given when every record of its key so far is durable.
//     Records of other keys do not matter: what is told of one group does not
//     depend on another.
//   - Batches of a partition enter the log in the order of the decisions. When one
//     is refused, none after it is appended, and the state is loaded anew.
//   - What is loaded is what was durable: a shard is loaded after everything that
//     the shard before it appended is known to be durable, or never to be.
//
// Rejected: undoing decisions whose records cannot be written. The log never
// refuses one while the incarnation leads, and after that the state is no longer
// ours.
type Runtime[M Machine] struct {
	cfg    Config
	deps   Deps[M]
	log    Log
	logger *slog.Logger
	wake   chan struct{} // buffered; tells Run to look

	bytes  atomic.Int64 // of records not durable
	calls  atomic.Int64
	counts counts
	proofs proofs

	mu      sync.Mutex // a leaf: taken under the mu of a shard
	over    bool       // Run has ended
	image   *metadata.Image
	topic   karst.TopicID
	shards  map[int32]*shard[M]
	opens   []*shard[M] // with an open batch, perhaps
	spare   []*shard[M] // for reuse
	flights []flight[M] // appended, not known to be durable, in order
	due     deadlines[*shard[M]]
	queue   []*shard[M] // to be loaded
	wants   []*shard[M] // to be loaded first

	running int // loads; Run's
}

// flight is a batch on its way to the store.
type flight[M Machine] struct {
	commit Commit
	shard  *shard[M]
	number uint64
}

type counts struct {
	loads, loadNanos, loaded, batches, records, failures atomic.Uint64
}

// New makes a Runtime that leads nothing.
func New[M Machine](cfg Config, deps Deps[M]) *Runtime[M] {
	return &Runtime[M]{
		cfg: cfg.withDefaults(), deps: deps, log: deps.Log, logger: deps.Logger, proofs: proofs{log: deps.Log},
		wake: make(chan struct{}, 1), shards: make(map[int32]*shard[M]),
	}
}

// Do runs an operation on the machine of a partition. It never waits: op has run
// when it returns, unless it returns an error; those are definite, of the codes
// NotCoordinator, CoordinatorLoading and CoordinatorNotAvailable. The Call has
// the body of the Answer that some effect gives to t, now or later. fresh: the
// answer is given only once it is proved that the partition was led here when op
// ran; an answer that tells of records written by op itself needs no such proof.
func (r *Runtime[M]) Do(partition int32, fresh bool, op func(m M, now time.Time, t Ticket) []Effect) (*Call, error) {
	return r.admitted(partition, fresh, r.cfg.CallsMax, op)
}

// DoParked is Do of an operation whose answer may wait for what other callers do,
// for as long as these like. Such operations leave a quarter of the places to the
// others: whoever fills theirs keeps nobody's session from going on.
func (r *Runtime[M]) DoParked(partition int32, fresh bool, op func(m M, now time.Time, t Ticket) []Effect) (*Call, error) {
	return r.admitted(partition, fresh, r.cfg.CallsMax-r.cfg.CallsMax/4, op)
}

// admitted runs an operation unless as many as most wait for their answers.
func (r *Runtime[M]) admitted(partition int32, fresh bool, most int, op func(m M, now time.Time, t Ticket) []Effect) (*Call, error) {
	r.mu.Lock()
	s := r.shards[partition]
	r.mu.Unlock()
	if s == nil {
		return nil, r.notCoordinator(partition)
	}
	return s.do(fresh, most, op)
}

func (r *Runtime[M]) notCoordinator(partition int32) error {
	return karst.NotCoordinator.Errorf("partition %d of %s is not led here", partition, r.cfg.Topic)
}

// Tell runs an operation on every machine that is loaded.
func (r *Runtime[M]) Tell(op func(m M, now time.Time) []Effect) {
	for _, s := range r.all() {
		s.tell(op)
	}
}

// Each shows f every machine that is loaded, one at a time; f must not change
// it. It reports whether all were.
func (r *Runtime[M]) Each(f func(m M)) (whole bool) {
	whole = true
	for _, s := range r.all() {
		whole = s.each(f) && whole
	}
	return whole
}

func (r *Runtime[M]) all() []*shard[M] {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*shard[M], 0, len(r.shards))
	for _, s := range r.shards {
		all = append(all, s)
	}
	return all
}

// Gather appends the open batches to the log: one batch for each partition with
// new records. The write-ahead log calls it just before it seals a segment.
func (r *Runtime[M]) Gather() {
	r.mu.Lock()
	opens := r.opens
	r.opens, r.spare = r.spare[:0], nil
	r.mu.Unlock()
	for k, s := range opens {
		s.gather()
		opens[k] = nil
	}
	r.mu.Lock()
	r.spare = opens[:0]
	r.mu.Unlock()
}

// opened notes that a shard has an open batch.
func (r *Runtime[M]) opened(s *shard[M]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opens = append(r.opens, s)
}

// fly notes a batch that was appended.
func (r *Runtime[M]) fly(f flight[M]) {
	r.mu.Lock()
	r.flights = append(r.flights, f)
	first := len(r.flights) == 1
	r.mu.Unlock()
	if first {
		r.look()
	}
}

// look makes Run look.
func (r *Runtime[M]) look() {
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// schedule makes Run look at a shard's deadline at a time, or before: two steps of
// a shard may come here in another order than they were made in, and the earlier
// time is the one that counts. To look too early is harmless.
func (r *Runtime[M]) schedule(s *shard[M], at time.Time) {
	r.mu.Lock()
	first := r.shards[int32(s.id.Partition)] == s && r.due.lower(s, at)
	r.mu.Unlock()
	if first {
		r.look()
	}
}

func (r *Runtime[M]) unschedule(s *shard[M]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due.remove(s)
}

// Run loads partitions, releases answers and looks at deadlines, until ctx ends;
// then every shard does, and nothing that it started goes on when it returns.
func (r *Runtime[M]) Run(ctx context.Context) error {
	loaded := make(chan struct{}, r.cfg.Loads)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer r.stop(loaded)
	for {
		r.expireDue(time.Now())
		r.startLoads(ctx, loaded)
		done, next := r.land()
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-r.wake:
		case <-timer.C:
		case <-done:
		case <-loaded:
			r.ended()
		case <-ctx.Done():
			return nil
		}
	}
}

// expireDue gives every shard its turn whose deadline has come.
func (r *Runtime[M]) expireDue(now time.Time) {
	for {
		r.mu.Lock()
		s, ok := r.due.pop(now)
		r.mu.Unlock()
		if !ok {
			return
		}
		if s.phaseNow() == loading {
			r.enqueue(s) // it waited after a failure
			continue
		}
		s.expire(now)
	}
}

// land takes the flights that have ended. It returns the end of the next one,
// nil for none, and when the next deadline is, zero for never.
func (r *Runtime[M]) land() (done <-chan struct{}, next time.Time) {
	for {
		r.mu.Lock()
		next, _ = r.due.next()
		if len(r.flights) == 0 {
			r.flights = nil
			r.mu.Unlock()
			return nil, next
		}
		f := r.flights[0] // only this goroutine takes it out
		r.mu.Unlock()
		select {
		case <-f.commit.Done():
		default:
			return f.commit.Done(), next
		}
		r.mu.Lock()
		r.flights[0] = flight[M]{}
		r.flights = r.flights[1:]
		r.mu.Unlock()
		f.shard.confirmed(f.number, f.commit.Err())
	}
}

// stop ends everything.
func (r *Runtime[M]) stop(loaded chan struct{}) {
	r.mu.Lock()
	r.over = true
	all := r.shards
	r.shards = make(map[int32]*shard[M])
	r.mu.Unlock()
	for _, s := range all {
		s.end()
	}
	for r.running > 0 {
		<-loaded
		r.running--
	}
}
