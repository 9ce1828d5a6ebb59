package chunk

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// ErrTooLarge: more was asked for than the pool's whole budget.
var ErrTooLarge = errors.New("larger than the memory budget")

// Config bounds a Pool.
type Config struct {
	IdleBytes  int64 // freed memory kept resident for reuse
	LimitBytes int64 // what Acquire stays within; 0 for no limit
	// Poison fills released memory with a pattern and never reuses a Chunk, so
	// that use after release shows. For tests; tag chunkdebug sets it everywhere.
	Poison bool
}

// shards spreads the free list of a class over locks, so that two cores rarely
// meet at one.
const shards = 4

// Pool hands out chunks within a budget. Sizes count as those of their class.
type Pool struct {
	config Config
	free   [classes][shards]shard
	inUse  atomic.Int64
	idle   atomic.Int64 // resident bytes in free blocks
	victim atomic.Uint32

	waiting atomic.Int32 // waiters in queue; written under mu
	mu      sync.Mutex
	queue   []*waiter
	slabs   [][]byte
}

// shard is a part of one class's free blocks.
type shard struct {
	mu   sync.Mutex
	warm []*Chunk // resident, most recently used last
	cold []*Chunk // pages given back
	_    [8]byte  // to a cache line
}

// waiter is one Acquire that waits for its turn.
type waiter struct {
	bytes   int64
	granted chan struct{}
	done    bool // granted; under Pool.mu
}

// New makes a pool.
func New(c Config) *Pool {
	c.Poison = c.Poison || poisonAll
	return &Pool{config: c}
}

// NewPool makes a pool that keeps up to idleBytes of freed memory for reuse and
// has no limit.
func NewPool(idleBytes int64) *Pool { return New(Config{IdleBytes: idleBytes}) }

// Get returns a chunk of at least size bytes, Bytes() being exactly size long.
// The content is undefined. It does not wait, and may exceed the limit.
func (p *Pool) Get(size int) *Chunk {
	class, bytes := sizeOf(size)
	p.inUse.Add(int64(bytes))
	return p.take(class, size)
}

// Acquire is Get within the limit: it waits, first come first served, until the
// chunk fits. Its error is ctx's, or ErrTooLarge.
func (p *Pool) Acquire(ctx context.Context, size int) (*Chunk, error) {
	class, n := sizeOf(size)
	bytes := int64(n)
	if p.config.LimitBytes > 0 && bytes > p.config.LimitBytes {
		return nil, fmt.Errorf("%d bytes: %w of %d", size, ErrTooLarge, p.config.LimitBytes)
	}
	if p.waiting.Load() > 0 || !p.reserve(bytes) {
		if err := p.wait(ctx, bytes); err != nil {
			return nil, err
		}
	}
	return p.take(class, size), nil
}

// InUse is the number of bytes in chunks that are held.
func (p *Pool) InUse() int64 { return p.inUse.Load() }

// Limit is the budget of Acquire, 0 for none.
func (p *Pool) Limit() int64 { return p.config.LimitBytes }

// Idle is the number of resident bytes kept for reuse.
func (p *Pool) Idle() int64 { return p.idle.Load() }

