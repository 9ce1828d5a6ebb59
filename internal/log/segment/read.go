package segment

import (
	"context"
	"fmt"
	"slices"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
)

const (
	firstGuess   = 64 << 10 // bytes of the end read at first
	blockMax     = 1 << 30  // largest directory, index block or state read into memory
	verifyStride = 4 << 20  // bytes of data Verify reads at once
)

// ReadDirectory reads the end of a segment, verifying every checksum on the
// way, with one GET when the directory fits in the first guess, two otherwise.
// The header it returns comes from the directory, which repeats it; the bytes at
// the start of the object are not looked at (see ReadHeader, Verify).
func ReadDirectory(ctx context.Context, r store.Reader, name string) (*Directory, error) {
	buf := make([]byte, firstGuess)
	n, err := r.Get(ctx, name, -firstGuess, buf)
	if err != nil {
		return nil, fmt.Errorf("read end of segment %s: %w", name, err)
	}
	buf = buf[:n]
	if n < footerSize {
		return nil, &karst.CorruptError{Object: name, Offset: 0, Reason: fmt.Sprintf("%d bytes are no segment", n)}
	}
	f, err := decodeFooter(name, buf[n-footerSize:])
	if err != nil {
		return nil, err
	}
	if n < firstGuess && f.size != int64(n) {
		return nil, &karst.CorruptError{Object: name, Offset: int64(n), Reason: fmt.Sprintf("object has %d bytes, its footer says %d", n, f.size)}
	}
	if start := int64(n) - footerSize - f.directory.Len; start >= 0 {
		d, err := decodeDirectory(name, f, buf[start:int64(n)-footerSize])
		if err == nil {
			d.keep(buf[:start], f.directory.Pos)
		}
		return d, err
	}
	dir, err := readAt(ctx, r, name, f.directory)
	if err != nil {
		return nil, err
	}
	return decodeDirectory(name, f, dir)
}

// keep keeps of b, which ends at position end, what belongs to index blocks.
func (d *Directory) keep(b []byte, end int64) {
	if len(d.Slices) == 0 {
		return
	}
	from := end - int64(len(b))
	if first := d.Slices[0].Index.Pos; first > from && first <= end {
		b, from = b[first-from:], first
	}
	d.end, d.endAt = slices.Clone(b), from
}

// Near returns the bytes of a span in the indexes if they came with the
// directory, else nil. They are not checked.
func (d *Directory) Near(s karst.Span) []byte {
	from := s.Pos - d.endAt
	if s.Len <= 0 || from < 0 || s.Len > int64(len(d.end))-from {
		return nil
	}
	return d.end[from : from+s.Len]
}

// ReadHeader reads and verifies the header of a segment: what ReadDirectory
// cannot see with a suffix GET.
func ReadHeader(ctx context.Context, r store.Reader, name string) (object.Header, error) {
	buf := make([]byte, object.HeaderSize)
	n, err := r.Get(ctx, name, 0, buf)
	if err != nil {
		return object.Header{}, fmt.Errorf("read header of segment %s: %w", name, err)
	}
	h, err := object.Decode(name, buf[:n])
	if err != nil {
		return object.Header{}, err
	}
	if h.Kind != object.Segment {
		return object.Header{}, &karst.CorruptError{Object: name, Offset: 8, Reason: fmt.Sprintf("object of kind %d is no segment", h.Kind)}
	}
	if h.Version != version {
		return object.Header{}, &karst.CorruptError{Object: name, Offset: 9, Reason: fmt.Sprintf("segment of unknown version %d", h.Version)}
	}
	return h, nil
}

// ReadIndex reads and verifies the index block of a slice.
func ReadIndex(ctx context.Context, r store.Reader, name string, at karst.Span, check uint32) ([]Entry, error) {
	b, err := readAt(ctx, r, name, at)
	if err != nil {
		return nil, err
	}
	return DecodeIndex(name, at, check, b)
}

