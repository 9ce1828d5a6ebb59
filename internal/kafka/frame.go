package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/karst-io/karst/internal/chunk"
)

const (
	// smallFrame is the size up to which a frame lies in a pooled buffer, and how
	// much of a larger one must have arrived before it gets memory of its own.
	smallFrame = 4 << 10
	// frameGrowth is by how much more memory than bytes have arrived a frame gets.
	frameGrowth = 32
	headerMin   = 8 // key, version, correlation id
)

// frame is the bytes of one request, counted.
type frame struct {
	b      []byte
	memory *frameMemory
	holds  atomic.Int32
	chunk  *chunk.Chunk // nil for a small frame
	small  *[smallFrame]byte
	budget *budget
	draw   draw
}

// Retain adds a hold.
func (f *frame) Retain() {
	if f.holds.Add(1) <= 1 {
		panic("BUG: frame retained after its last release")
	}
}

// Release drops a hold; the last one returns the memory.
func (f *frame) Release() {
	switch n := f.holds.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("BUG: frame released more often than retained")
	}
	f.b = nil
	if f.small != nil {
		f.memory.small.Put(f.small)
		f.small = nil
	}
	if f.chunk != nil {
		f.chunk.Release()
		f.chunk = nil
	}
	if f.draw.held > 0 {
		f.budget.give(&f.draw)
	}
}

// frameMemory is where frames lie. Records have a budget of their own: when the
// store is slow they fill it, and fetches must still get through.
type frameMemory struct {
	pool    *chunk.Pool
	small   sync.Pool // of *[smallFrame]byte
	records budget    // frames of Produce
	other   budget
}

func newFrameMemory(pool *chunk.Pool, bytes int64) *frameMemory {
	m := &frameMemory{pool: pool, records: budget{free: max(bytes, 1<<20)}, other: budget{free: max(bytes/4, 1<<20)}}
	m.small.New = func() any { return new([smallFrame]byte) }
	return m
}

// errRefused marks what a client did wrong, as opposed to broken connections.
type errRefused struct { //nolint:errname // it reads as the other errors do
	kind   string // the reason without figures, for a metric
	reason string
}

func (e *errRefused) Error() string { return e.reason }

func refused(format string, args ...any) error {
	kind := strings.NewReplacer("%d", "N", "%v", "N", "%s", "X").Replace(format)
	return &errRefused{kind, fmt.Sprintf(format, args...)}
}

// frameTimeout is the time a client has for a frame, once its size is known:
// 128 KiB/s are enough.
func frameTimeout(base time.Duration, size int64) time.Duration {
	return base + time.Duration(size>>20)*8*time.Second
}

// readFrame reads the next frame. Nothing is allocated before the size is known.
func (c *Conn) readFrame(ctx context.Context) (*frame, error) {
	if err := c.readSize(); err != nil {
		return nil, err
	}
	size := int64(int32(binary.BigEndian.Uint32(c.size[:])))
	if size < headerMin || size > c.server.cfg.RequestBytesMax {
		return nil, refused("frame of %d bytes is not within %d and %d", size, headerMin, c.server.cfg.RequestBytesMax)
	}
	if err := c.readBefore(frameTimeout(c.server.cfg.FrameTimeout, size)); err != nil {
		return nil, err
	}
	f := &frame{memory: c.server.memory}
	f.holds.Store(1)
	if err := c.fill(ctx, f, size); err != nil {
		f.Release()
		return nil, slow(err, "frame of %d bytes came too slowly", size)
	}
	return f, nil
}

// readSize waits for the size of a frame, as long as the connection may idle.
func (c *Conn) readSize() error {
	for {
		if err := c.readBefore(c.server.cfg.IdleMax); err != nil {
			return err
		}
		n, err := io.ReadFull(c.nc, c.size[:])
		if err == nil {
			return nil
		}
		if n == 0 && timedOut(err) && !c.stopping() && c.pipeline.busy() {
			continue // it waits for an answer: that is not idle
		}
		return slow(err, "idle for %v", c.server.cfg.IdleMax)
	}
}

// fill reads size bytes into f.
func (c *Conn) fill(ctx context.Context, f *frame, size int64) error {
	f.small = f.memory.small.Get().(*[smallFrame]byte)
	f.b = f.small[:min(size, smallFrame)]
	if _, err := io.ReadFull(c.nc, f.b); err != nil {
		return err
	}
	key := int16(binary.BigEndian.Uint16(f.b))
	api, ok := c.server.apis[key]
	if !ok {
		return refused("unknown API key %d", key)
	}
	if api.frameMax > 0 && size > api.frameMax {
		return refused("frame of %d bytes is above the %d for API key %d", size, api.frameMax, key)
	}
	f.budget = &f.memory.other
	if key == produceKey {
		f.budget = &f.memory.records
		if size <= smallFrame {
			return c.draw(ctx, f, size)
		}
	}
	for have := int64(len(f.b)); have < size; have = int64(len(f.b)) {
		if err := c.grow(ctx, f, min(size, max(have*frameGrowth, 64<<10))); err != nil {
			return err
		}
		if _, err := io.ReadFull(c.nc, f.b[have:]); err != nil {
			return err
		}
	}
	return nil
}

// grow moves f into memory of size bytes.
func (c *Conn) grow(ctx context.Context, f *frame, size int64) error {
	if err := c.draw(ctx, f, size-f.draw.held); err != nil {
		return err
	}
	larger := f.memory.pool.Get(int(size))
	copy(larger.Bytes(), f.b)
	if f.small != nil {
		f.memory.small.Put(f.small)
		f.small = nil
	}
	if f.chunk != nil {
		f.chunk.Release()
	}
	f.chunk, f.b = larger, larger.Bytes()
	return nil
}

// draw takes n more bytes of the budget for f. The time it takes is not the
// client's fault, so it gets the time for its frame anew.
func (c *Conn) draw(ctx context.Context, f *frame, n int64) error {
	if f.budget.try(&f.draw, n) {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.server.cfg.IdleMax, refused("no memory for a frame within %v", c.server.cfg.IdleMax))
	defer cancel()
	if err := f.budget.take(ctx, &f.draw, n); err != nil {
		return err
	}
	return c.readBefore(frameTimeout(c.server.cfg.FrameTimeout, int64(len(f.b))+n))
}

// readBefore sets how long reads may take from now on; it fails once the server
// is stopping, which ends reads by a deadline in the past.
func (c *Conn) readBefore(d time.Duration) error {
	if err := c.nc.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	if c.stopping() {
		return errStopping
	}
	return nil
}

var errStopping = errors.New("the server is stopping")

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// slow turns a timeout of the client's making into a refusal.
func slow(err error, format string, args ...any) error {
	var r *errRefused
	if timedOut(err) && !errors.As(err, &r) {
		return refused(format, args...)
	}
	return err
}