// Close gives all memory back to the system. It refuses, and leaves everything
// as it is, while chunks are held: better a leak than a fault. Nothing may be
// asked of the pool afterwards.
func (p *Pool) Close() error {
	if n := p.InUse(); n != 0 {
		return fmt.Errorf("%d bytes of chunks are still held", n)
	}
	for class := range p.free {
		for i := range p.free[class] {
			s := &p.free[class][i]
			s.mu.Lock()
			s.warm, s.cold = nil, nil
			s.mu.Unlock()
		}
	}
	p.idle.Store(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.slabs {
		unmapMemory(s)
	}
	p.slabs = nil
	return nil
}

// sizeOf is the class of a size and what it counts as.
func sizeOf(size int) (class, bytes int) {
	if size < 0 {
		panic(fmt.Sprintf("BUG: chunk of %d bytes", size))
	}
	if class = classOf(size); class == ownMapping {
		return class, (size + pageBytes - 1) / pageBytes * pageBytes
	}
	return class, classBytes(class)
}

// take finds or makes a chunk; its bytes are already counted.
func (p *Pool) take(class, size int) *Chunk {
	var c *Chunk
	if class == ownMapping {
		_, bytes := sizeOf(size)
		c = &Chunk{block: mapMemory(bytes), class: class, pool: p}
	} else if c = p.pop(class); c == nil {
		c = p.carve(class)
	}
	c.b = c.block[:size:size]
	c.holds.Store(1)
	return c
}

// pop takes a free block, warm ones first.
func (p *Pool) pop(class int) *Chunk {
	at := rand.Uint32()
	for _, warm := range [2]bool{true, false} {
		for i := range uint32(shards) {
			s := &p.free[class][(at+i)%shards]
			s.mu.Lock()
			c := s.popLocked(warm)
			s.mu.Unlock()
			if c == nil {
				continue
			}
			if warm {
				p.idle.Add(-int64(len(c.block)))
			}
			return c
		}
	}
	return nil
}

func (s *shard) popLocked(warm bool) *Chunk {
	list := &s.cold
	if warm {
		list = &s.warm
	}
	n := len(*list)
	if n == 0 {
		return nil
	}
	c := (*list)[n-1]
	(*list)[n-1] = nil
	*list = (*list)[:n-1]
	return c
}

// carve maps memory for the class and returns its first block; the others
// become free, without pages.
func (p *Pool) carve(class int) *Chunk {
	size := classBytes(class)
	if !carved {
		return &Chunk{block: mapMemory(size), class: class, pool: p}
	}
	slab := mapMemory(slabBytes)
	p.mu.Lock()
	p.slabs = append(p.slabs, slab)
	p.mu.Unlock()
	blocks := make([]Chunk, slabBytes/size)
	s := &p.free[class][rand.Uint32()%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range blocks {
		c := &blocks[i]
		c.block, c.class, c.pool = slab[i*size:(i+1)*size:(i+1)*size], class, p
		if i > 0 {
			s.cold = append(s.cold, c)
		}
	}
	return &blocks[0]
}

// put takes back a chunk whose last hold is gone.
func (p *Pool) put(c *Chunk) {
	bytes := int64(len(c.block))
	if p.config.Poison {
		for i := range c.block {
			c.block[i] = poison
		}
		// A Chunk that is never handed out again keeps its count at zero: a late
		// Retain or Release panics.
		c = &Chunk{block: c.block, class: c.class, pool: p}
	}
	if c.class == ownMapping {
		if !p.config.Poison { // its readers shall see the poison, not a fault
			unmapMemory(c.block)
		}
	} else {
		s := &p.free[c.class][rand.Uint32()%shards]
		s.mu.Lock()
		s.warm = append(s.warm, c)
		s.mu.Unlock()
		if p.idle.Add(bytes) > p.config.IdleBytes {
			p.cool()
		}
	}
	p.inUse.Add(-bytes)
	if p.waiting.Load() > 0 {
		p.grant()
	}
}

// cool gives pages back until the idle budget is kept. It goes round the
// classes, so that one that is no longer asked for does not keep its memory.
func (p *Pool) cool() {
	for tries := 0; tries < classes*shards && p.idle.Load() > p.config.IdleBytes; tries++ {
		v := p.victim.Add(1) % (classes * shards)
		class, s := int(v/shards), &p.free[v/shards][v%shards]
		s.mu.Lock()
		c := s.popLocked(true)
		s.mu.Unlock()
		if c == nil {
			continue
		}
		tries = 0
		p.idle.Add(-int64(len(c.block)))
		if !carved {
			continue // the collector takes it
		}
		giveBack(c.block)
		s = &p.free[class][v%shards]
		s.mu.Lock()
		s.cold = append(s.cold, c)
		s.mu.Unlock()
	}
}

// reserve counts bytes as used if they fit.
func (p *Pool) reserve(bytes int64) bool {
	for {
		used := p.inUse.Load()
		if p.config.LimitBytes > 0 && used+bytes > p.config.LimitBytes {
			return false
		}
		if p.inUse.CompareAndSwap(used, used+bytes) {
			return true
		}
	}
}

// wait queues for bytes; they are counted when it returns nil.
func (p *Pool) wait(ctx context.Context, bytes int64) error {
	w := &waiter{bytes: bytes, granted: make(chan struct{})}
	p.mu.Lock()
	p.queue = append(p.queue, w)
	p.waiting.Store(int32(len(p.queue)))
	p.mu.Unlock()
	// A release between the failed reserve and the queueing saw no waiter.
	p.grant()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	granted := w.done
	for i, q := range p.queue {
		if q == w {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			break
		}
	}
	p.waiting.Store(int32(len(p.queue)))
	p.mu.Unlock()
	if granted {
		p.inUse.Add(-bytes)
	}
	p.grant() // whoever stood behind may fit
	return context.Cause(ctx)
}

// grant serves the queue's head as long as it fits.
func (p *Pool) grant() {
	var served []*waiter
	p.mu.Lock()
	for len(p.queue) > 0 && p.reserve(p.queue[0].bytes) {
		w := p.queue[0]
		w.done = true
		p.queue[0] = nil
		p.queue = p.queue[1:]
		served = append(served, w)
	}
	p.waiting.Store(int32(len(p.queue)))
	p.mu.Unlock()
	for _, w := range served {
		close(w.granted)
	}
}
