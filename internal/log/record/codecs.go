package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Limits bound what opening one batch may cost. Kafka has none; without one a
// batch of a few kilobytes fills the memory.
type Limits struct {
	Bytes  int64 // decompressed bytes of one batch; default 128 MiB
	Ratio  int64 // decompressed to compressed bytes, above the first MiB; default 1024
	Window int64 // zstd window; default 32 MiB
	Idle   int   // coders of a kind kept for reuse; default GOMAXPROCS
}

const (
	ratioFree  = 1 << 20  // so many bytes are accepted at any ratio
	windowSize = 64 << 10 // of the buffer that records stream through

	// A zstd decoder allocates the window a frame declares, and never lets go of
	// it: those that may see larger ones are not kept.
	zstdKept = 8 << 20 // what level 19 declares
)

// Codecs owns the coders of one component. It is safe for concurrent use.
// Coders are kept here and not in package-level pools: those would tie
// synctest bubbles together.
type Codecs struct {
	limits  Limits
	readers [Zstd + 1]idle[*reader]
	writers idle[*writer]
}

// NewCodecs makes an empty set of coders; zero limits mean the defaults.
func NewCodecs(l Limits) *Codecs {
	if l.Bytes == 0 {
		l.Bytes = 128 << 20
	}
	if l.Ratio == 0 {
		l.Ratio = 1024
	}
	if l.Window == 0 {
		l.Window = 32 << 20
	}
	if l.Idle == 0 {
		l.Idle = runtime.GOMAXPROCS(0)
	}
	return &Codecs{limits: l}
}

// idle is a bounded list of things to use again.
type idle[T any] struct {
	mu   sync.Mutex
	free []T
}

func (i *idle[T]) get(match func(T) bool) (t T, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for k := len(i.free) - 1; k >= 0; k-- {
		if t := i.free[k]; match == nil || match(t) {
			last := len(i.free) - 1
			i.free[k] = i.free[last]
			i.free = i.free[:last]
			return t, true
		}
	}
	return t, false
}

// put keeps t, in place of the oldest if there are max already.
func (i *idle[T]) put(t T, most int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.free) >= most {
		copy(i.free, i.free[1:])
		i.free = i.free[:len(i.free)-1]
	}
	i.free = append(i.free, t)
}

// reader opens the payload of one compressed batch.
type reader struct {
	window
	codec Codec
	input bytes.Reader
	own   []byte // the window streams through it, unless one record needs more
	gzip  *gzip.Reader
	zstd  *zstd.Decoder
	once  bool // not to be kept
	lz4   lz4Reader
	xrl   snappyReader
}

// open starts reading a compressed payload; close must follow.
func (c *Codecs) open(codec Codec, payload []byte) (*reader, error) {
	var r *reader
	once, ok := codec == Zstd && zstdWindow(payload) > zstdKept, false
	if !once {
		r, ok = c.readers[codec].get(nil)
	}
	if !ok {
		r = &reader{codec: codec, own: make([]byte, windowSize), once: once}
	}
	r.input.Reset(payload)
	r.window = window{
		buf:   r.own,
		limit: min(c.limits.Bytes, max(ratioFree, c.limits.Ratio*int64(len(payload)))),
	}
	if err := c.start(r, payload); err != nil {
		c.close(r)
		return nil, err
	}
	return r, nil
}

func (c *Codecs) start(r *reader, payload []byte) (err error) {
	switch r.codec {
	case Gzip:
		if r.gzip == nil {
			r.gzip = new(gzip.Reader)
		}
		r.src = r.gzip
		err = r.gzip.Reset(&r.input) // several members are one stream
	case Snappy:
		r.src = &r.xrl
		err = r.xrl.reset(payload, r.limit)
	case LZ4:
		r.src = &r.lz4
		err = r.lz4.reset(payload)
	case Zstd:
		if r.zstd == nil {
			window := c.limits.Window
			if !r.once {
				window = min(window, zstdKept)
			}
			r.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(uint64(window)), zstd.WithDecoderMaxMemory(uint64(c.limits.Bytes)))
			if err != nil {
				return fmt.Errorf("BUG: zstd decoder: %w", err)
			}
		}
		r.src = zstdSource{r.zstd}
		err = r.zstd.Reset(&r.input)
	default:
		panic(fmt.Sprintf("BUG: open of codec %d", r.codec))
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *Codecs) close(r *reader) {
	r.input.Reset(nil)
	if r.zstd != nil {
		_ = r.zstd.Reset(nil) // lets go of the input
	}
	r.lz4.src, r.xrl.src = nil, nil
	r.window = window{}
	if r.once {
		r.zstd.Close()
		return
	}
	c.readers[r.codec].put(r, c.limits.Idle)
}

// zstdWindow is the window that the first frame declares, 0 if there is none.
func zstdWindow(payload []byte) uint64 {
	var h zstd.Header
	if h.Decode(payload) != nil {
		return 0
	}
	if h.SingleSegment { // the content is the window
		return h.FrameContentSize
	}
	return h.WindowSize
}

// zstdSource tells limits from damage.
type zstdSource struct{ d *zstd.Decoder }

func (z zstdSource) Read(p []byte) (int, error) {
	n, err := z.d.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = errTooBig
	}
	return n, err
}
