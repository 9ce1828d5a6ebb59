package record

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// lz4DefaultLevel is Kafka's default of compression.lz4.level; only other
// levels mean the slow, dense compressor.
const lz4DefaultLevel = 9

// sink collects bytes up to a bound.
type sink struct {
	b    []byte
	most int
}

func (s *sink) Write(p []byte) (int, error) {
	if len(p) > s.most-len(s.b) {
		return 0, errTooBig
	}
	s.b = append(s.b, p...)
	return len(p), nil
}

// writer compresses the payload of one batch.
type writer struct {
	codec   Codec
	level   int
	out     sink
	plain   []byte // of the open block, for codecs that work in blocks
	packed  []byte // scratch: the compressed block
	scratch []byte
	gzip    *gzip.Writer
	zstd    *zstd.Encoder
	lz4     func(src, dst []byte) (int, error)
}

// writer starts compressing behind dst, which may grow to most bytes; release
// must follow.
func (c *Codecs) writer(codec Codec, level int, dst []byte, most int) (*writer, error) {
	w, ok := c.writers.get(func(w *writer) bool { return w.codec == codec && w.level == level })
	if !ok {
		var err error
		if w, err = newWriter(codec, level); err != nil {
			return nil, err
		}
	}
	w.plain = w.plain[:0]
	w.out = sink{b: dst, most: most}
	switch codec {
	case Gzip:
		w.gzip.Reset(&w.out)
	case Snappy:
		w.out.b = append(w.out.b, xerialMagic...)
		w.out.b = binary.BigEndian.AppendUint64(w.out.b, 1<<32|1) // version, compatible version
	case LZ4:
		w.out.b = appendLZ4Header(w.out.b)
	case Zstd:
		w.zstd.Reset(&w.out)
	default:
	}
	return w, nil
}

func newWriter(codec Codec, level int) (w *writer, err error) {
	w = &writer{codec: codec, level: level}
	switch codec {
	case None, Snappy:
	case Gzip:
		if level == 0 {
			level = gzip.DefaultCompression
		}
		w.gzip, err = gzip.NewWriterLevel(nil, level)
	case LZ4:
		if level == 0 || level == lz4DefaultLevel {
			w.lz4 = new(lz4.Compressor).CompressBlock
		} else {
			// Levels 1 to 9 of the package are 1<<9 to 1<<17.
			w.lz4 = (&lz4.CompressorHC{Level: lz4.CompressionLevel(1 << (8 + min(max(level, 1), 9)))}).CompressBlock
		}
	case Zstd:
		if level == 0 {
			level = 3
		}
		w.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)))
	default:
		panic(fmt.Sprintf("BUG: compress with codec %d", codec))
	}
	if err != nil {
		return nil, fmt.Errorf("compression level %d of codec %d: %w", level, codec, err)
	}
	return w, nil
}

// release keeps w for another batch.
func (c *Codecs) release(w *writer) {
	w.out = sink{}
	c.writers.put(w, c.limits.Idle)
}

// Write compresses p.
func (w *writer) Write(p []byte) (int, error) {
	switch w.codec {
	case Gzip:
		return w.gzip.Write(p)
	case Zstd:
		return w.zstd.Write(p)
	case Snappy:
		return w.blocks(p, xerialBlock)
	case LZ4:
		return w.blocks(p, lz4Block)
	default:
		return w.out.Write(p)
	}
}

// blocks cuts p into blocks of the given size.
func (w *writer) blocks(p []byte, size int) (int, error) {
	all := len(p)
	for len(p) > 0 {
		n := min(len(p), size-len(w.plain))
		w.plain = append(w.plain, p[:n]...)
		p = p[n:]
		if len(w.plain) == size {
			if err := w.block(); err != nil {
				return 0, err
			}
		}
	}
	return all, nil
}

func (w *writer) block() error {
	if len(w.plain) == 0 {
		return nil
	}
	if w.codec == Snappy {
		w.packed = appendXerialBlock(w.packed[:0], w.plain, &w.scratch)
	} else {
		w.packed = appendLZ4Block(w.packed[:0], w.plain, &w.scratch, w.lz4)
	}
	w.plain = w.plain[:0]
	_, err := w.out.Write(w.packed)
	return err
}

// finish ends the stream and returns what was written, dst included.
func (w *writer) finish() ([]byte, error) {
	var err error
	switch w.codec {
	case Gzip:
		err = w.gzip.Close()
	case Zstd:
		err = w.zstd.Close()
	case Snappy:
		err = w.block()
	case LZ4:
		if err = w.block(); err == nil {
			_, err = w.out.Write([]byte{0, 0, 0, 0}) // end mark
		}
	default:
	}
	return w.out.b, err
}
