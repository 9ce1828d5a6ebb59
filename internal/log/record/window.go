package record

import (
	"errors"
	"io"
	"math"

	"github.com/karst-io/karst"
)

// What can be wrong with the records of a batch. They are constants so that
// refusing costs nothing; refused translates them.
var (
	errTruncated   = errors.New("records end before the batch's record count")
	errVarint      = errors.New("malformed variable-length integer in a record")
	errLength      = errors.New("record length does not match its content")
	errHeaderKey   = errors.New("record header without a key")
	errHeaderCount = errors.New("impossible number of record headers")
	errTrailing    = errors.New("bytes follow the last record of the batch")
	errTooBig      = errors.New("records decompress to more than the limit")
	errStop        = errors.New("stop")
)

// refused is err as a client is told.
func refused(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*karst.Error](err); ok {
		return e
	}
	if errors.Is(err, errTooBig) {
		return karst.RecordTooLarge.Errorf("%v", err) // makes producers split
	}
	return karst.InvalidRecord.Errorf("%v", err)
}

// headMax is the most that the fields in front of a record's key may take:
// length, attributes, timestamp delta, offset delta, key length.
const headMax = 5 + 1 + 10 + 5 + 5

// window is the part of a batch's records that is in memory. Without a src it
// is all of them; with one, records stream through a bounded buffer.
type window struct {
	buf      []byte
	pos, end int
	src      io.Reader
	total    int64 // bytes taken from src
	limit    int64 // most that src may yield
	err      error // why src ended
}

// head is one record. Key, value and headers are set only if the whole record
// was in memory; lengths and presence always.
type head struct {
	timestamp  int64 // delta to the batch's base timestamp
	offset     int32 // delta to the batch's base offset
	hasKey     bool
	key, value []byte // nil for null
	headers    []byte // encoded, without their count
	nheaders   int32
	body       []byte // what follows the offset delta
}

// fill tries to have n bytes in the window, n being at most its capacity, and
// reports whether it has.
func (w *window) fill(n int) bool {
	if w.src == nil {
		return w.end-w.pos >= n
	}
	if w.pos > 0 && w.pos+n > len(w.buf) {
		w.end = copy(w.buf, w.buf[w.pos:w.end])
		w.pos = 0
	}
	for w.end-w.pos < n && w.err == nil {
		var got int
		got, w.err = w.src.Read(w.buf[w.end:])
		w.end += got
		w.total += int64(got)
		if w.total > w.limit {
			w.err = errTooBig
			w.end = w.pos
		}
	}
	return w.end-w.pos >= n
}

// short is the error of a window that could not be filled.
func (w *window) short() error {
	if w.err != nil && !errors.Is(w.err, io.EOF) {
		return w.err
	}
	return errTruncated
}

// ended is nil if nothing follows.
func (w *window) ended() error {
	if w.fill(1) {
		return errTrailing
	}
	if w.err != nil && !errors.Is(w.err, io.EOF) {
		return w.err
	}
	return nil
}

// next reads the next record. A record larger than the buffer is checked while
// it streams by; the others are parsed in place.
func (w *window) next(r *head) error {
	if w.end-w.pos < headMax {
		w.fill(headMax)
	}
	length, n := zigzag(w.buf[w.pos:w.end])
	if n <= 0 {
		if n == 0 {
			return w.short()
		}
		return errVarint
	}
	if length < 6 || length > math.MaxInt32 {
		return errLength
	}
	whole := n + int(length)
	if w.end-w.pos < whole {
		if w.src == nil {
			return errTruncated
		}
		if whole > len(w.buf) {
			w.pos += n
			return w.stream(r, length)
		}
		if !w.fill(whole) {
			return w.short()
		}
	}
	body := w.buf[w.pos+n : w.pos+whole]
	w.pos += whole
	return r.parse(body)
}

// grow makes room for the next record to be in memory whole. It allocates as
// bytes arrive, so that a false length costs nothing.
func (w *window) grow() error {
	if w.src == nil {
		return nil
	}
	w.fill(headMax)
	length, n := zigzag(w.buf[w.pos:w.end])
	if n <= 0 || length < 0 || length > math.MaxInt32 {
		return nil // next will say what is wrong
	}
	for whole := n + int(length); whole > len(w.buf); {
		if !w.fill(len(w.buf)) {
			return w.short()
		}
		bigger := make([]byte, min(whole, 2*len(w.buf)))
		w.end = copy(bigger, w.buf[w.pos:w.end])
		w.buf, w.pos = bigger, 0
	}
	return nil
}

