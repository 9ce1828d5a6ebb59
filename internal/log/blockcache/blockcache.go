// Package blockcache holds ranges of segments in memory: one GET per range
// however many readers want it, read-ahead that grows while a reader is
// sequential, and a budget.
//
// The unit is the block: BlockBytes, aligned in the object. Adjacent missing
// blocks are fetched with one ranged GET of at most extentBytes into one
// piece of memory, an extent, and are evicted together: memory is then freed
// exactly when it is counted as freed. (Rejected: evicting single blocks of a
// shared chunk. The chunk stays until its last block goes, so the budget would
// lie.) Decoded indexes are counted in the same budget and the same order.
//
// Least recently used goes first, and only what nobody holds goes. If all of it
// is held, a read still goes through and the cache is above its budget until
// views are released: refusing would stop readers whose requests are admitted
// elsewhere.
//
// A failed GET is not kept. A reader whose context ends leaves the GET running
// for whoever shares it. A GET is made on behalf of the caller
// (store.CallerOf) whose reader started it.
package blockcache

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/store"
)

// extentBytes bounds one GET, and what is evicted at once: the largest block of
// memory that package chunk pools. A block of the cache may be larger.
const extentBytes = 4 << 20

// ErrClosed: the cache was closed.
var ErrClosed = errors.New("block cache is closed")

// Config bounds a Cache.
type Config struct {
	MemoryBytes int64       // for blocks and decoded indexes
	BlockBytes  int         // unit of caching, aligned in the object; 0 for 1 MiB
	AheadBytes  int         // most that is read ahead of one reader; 0 for none
	Chunks      *chunk.Pool // where blocks live; nil for a pool of the cache's own
}

// Stats counts since the start. Every block a Read needed counts exactly once,
// as a hit, a shared GET or a miss.
type Stats struct {
	Hits, Shared, Misses                int64 // blocks
	IndexHits, IndexShared, IndexMisses int64
	Gets, AheadGets, FailedGets         int64 // requests; ahead ones are counted in Gets, too
	BytesRead                           int64 // from the store, index blocks included
	Evictions                           int64 // extents and indexes
	EvictedBytes, UsedBytes, HeldBytes  int64 // Used and Held are gauges
	MemoryBytes                         int64
}

// Cache is a cache of parts of immutable objects.
type Cache struct {
	r   store.Reader
	c   Config
	ctx context.Context // of the GETs: they outlive the reader that began them
	end context.CancelFunc
	wg  sync.WaitGroup // GETs

	mu      sync.Mutex
	closed  bool
	blocks  map[blockKey]*extent
	indexes map[indexKey]*index
	lru     *list.List // of evictable, front is newest; loaded ones only
	used    int64
	held    int64
	track   tracker
	stats   Stats
}

// New makes a cache over r. Close it.
func New(r store.Reader, c Config) *Cache {
	if c.BlockBytes <= 0 {
		c.BlockBytes = 1 << 20
	}
	if c.Chunks == nil {
		c.Chunks = chunk.NewPool(c.MemoryBytes / 4)
	}
	ctx, end := context.WithCancel(context.Background())
	return &Cache{
		r: r, c: c, ctx: ctx, end: end,
		blocks: map[blockKey]*extent{}, indexes: map[indexKey]*index{},
		lru: list.New(), track: newTracker(),
	}
}

// Close cancels what is being read, waits for it, and frees what nobody holds;
// views that are still held stay good until they are released.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.wg.Wait()
	c.mu.Lock()
	free := c.evict(0)
	c.mu.Unlock()
	release(free)
}

// Stats returns the counters.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.UsedBytes, s.HeldBytes, s.MemoryBytes = c.used, c.held, c.c.MemoryBytes
	return s
}

// Read returns the bytes of span of the object named. within is the span that a
// sequential reader will go on to read (a partition's data in the segment):
// read-ahead stays inside it. store.ErrNotFound comes through; an object that
// ends inside span is a *karst.CorruptError.
func (c *Cache) Read(ctx context.Context, name string, span, within karst.Span) (View, error) {
	if span.Pos < 0 || span.Len < 0 {
		panic("BUG: blockcache: negative span")
	}
	if span.Len == 0 {
		return View{Hold: &viewHold{}}, nil
	}
	need, err := c.pin(ctx, name, span, within)
	if err != nil {
		return View{}, err
	}
	for _, x := range need {
		if err := x.wait(ctx); err != nil {
			c.unpin(need)
			return View{}, err
		}
	}
	v := View{Hold: newViewHold(c, need, span)}
	if v.Parts, err = cut(name, span, need); err != nil {
		v.Discredit()
		v.Hold.Release()
		return View{}, err
	}
	return v, nil
}

// pin finds or starts the extents that cover span, in order, each with a hold.
func (c *Cache) pin(ctx context.Context, name string, span, within karst.Span) ([]*extent, error) {
	var need, start []*extent
	first, last := c.block(span.Pos), c.block(span.Pos+span.Len-1)
	caller := store.CallerOf(ctx)

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	for b := first; b <= last; {
		x := c.blocks[blockKey{name, b}]
		if x == nil {
			x = c.begin(name, b, last, caller)
			start = append(start, x)
		}
		n := min(x.first+int64(x.blocks), last+1) - b
		switch {
		case !x.loading:
			c.stats.Hits += n
			c.lru.MoveToFront(x.elem)
		case x.fresh:
			c.stats.Misses += n
		default:
			c.stats.Shared += n
		}
		c.hold(x)
		need = append(need, x)
		b += n
	}
	for _, x := range start {
		x.fresh = false
	}
	c.ahead(name, span, within, last, caller)
	return need, nil
}

func (c *Cache) block(pos int64) int64 { return pos / int64(c.c.BlockBytes) }
