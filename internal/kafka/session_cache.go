package kafka

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// sessionSlots is max.incremental.fetch.session.cache.slots.
	sessionSlots = 1000
	// sessionPartitions bounds the partitions in all sessions together: each costs
	// a few hundred bytes.
	sessionPartitions = 1 << 20
	// sessionIdle is how long a session must be unused, or must have lived, before
	// another may take its slot (min.incremental.fetch.session.eviction.ms).
	sessionIdle = 2 * time.Minute
)

// The epochs of requests that do not continue a session.
const (
	sessionlessEpoch int32 = -1
	newSessionEpoch  int32 = 0
)

// sessions is the cache of fetch sessions of a broker (KIP-227). Any connection
// may continue a session, one fetch at a time.
//
// A new session takes a free slot, or that of one unused for sessionIdle, or
// that of a smaller one that is older than sessionIdle. Otherwise its client
// goes without (session id 0).
type sessions struct {
	slots         int
	partitionsMax int
	newID         func() int32

	mu         sync.Mutex
	byID       map[int32]*session
	partitions int
	evictions  int64
}

func newSessions(slots int) *sessions {
	return &sessions{
		slots: slots, partitionsMax: sessionPartitions,
		newID: func() int32 { return 1 + rand.Int32N(math.MaxInt32) },
		byID:  make(map[int32]*session),
	}
}

// begin finds or makes the session that a request is served by, and gives it to
// the caller until end. The code is that of a session error: the client has to
// start a new one.
func (c *sessions) begin(now time.Time, q *fetchRequest) (*session, int16) {
	if q.epoch == sessionlessEpoch || q.epoch == newSessionEpoch {
		return c.full(now, q), 0
	}
	s, code := c.resume(now, q)
	if s == nil {
		return nil, code
	}
	s.update(q.partitions, q.forget)
	if s.count == 0 {
		// Nothing is left: it ends, as in Kafka.
		c.remove(s.id)
		c.end(s)
		return alone(q), 0
	}
	if !c.resize(s) {
		c.remove(s.id)
		c.end(s)
		return nil, kerr.FetchSessionIDNotFound.Code
	}
	return s, 0
}

// alone is the session of a request that has none.
func alone(q *fetchRequest) *session {
	s := &session{ready: make([]*fetchPartition, 0, len(q.partitions))}
	for i := range q.partitions {
		s.add(&q.partitions[i])
	}
	return s
}

// full serves a request that lists everything; any session it names is closed.
func (c *sessions) full(now time.Time, q *fetchRequest) *session {
	if q.session != 0 {
		c.remove(q.session)
	}
	if q.epoch == sessionlessEpoch {
		return alone(q)
	}
	s := &session{epoch: 1, byID: q.version >= 13, created: now, used: now, busy: true}
	s.update(q.partitions, nil)
	s.size = s.count
	c.mu.Lock()
	dropped, ok := c.room(now, s.size)
	if ok {
		for s.id == 0 || c.byID[s.id] != nil {
			s.id = c.newID()
		}
		c.byID[s.id] = s
		c.partitions += s.size
	}
	c.mu.Unlock()
	if dropped != nil {
		dropped.close()
	}
	return s
}

// room makes room for a session of size partitions. dropped, if not nil, was
// evicted and is to be closed by the caller. The caller holds the lock.
func (c *sessions) room(now time.Time, size int) (dropped *session, ok bool) {
	if c.partitions+size > c.partitionsMax {
		return nil, false
	}
	if len(c.byID) < c.slots {
		return nil, true
	}
	victim := c.victim(now, size)
	if victim == nil {
		return nil, false
	}
	c.evictions++
	return c.drop(victim), true
}

// victim is the session that one of size partitions may replace.
func (c *sessions) victim(now time.Time, size int) *session {
	var oldest, smallest *session
	for _, s := range c.byID {
		if oldest == nil || s.used.Before(oldest.used) {
			oldest = s
		}
		if now.Sub(s.created) > sessionIdle && (smallest == nil || s.size < smallest.size || (s.size == smallest.size && s.id < smallest.id)) {
			smallest = s
		}
	}
	switch {
	case oldest != nil && now.Sub(oldest.used) > sessionIdle:
		return oldest
	case smallest != nil && smallest.size < size:
		return smallest
	}
	return nil
}

// drop takes s out of the cache and returns it if the caller is to close it: a
// busy one is closed by end.
func (c *sessions) drop(s *session) *session {
	delete(c.byID, s.id)
	c.partitions -= s.size
	s.dead = true
	if s.busy {
		return nil
	}
	return s
}

// remove closes a session if there is one of that id.
func (c *sessions) remove(id int32) {
	c.mu.Lock()
	var dropped *session
	if s := c.byID[id]; s != nil {
		dropped = c.drop(s)
	}
	c.mu.Unlock()
	if dropped != nil {
		dropped.close()
	}
}

// resume finds the session that a request continues.
func (c *sessions) resume(now time.Time, q *fetchRequest) (*session, int16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.byID[q.session]
	switch {
	case s == nil:
		return nil, kerr.FetchSessionIDNotFound.Code
	case s.epoch != q.epoch, s.busy:
		// A second fetch while one goes on comes from a client that has given the
		// first one up; it gets a new session.
		return nil, kerr.InvalidFetchSessionEpoch.Code
	case s.byID != (q.version >= 13):
		return nil, kerr.FetchSessionTopicIDError.Code
	}
	s.epoch = nextEpoch(s.epoch)
	s.used, s.busy, s.incremental = now, true, true
	return s, 0
}

// resize counts the partitions of s anew; false if there are too many in all.
func (c *sessions) resize(s *session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.dead {
		return true
	}
	c.partitions += s.count - s.size
	s.size = s.count
	return c.partitions <= c.partitionsMax
}

// end gives a session back.
func (c *sessions) end(s *session) {
	c.mu.Lock()
	s.busy = false
	over := s.dead || s.id == 0
	c.mu.Unlock()
	if over {
		s.close()
	}
}