// parse decodes a record from its bytes after the length.
func (r *head) parse(b []byte) error {
	pos := 1 // attributes: unused
	v, n := zigzag(b[pos:])
	if n <= 0 {
		return errVarint
	}
	r.timestamp = v
	pos += n
	v, n = zigzag(b[pos:])
	if n <= 0 || v != int64(int32(v)) {
		return errVarint
	}
	r.offset = int32(v)
	pos += n
	r.body = b[pos:]
	v, n = zigzag(b[pos:])
	if n <= 0 {
		return errVarint
	}
	pos += n
	r.hasKey, r.key = v >= 0, nil
	if v >= 0 {
		if v > int64(len(b)-pos) {
			return errLength
		}
		r.key = b[pos : pos+int(v) : pos+int(v)]
		pos += int(v)
	}
	v, n = zigzag(b[pos:])
	if n <= 0 {
		return errVarint
	}
	pos += n
	r.value = nil
	if v >= 0 {
		if v > int64(len(b)-pos) {
			return errLength
		}
		r.value = b[pos : pos+int(v) : pos+int(v)]
		pos += int(v)
	}
	v, n = zigzag(b[pos:])
	if n <= 0 {
		return errVarint
	}
	pos += n
	// A header takes two bytes at least.
	if v < 0 || v > int64(len(b)-pos)/2 {
		return errHeaderCount
	}
	r.nheaders, r.headers = int32(v), b[pos:]
	if v == 0 {
		if pos != len(b) {
			return errLength
		}
		return nil
	}
	return checkHeaders(b[pos:], int(v))
}

// checkHeaders verifies that b is exactly n headers.
func checkHeaders(b []byte, n int) error {
	for range n {
		v, m := zigzag(b)
		if m <= 0 {
			return errVarint
		}
		if v < 0 {
			return errHeaderKey
		}
		if v > int64(len(b)-m) {
			return errLength
		}
		b = b[m+int(v):]
		v, m = zigzag(b)
		if m <= 0 {
			return errVarint
		}
		if v > int64(len(b)-m) {
			return errLength
		}
		b = b[m+int(max(v, 0)):]
	}
	if len(b) > 0 {
		return errLength
	}
	return nil
}

// stream checks a record of the given length that does not fit the buffer.
func (w *window) stream(r *head, length int64) error {
	*r = head{}
	left := length - 1
	if !w.fill(1) {
		return w.short()
	}
	w.pos++
	var err error
	take := func() (v int64) {
		if err == nil {
			v, err = w.varint(&left)
		}
		return v
	}
	skip := func(n int64) {
		if err == nil {
			err = w.skip(n, &left)
		}
	}
	r.timestamp = take()
	offset := take()
	if offset != int64(int32(offset)) {
		return errVarint
	}
	r.offset = int32(offset)
	n := take()
	r.hasKey = n >= 0
	skip(max(n, 0))
	skip(max(take(), 0))
	count := take()
	if err == nil && (count < 0 || count > left/2) {
		return errHeaderCount
	}
	for range count {
		if n := take(); err == nil && n < 0 {
			return errHeaderKey
		} else {
			skip(n)
		}
		skip(max(take(), 0))
		if err != nil {
			return err
		}
	}
	if err == nil && left != 0 {
		return errLength
	}
	return err
}

// varint takes one integer from the stream and its bytes from left.
func (w *window) varint(left *int64) (int64, error) {
	if w.end-w.pos < 10 {
		w.fill(10)
	}
	v, n := zigzag(w.buf[w.pos:w.end])
	switch {
	case n == 0:
		return 0, w.short()
	case n < 0:
		return 0, errVarint
	case int64(n) > *left:
		return 0, errLength
	}
	w.pos += n
	*left -= int64(n)
	return v, nil
}

// skip drops n bytes of the stream.
func (w *window) skip(n int64, left *int64) error {
	if n > *left {
		return errLength
	}
	*left -= n
	for n > 0 {
		if !w.fill(1) {
			return w.short()
		}
		step := min(n, int64(w.end-w.pos))
		w.pos += int(step)
		n -= step
	}
	return nil
}

// zigzag decodes a signed variable-length integer; n is the bytes it took, 0 if
// b is too short, negative if it is malformed.
func zigzag(b []byte) (v int64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return int64(b[0]>>1) ^ -int64(b[0]&1), 1
	}
	return zigzagLong(b)
}

func zigzagLong(b []byte) (int64, int) {
	var u uint64
	for i, c := range b {
		if i == 9 && c > 1 {
			return 0, -1
		}
		u |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return int64(u>>1) ^ -int64(u&1), i + 1
		}
		if i == 9 {
			return 0, -1
		}
	}
	return 0, 0
}

// appendZigzag appends a signed variable-length integer.
func appendZigzag(b []byte, v int64) []byte {
	u := uint64(v)<<1 ^ uint64(v>>63)
	for u >= 0x80 {
		b = append(b, byte(u)|0x80)
		u >>= 7
	}
	return append(b, byte(u))
}

// zigzagSize is the length of an encoded integer in bytes.
func zigzagSize(v int64) int {
	n := 1
	for u := uint64(v)<<1 ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
