package kafka

import (
	"context"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/store"
)

// Request is one decoded request. It is valid until apply returns, but for the
// bytes of the frame, which live until the last Release of Frame.
type Request struct {
	// Body is the decoded request; its byte slices (records, metadata) point into
	// the frame, its strings do not.
	Body kmsg.Request
	// Version is Body's version.
	Version int16
	// ClientID is the client's name for itself, "" if it gave none.
	ClientID string
	// Frame holds the bytes that Body points into. The connection holds it until
	// apply returns; who needs the bytes for longer retains it.
	Frame store.Holder
	// Received is when the frame was complete.
	Received time.Time
	// Conn is the connection the request came on.
	Conn *Conn

	key         int16
	correlation int32
	size        int64 // of the frame, in bytes
	fault       int16 // first Kafka error noted, for the metrics
	flexible    bool  // headers carry tagged fields (KIP-482)
	downgraded  bool  // ApiVersions of a version unknown here, to be answered in version 0
}

// Code is the Kafka error of err (see Code), noted for the request's metrics.
func (r *Request) Code(err error) int16 {
	c := Code(err)
	r.Note(c)
	return c
}

// Note counts the request as failed with a Kafka error code; the first one wins.
func (r *Request) Note(code int16) {
	if r.fault == 0 {
		r.fault = code
	}
}

// Pending is an applied request whose answer may have to wait.
//
// Wait blocks until the answer is known and returns it. It is called exactly
// once, by the writer of the connection, after all earlier responses have been
// written. ctx ends when the connection closes: then Wait must return soon, and
// what it returns is released, not written. A Pending that holds something
// (bytes, a subscription) gives it up in Wait, or in the Release of the Response.
//
// A nil Response without an error means that there is none (acks=0). An error
// closes the connection.
type Pending interface {
	Wait(ctx context.Context) (Response, error)
}

// Response is an answer that is ready to be encoded.
type Response interface {
	// Encode appends the body, in the version of the request, without the
	// response header.
	Encode(e *Encoding)
	// Release is called exactly once, when the response has been written or will
	// never be. The bytes given to Splice must stay valid until then.
	Release()
}

// Answer is the Pending of a response that need not wait.
func Answer(m kmsg.Response) Pending { return message{m} }

// Message is m as a Response without anything to release, for Wait.
func Message(m kmsg.Response) Response { return message{m} }

type message struct{ m kmsg.Response }

func (m message) Wait(context.Context) (Response, error) { return m, nil }
func (m message) Encode(e *Encoding)                     { e.Buf = m.m.AppendTo(e.Buf) }
func (m message) Release()                               {}

// Encoding is a response being encoded: bytes appended to Buf, and byte slices
// spliced in between that are written from where they are.
type Encoding struct {
	// Buf is appended to. It belongs to the connection.
	Buf []byte

	header  int // bytes of Buf before the body
	splices []splice
	spliced int64
	parts   net.Buffers
}

type splice struct {
	at int // position in Buf
	b  []byte
}

// Splice puts b after what was appended to Buf so far, without copying it.
func (e *Encoding) Splice(b []byte) {
	if len(b) == 0 {
		return
	}
	e.splices = append(e.splices, splice{len(e.Buf), b})
	e.spliced += int64(len(b))
}

// Size is the number of bytes of the body encoded so far.
func (e *Encoding) Size() int64 { return int64(len(e.Buf)-e.header) + e.spliced }