// ReadState reads and verifies a checkpoint.
func ReadState(ctx context.Context, r store.Reader, name string, at karst.Span, check uint32) ([]byte, error) {
	b, err := readAt(ctx, r, name, at)
	if err != nil {
		return nil, err
	}
	if sum := object.Checksum(b); sum != check {
		return nil, &karst.CorruptError{Object: name, Offset: at.Pos, Reason: fmt.Sprintf("state has CRC %08x, want %08x", sum, check)}
	}
	return b, nil
}

// readAt reads a whole span.
func readAt(ctx context.Context, r store.Reader, name string, at karst.Span) ([]byte, error) {
	corrupt := func(format string, args ...any) error {
		return &karst.CorruptError{Object: name, Offset: at.Pos, Reason: fmt.Sprintf(format, args...)}
	}
	if at.Pos < 0 || at.Len < 0 || at.Len > blockMax {
		return nil, corrupt("implausible span of %d bytes", at.Len)
	}
	if at.Len == 0 {
		return nil, nil
	}
	b := make([]byte, at.Len)
	n, err := r.Get(ctx, name, at.Pos, b)
	if err != nil {
		return nil, fmt.Errorf("read %d bytes at %d of segment %s: %w", at.Len, at.Pos, name, err)
	}
	if n < len(b) {
		return nil, corrupt("object ends after %d of %d bytes", n, at.Len)
	}
	return b, nil
}

// Verify reads a whole segment and checks every byte of it. It returns the
// directory, or the first thing that is wrong.
func Verify(ctx context.Context, r store.Reader, name string) (*Directory, error) {
	h, err := ReadHeader(ctx, r, name)
	if err != nil {
		return nil, err
	}
	d, err := ReadDirectory(ctx, r, name)
	if err != nil {
		return nil, err
	}
	if h != d.Header {
		return nil, &karst.CorruptError{Object: name, Offset: 0, Reason: "header and directory disagree"}
	}
	info, err := r.Head(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("head of segment %s: %w", name, err)
	}
	if info.Size != h.Length+object.HeaderSize {
		return nil, &karst.CorruptError{Object: name, Offset: info.Size, Reason: fmt.Sprintf("object has %d bytes, its header says %d", info.Size, h.Length+object.HeaderSize)}
	}
	for i := range d.Slices {
		if err := verifySlice(ctx, r, name, &d.Slices[i]); err != nil {
			return nil, err
		}
	}
	for _, s := range d.States {
		if _, err := ReadState(ctx, r, name, s.At, s.Check); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// verifySlice checks a slice against its index, and every batch of it.
func verifySlice(ctx context.Context, r store.Reader, name string, s *Slice) error {
	entries, err := ReadIndex(ctx, r, name, s.Index, s.IndexCheck)
	if err != nil {
		return err
	}
	corrupt := func(at int64, format string, args ...any) error {
		return &karst.CorruptError{Object: name, Offset: at, Reason: fmt.Sprintf(format, args...)}
	}
	if len(entries) == 0 || len(entries) != int(s.Batches) {
		return corrupt(s.Index.Pos, "index block has %d entries, the directory says %d", len(entries), s.Batches)
	}
	last := entries[len(entries)-1]
	if entries[0].Info.Base != s.Base || last.Info.Last() != s.Last ||
		entries[0].Pos != s.Data.Pos || last.Pos+int64(last.Info.Size) != s.Data.Pos+s.Data.Len {
		return corrupt(s.Index.Pos, "index block does not cover what the directory says of %s", s.Partition)
	}
	if ts, at := newest(entries); ts != s.MaxTimestamp || at != s.MaxTimestampOffset {
		return corrupt(s.Index.Pos, "largest timestamp differs from the directory's")
	}
	for len(entries) > 0 {
		n, size := 0, int64(0)
		for n < len(entries) && (n == 0 || size+int64(entries[n].Info.Size) <= verifyStride) {
			size += int64(entries[n].Info.Size)
			n++
		}
		start := entries[0].Pos
		data, err := readAt(ctx, r, name, karst.Span{Pos: start, Len: size})
		if err != nil {
			return err
		}
		for _, e := range entries[:n] {
			b := data[e.Pos-start:][:e.Info.Size]
			if err := record.Check(name, e.Pos, b, e.Info); err != nil {
				return err
			}
		}
		entries = entries[n:]
	}
	return nil
}
