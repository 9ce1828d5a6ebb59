package blockcache

import (
	"container/list"
	"context"
	"unsafe"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/store"
)

type indexKey struct {
	name string
	pos  int64
}

// index is a decoded index block. Its memory is the collector's, so that it can
// be evicted at any time.
type index struct {
	key  indexKey
	done chan struct{}

	// Written before done is closed, read after.
	entries []segment.Entry
	err     error

	elem *list.Element // under the cache's lock; nil while loading
}

func (x *index) bytes() int64 {
	return int64(len(x.entries))*int64(unsafe.Sizeof(segment.Entry{})) + int64(unsafe.Sizeof(index{}))
}
func (x *index) inUse() bool     { return false }
func (x *index) free()           {}
func (x *index) forget(c *Cache) { delete(c.indexes, x.key) }

// Index returns the decoded index block of a slice. The result is shared: do
// not modify it.
func (c *Cache) Index(ctx context.Context, name string, at karst.Span, check uint32) ([]segment.Entry, error) {
	key := indexKey{name, at.Pos}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	x := c.indexes[key]
	switch {
	case x == nil:
		x = &index{key: key, done: make(chan struct{})}
		c.indexes[key] = x
		c.stats.IndexMisses++
		c.wg.Add(1)
		go c.loadIndex(x, at, check, store.CallerOf(ctx))
	case x.elem != nil:
		c.stats.IndexHits++
		c.lru.MoveToFront(x.elem)
	default:
		c.stats.IndexShared++
	}
	c.mu.Unlock()
	select {
	case <-x.done:
		return x.entries, x.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *Cache) loadIndex(x *index, at karst.Span, check uint32, caller store.Caller) {
	defer c.wg.Done()
	ctx := store.WithCaller(c.ctx, caller)
	if at.Pos >= 0 && at.Len > 0 && at.Pos+at.Len <= int64(c.c.BlockBytes) {
		x.entries, x.err = c.indexInBlock(ctx, x.key.name, at, check)
	} else {
		x.entries, x.err = c.indexAlone(ctx, x.key.name, at, check)
	}
	c.mu.Lock()
	var free []evictable
	if x.err != nil {
		x.forget(c)
	} else {
		x.elem = c.lru.PushFront(x)
		c.used += x.bytes()
		free = c.evict(c.c.MemoryBytes)
	}
	c.mu.Unlock()
	close(x.done)
	release(free)
}

// indexAlone reads an index block with a GET of its own.
func (c *Cache) indexAlone(ctx context.Context, name string, at karst.Span, check uint32) ([]segment.Entry, error) {
	entries, err := segment.ReadIndex(ctx, c.r, name, at, check)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Gets++
	if err != nil {
		c.stats.FailedGets++
	} else {
		c.stats.BytesRead += at.Len
	}
	return entries, err
}

// indexInBlock takes an index block out of its object's first block, which has the
// records before it, too, and what else a small object holds: many partitions
// that each have a little in many small objects are read with one GET for each
// object, not with one for each partition in it.
func (c *Cache) indexInBlock(ctx context.Context, name string, at karst.Span, check uint32) ([]segment.Entry, error) {
	v, err := c.Read(ctx, name, at, at)
	if err != nil {
		return nil, err
	}
	defer v.Hold.Release()
	b := make([]byte, 0, at.Len)
	for _, part := range v.Parts {
		b = append(b, part...)
	}
	entries, err := segment.DecodeIndex(name, at, check, b)
	if err != nil {
		v.Discredit() // it may be damaged in memory only
	}
	return entries, err
}
