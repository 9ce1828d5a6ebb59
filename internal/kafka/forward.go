package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// Controller executes requests where metadata can be changed.
type Controller interface {
	// ForwardRequest has another broker execute a request, in its version and
	// without header, and returns when our own image shows what the answer says.
	// done is false, with nothing done, if this broker is to execute it. An error
	// leaves the outcome unknown.
	ForwardRequest(ctx context.Context, key, version int16, client string, body []byte) (answer []byte, done bool, err error)
}

// forwardMax bounds the wait for a controller's answer.
const forwardMax = time.Minute

// run executes a request here, or where the controller is: any broker takes any
// request, as with Kafka's Envelope (KIP-590). If the outcome is not known the
// connection is closed, which is what tells clients that.
func (s *Server) run(ctx context.Context, api API, r *Request) (Pending, error) {
	if s.deps.Controller == nil || api.forward == nil || !api.forward(s, r.Body) {
		return api.apply(s, ctx, r)
	}
	within, cancel := context.WithTimeout(ctx, forwardMax)
	answer, done, err := s.deps.Controller.ForwardRequest(within, r.key, r.Version, r.ClientID, r.Body.AppendTo(nil))
	cancel()
	switch {
	case err != nil:
		return nil, refused("API key %d was forwarded to the controller, with an unknown outcome: %v", r.key, err)
	case !done:
		return api.apply(s, ctx, r)
	}
	return forwarded(answer), nil
}

// forwarded is a response that another broker has encoded.
type forwarded []byte

func (b forwarded) Wait(context.Context) (Response, error) { return b, nil }
func (b forwarded) Encode(e *Encoding)                     { e.Buf = append(e.Buf, b...) }
func (b forwarded) Release()                               {}

// forwardAlways is the forward of APIs that change metadata.
func forwardAlways(*Server, kmsg.Request) bool { return true }

// Execute executes a request that another broker forwards, and encodes its answer.
func (s *Server) Execute(ctx context.Context, key, version int16, client string, body []byte) ([]byte, error) {
	api, ok := s.apis[key]
	if !ok || api.forward == nil || version < api.Min || version > api.Max {
		return nil, karst.UnsupportedVersion.Errorf("API key %d version %d is not executed for other brokers", key, version)
	}
	r := &Request{Body: kmsg.RequestForKey(key), Version: version, ClientID: client, Received: time.Now(), key: key, size: int64(len(body))}
	r.Body.SetVersion(version)
	r.flexible = r.Body.IsFlexible()
	if _, ok := fits(shapes[key](version), r.flexible, body); !ok {
		return nil, karst.InvalidRequest.Errorf("malformed or too large request of API key %d version %d", key, version)
	}
	if err := r.Body.ReadFrom(body); err != nil {
		return nil, karst.InvalidRequest.Errorf("malformed request of API key %d version %d", key, version)
	}
	p, err := api.apply(s, ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := p.Wait(ctx)
	if err != nil {
		return nil, err
	}
	defer resp.Release()
	var e Encoding
	resp.Encode(&e)
	return e.Buf, nil
}
