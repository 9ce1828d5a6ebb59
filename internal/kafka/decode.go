package kafka

import (
	"encoding/binary"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The keys that the connection itself has to know.
const (
	produceKey     = 0
	apiVersionsKey = 18
)

// envelope is the request in f, not decoded but for what every request starts with.
func (c *Conn) envelope(f *frame) *Request {
	return &Request{
		Frame:       f,
		Received:    time.Now(),
		Conn:        c,
		Version:     int16(binary.BigEndian.Uint16(f.b[2:])),
		key:         int16(binary.BigEndian.Uint16(f.b)),
		correlation: int32(binary.BigEndian.Uint32(f.b[4:])),
		size:        int64(len(f.b)),
	}
}

// decode parses the rest. What is not served closes the connection, for no answer
// is possible; but for ApiVersions, whose unknown versions are answered in
// version 0 (KIP-511).
func (c *Conn) decode(r *Request, b []byte) (api API, err error) {
	defer c.isolate(r, &err)
	api, ok := c.server.apis[r.key]
	if !ok {
		return API{}, refused("unknown API key %d", r.key)
	}
	r.Body = kmsg.RequestForKey(r.key)
	if r.Version < api.Min || r.Version > api.Max {
		if r.key != apiVersionsKey {
			return API{}, refused("version %d of API key %d is not served", r.Version, r.key)
		}
		r.Version, r.downgraded = 0, true
		r.Body.SetVersion(0)
		return api, nil
	}
	r.Body.SetVersion(r.Version)
	r.flexible = r.Body.IsFlexible()
	body, ok := r.header(b[headerMin:])
	if !ok {
		return API{}, refused("malformed header of API key %d", r.key)
	}
	if _, ok := fits(shapes[r.key](r.Version), r.flexible, body); !ok {
		return API{}, refused("malformed or too large request of API key %d version %d", r.key, r.Version)
	}
	if err := r.Body.ReadFrom(body); err != nil {
		return API{}, refused("malformed request of API key %d version %d", r.key, r.Version)
	}
	return api, nil
}

// header parses the rest of the request header and returns the body.
func (r *Request) header(b []byte) (body []byte, ok bool) {
	if len(b) < 2 {
		return nil, false
	}
	n := int(int16(binary.BigEndian.Uint16(b)))
	b = b[2:]
	if n > len(b) || n < -1 {
		return nil, false
	}
	if n > 0 {
		r.ClientID, b = string(b[:n]), b[n:]
	}
	if !r.flexible {
		return b, true
	}
	return skipTags(b)
}

// skipTags skips a section of tagged fields (KIP-482).
func skipTags(b []byte) ([]byte, bool) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(b)) {
		return nil, false
	}
	b = b[n:]
	for range count {
		_, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, false
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, false
		}
		b = b[n+int(size):]
	}
	return b, true
}
