package record

import (
	"iter"

	"github.com/karst-io/karst"
)

// Header is one header of a record. A nil Value is null.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record. A nil Key or Value is null, an empty one is not.
type Record struct {
	Offset     karst.Offset
	Timestamp  karst.Timestamp
	Key, Value []byte
	Headers    []Header
}

// Decoder reads the records of batches that are already stored. It is safe for
// concurrent use. Errors are *karst.Error.
type Decoder struct{ codecs *Codecs }

// NewDecoder makes a Decoder that borrows its coders from c.
func NewDecoder(c *Codecs) *Decoder { return &Decoder{codecs: c} }

// Records yields the records of one batch. A Record and its bytes are valid
// until the next one is asked for. It stops at the first error.
func (d *Decoder) Records(b []byte) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		var rec Record
		err := d.each(b, func(w *window, i Info) error {
			var r head
			for range i.Count {
				if err := w.grow(); err != nil {
					return err
				}
				if err := w.next(&r); err != nil {
					return err
				}
				r.into(&rec, i)
				if !yield(&rec, nil) {
					return errStop
				}
			}
			return w.ended()
		})
		if err != nil && err != errStop { //nolint:errorlint // our own sentinel, never wrapped
			yield(nil, refused(err))
		}
	}
}

// FirstAtOrAfter finds the first record of the batch whose offset is at least
// from and whose timestamp is at least ts.
func (d *Decoder) FirstAtOrAfter(b []byte, from karst.Offset, ts karst.Timestamp) (offset karst.Offset, at karst.Timestamp, found bool, err error) {
	err = d.each(b, func(w *window, i Info) error {
		var r head
		for range i.Count {
			if err := w.next(&r); err != nil {
				return err
			}
			offset, at = i.Base+karst.Offset(r.offset), i.time(r.timestamp)
			if offset >= from && at >= ts {
				found = true
				return nil
			}
		}
		return w.ended()
	})
	if err != nil || !found {
		return -1, karst.NoTimestamp, false, refused(err)
	}
	return offset, at, true, nil
}

// each opens the batch for f.
func (d *Decoder) each(b []byte, f func(*window, Info) error) error {
	i, err := Parse(b)
	if err != nil {
		return err
	}
	codec := i.Attributes.Codec()
	if codec > Zstd {
		return karst.UnsupportedCompression.Errorf("unknown compression codec %d", codec)
	}
	payload := b[HeaderSize:i.Size]
	if codec == None || i.Count == 0 {
		return f(&window{buf: payload, end: len(payload)}, i)
	}
	r, err := d.codecs.open(codec, payload)
	if err != nil {
		return err
	}
	defer d.codecs.close(r)
	return f(&r.window, i)
}

// time is the timestamp of a record.
func (i Info) time(delta int64) karst.Timestamp {
	if i.Attributes.LogAppendTime() {
		return i.MaxTimestamp
	}
	return i.BaseTimestamp + karst.Timestamp(delta)
}

// into fills rec from a record that is in memory whole.
func (r *head) into(rec *Record, i Info) {
	rec.Offset = i.Base + karst.Offset(r.offset)
	rec.Timestamp = i.time(r.timestamp)
	rec.Key, rec.Value = r.key, r.value
	rec.Headers = rec.Headers[:0]
	b := r.headers
	for range r.nheaders {
		n, m := zigzag(b)
		b = b[m:]
		h := Header{Key: string(b[:n])}
		b = b[n:]
		n, m = zigzag(b)
		b = b[m:]
		if n >= 0 {
			h.Value = b[:n:n]
			b = b[n:]
		}
		rec.Headers = append(rec.Headers, h)
	}
}
