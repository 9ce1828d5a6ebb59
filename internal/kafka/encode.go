package kafka

import (
	"encoding/binary"
	"math"
	"time"
)

const (
	// encodingKept is the capacity up to which an encoding buffer is reused.
	encodingKept = 1 << 20
	// writeStep is how much the client must take within WriteTimeout.
	writeStep = 1 << 20
)

// send encodes and writes a response. It returns the bytes of the whole frame.
func (c *Conn) send(r *Request, resp Response) (int64, error) {
	e := c.server.encodings.Get().(*Encoding)
	defer c.server.recycle(e)
	e.begin(r)
	resp.Encode(e)
	total := int64(len(e.Buf)) + e.spliced
	if total-4 > math.MaxInt32 {
		return 0, refused("a response of %d bytes does not fit a frame", total)
	}
	binary.BigEndian.PutUint32(e.Buf, uint32(total-4))
	if len(e.splices) == 0 && len(e.Buf) <= writeStep {
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.server.cfg.WriteTimeout)); err != nil {
			return total, err
		}
		_, err := c.nc.Write(e.Buf)
		return total, slow(err, "response of %d bytes was taken too slowly", total)
	}
	return total, slow(c.writeParts(e), "response of %d bytes was taken too slowly", total)
}

// begin writes the response header.
func (e *Encoding) begin(r *Request) {
	e.Buf = append(e.Buf[:0], 0, 0, 0, 0) // the size comes last
	e.Buf = binary.BigEndian.AppendUint32(e.Buf, uint32(r.correlation))
	if r.flexible && r.key != apiVersionsKey { // KIP-511: its header is always v0
		e.Buf = append(e.Buf, 0)
	}
	e.header = len(e.Buf)
}

// writeParts writes the buffer with the splices in between, in steps.
func (c *Conn) writeParts(e *Encoding) error {
	at := 0
	var size int64
	flush := func() error {
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.server.cfg.WriteTimeout)); err != nil {
			return err
		}
		parts := e.parts // WriteTo consumes it
		_, err := parts.WriteTo(c.nc)
		clear(e.parts)
		e.parts, size = e.parts[:0], 0
		return err
	}
	add := func(b []byte) error {
		for len(b) > 0 {
			n := min(int64(len(b)), writeStep-size)
			e.parts = append(e.parts, b[:n:n])
			b = b[n:]
			if size += n; size == writeStep {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, s := range e.splices {
		if err := add(e.Buf[at:s.at]); err != nil {
			return err
		}
		at = s.at
		if err := add(s.b); err != nil {
			return err
		}
	}
	if err := add(e.Buf[at:]); err != nil {
		return err
	}
	if size > 0 {
		return flush()
	}
	return nil
}

// recycle keeps an encoding for the next response.
func (s *Server) recycle(e *Encoding) {
	if cap(e.Buf) > encodingKept {
		return
	}
	clear(e.splices)
	e.splices, e.spliced = e.splices[:0], 0
	s.encodings.Put(e)
}

func newEncoding() any { return &Encoding{} }
