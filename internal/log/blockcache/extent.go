package blockcache

import (
	"container/list"
	"context"
	"fmt"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/chunk"
	"github.com/karst-io/karst/internal/store"
)

type blockKey struct {
	name  string
	block int64
}

// evictable is what the order of eviction holds: an extent or an index.
type evictable interface {
	// forget removes it from its map, under the cache's lock.
	forget(c *Cache)
	bytes() int64
	inUse() bool
	// free gives the memory back, without the lock.
	free()
}

// extent is a run of adjacent blocks of one object, read with one GET.
type extent struct {
	name   string
	first  int64 // block
	blocks int
	done   chan struct{} // closed when loaded or failed

	// Written before done is closed, read after.
	err error
	mem *chunk.Chunk
	n   int // bytes of mem that the object has
	pos int64

	// Under the cache's lock.
	loading bool
	fresh   bool // begun by the pin that is under way
	refs    int
	elem    *list.Element
	dropped bool         // discredited: no longer in the map, freed with its last hold
	vouched []karst.Span // of the object: what readers have checked; apart, in order, not adjacent
}

func (x *extent) bytes() int64 { return int64(len(x.mem.Bytes())) }
func (x *extent) inUse() bool  { return x.refs > 0 }
func (x *extent) free()        { x.mem.Release() }

func (x *extent) forget(c *Cache) {
	for i := range x.blocks {
		if k := (blockKey{x.name, x.first + int64(i)}); c.blocks[k] == x {
			delete(c.blocks, k)
		}
	}
}

// discredit takes loaded extents, which the caller holds, out of the cache.
func (c *Cache) discredit(xs []*extent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range xs {
		if x.dropped || x.loading || x.elem == nil {
			continue
		}
		x.dropped = true
		c.lru.Remove(x.elem)
		x.forget(c)
		c.used -= x.bytes()
	}
}

func (x *extent) wait(ctx context.Context) error {
	select {
	case <-x.done:
		return x.err
	default:
	}
	select {
	case <-x.done:
		return x.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin starts the GET of the missing blocks from b on: up to last, the first
// block that is known, or the bound of one GET. Under the lock.
func (c *Cache) begin(name string, b, last int64, caller store.Caller) *extent {
	x := &extent{name: name, first: b, done: make(chan struct{}), loading: true, fresh: true}
	x.pos = b * int64(c.c.BlockBytes)
	most := max(1, extentBytes/c.c.BlockBytes)
	for ; b <= last && x.blocks < most && c.blocks[blockKey{name, b}] == nil; b++ {
		c.blocks[blockKey{name, b}] = x
		x.blocks++
	}
	c.stats.Gets++
	c.wg.Add(1)
	go c.load(x, caller)
	return x
}

// load makes the GET of an extent.
func (c *Cache) load(x *extent, caller store.Caller) {
	defer c.wg.Done()
	mem := c.c.Chunks.Get(x.blocks * c.c.BlockBytes)
	n, err := c.r.Get(store.WithCaller(c.ctx, caller), x.name, x.pos, mem.Bytes())
	if err == nil && n < len(mem.Bytes())/2 {
		mem = shrink(c.c.Chunks, mem, n) // small objects must not cost a whole block
	}
	if err != nil {
		mem.Release()
		x.err = err
	} else {
		x.mem, x.n = mem, n
	}

	c.mu.Lock()
	x.loading = false
	var free []evictable
	if err != nil {
		c.stats.FailedGets++
		x.forget(c)
	} else {
		c.stats.BytesRead += int64(n)
		x.elem = c.lru.PushFront(x)
		c.used += x.bytes()
		if x.inUse() {
			c.held += x.bytes()
		}
		free = c.evict(c.c.MemoryBytes)
	}
	c.mu.Unlock()
	close(x.done)
	release(free)
}

func shrink(p *chunk.Pool, from *chunk.Chunk, n int) *chunk.Chunk {
	to := p.Get(max(n, 1))
	copy(to.Bytes(), from.Bytes()[:n])
	from.Release()
	return to
}

// hold counts one more user. Under the lock.
func (c *Cache) hold(x *extent) {
	if x.refs++; x.refs == 1 && !x.loading {
		c.held += x.bytes()
	}
}

// unpin gives holds back, and evicts what the budget waited for.
func (c *Cache) unpin(xs []*extent) {
	c.mu.Lock()
	var free []evictable
	for _, x := range xs {
		if x.refs--; x.refs < 0 {
			panic("BUG: blockcache: more releases than holds")
		}
		if x.refs == 0 && !x.loading && x.mem != nil {
			c.held -= x.bytes()
			if x.dropped {
				free = append(free, x)
			}
		}
	}
	limit := c.c.MemoryBytes
	if c.closed {
		limit = 0
	}
	free = append(free, c.evict(limit)...)
	c.mu.Unlock()
	release(free)
}

// evict takes out the least recently used that nobody holds until at most limit
// bytes are used. Under the lock; the caller releases what is returned after.
func (c *Cache) evict(limit int64) (free []evictable) {
	for e := c.lru.Back(); e != nil && c.used > limit; {
		next := e.Prev()
		v, ok := e.Value.(evictable)
		if !ok {
			panic("BUG: blockcache: foreign value in the order")
		}
		if !v.inUse() {
			c.lru.Remove(e)
			v.forget(c)
			c.used -= v.bytes()
			c.stats.Evictions++
			c.stats.EvictedBytes += v.bytes()
			free = append(free, v)
		}
		e = next
	}
	return free
}

func release(vs []evictable) {
	for _, v := range vs {
		v.free()
	}
}

// cut returns the parts of the extents that make up span.
func cut(name string, span karst.Span, xs []*extent) ([][]byte, error) {
	parts := make([][]byte, 0, len(xs))
	at, end := span.Pos, span.Pos+span.Len
	for i, x := range xs {
		till := end
		if i+1 < len(xs) {
			till = min(till, xs[i+1].pos)
		}
		if x.pos+int64(x.n) < till {
			return nil, &karst.CorruptError{
				Object: name, Offset: x.pos + int64(x.n),
				Reason: fmt.Sprintf("the object ends inside bytes %d to %d that are said to be there", span.Pos, end),
			}
		}
		parts = append(parts, x.mem.Bytes()[at-x.pos:till-x.pos:till-x.pos])
		at = till
	}
	return parts, nil
}
