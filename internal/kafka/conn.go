package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

// Conn is one client connection.
type Conn struct {
	server   *Server
	nc       net.Conn
	size     [4]byte // of the frame being read
	pipeline pipeline
	close    context.CancelCauseFunc // ends the connection's context

	// software is what the client calls itself in ApiVersions (KIP-511); only
	// the reader touches it.
	software string
	gaps     gaps // only the reader touches them, too
}

func newConn(s *Server, nc net.Conn) *Conn {
	return &Conn{server: s, nc: nc, gaps: gaps{}, pipeline: newPipeline(s.cfg.PipelineMax, s.cfg.PipelineBytes)}
}

// Draining is closed when the server is stopping; long polls should answer.
func (c *Conn) Draining() <-chan struct{} { return c.server.draining }

// RemoteAddr is the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

func (c *Conn) stopping() bool {
	select {
	case <-c.server.draining:
		return true
	default:
		return false
	}
}

// errGone ends a connection that nothing is wrong with.
var errGone = errors.New("the client closed the connection")

// serve is the reader: it runs until the connection ends, and waits for the writer.
func (c *Conn) serve(ctx context.Context) {
	ctx, c.close = context.WithCancelCause(ctx)
	stop := context.AfterFunc(ctx, func() { _ = c.nc.Close() })

	var writer sync.WaitGroup
	writer.Go(func() { c.write(ctx) })

	err := c.read(ctx)
	if !errors.Is(err, errStopping) {
		c.close(err)
	}
	close(c.pipeline.queue)
	writer.Wait()
	c.close(errGone)
	if stop() {
		_ = c.nc.Close()
	}
	c.report(context.Cause(ctx))
}

// report logs why the connection ended, if that is worth a line.
func (c *Conn) report(cause error) {
	if r, ok := errors.AsType[*errRefused](cause); ok {
		c.server.deps.Metrics.Refused(r.kind)
		c.log().Warn("kafka: closing a connection", slog.String("reason", r.reason))
	}
}

func (c *Conn) log() *slog.Logger {
	return c.server.deps.Logger.With(slog.String("client", c.nc.RemoteAddr().String()), slog.String("software", c.software))
}

// read reads and applies requests until the connection ends.
func (c *Conn) read(ctx context.Context) error {
	for {
		if err := c.pipeline.room(ctx); err != nil {
			return err
		}
		f, err := c.readFrame(ctx)
		if err != nil {
			if c.stopping() {
				return errStopping
			}
			return err
		}
		if err := c.accept(ctx, f); err != nil {
			return err
		}
	}
}

// accept decodes and applies one request and hands it to the writer.
func (c *Conn) accept(ctx context.Context, f *frame) error {
	defer f.Release()
	r := c.envelope(f)
	api, err := c.decode(r, f.b)
	if err != nil {
		return err
	}
	p, err := c.apply(ctx, api, r)
	if err != nil {
		return err
	}
	if p == nil {
		c.count(r, 0)
		return nil
	}
	c.pipeline.put(inflight{r, p})
	return nil
}

func (c *Conn) apply(ctx context.Context, api API, r *Request) (p Pending, err error) {
	defer c.isolate(r, &err)
	return c.server.run(ctx, api, r)
}

// isolate turns a panic into an error that closes only this connection.
func (c *Conn) isolate(r *Request, err *error) {
	if v := recover(); v != nil {
		c.log().Error("kafka: panic in a request", slog.Int("key", int(r.key)), slog.Int("version", int(r.Version)),
			slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		*err = fmt.Errorf("panic in API key %d: %v", r.key, v)
	}
}

// write answers requests in order until the reader has ended and all are gone.
func (c *Conn) write(ctx context.Context) {
	for in := range c.pipeline.queue {
		if err := c.answer(ctx, in); err != nil {
			c.close(err)
		}
		c.pipeline.answered(in)
	}
}

// answer waits for a response and writes it.
func (c *Conn) answer(ctx context.Context, in inflight) (err error) {
	defer c.isolate(in.Request, &err)
	resp, err := in.pending.Wait(ctx)
	if err != nil {
		return err
	}
	if resp == nil {
		c.count(in.Request, 0)
		return nil
	}
	defer resp.Release()
	if ctx.Err() != nil {
		return nil
	}
	n, err := c.send(in.Request, resp)
	c.count(in.Request, n)
	return err
}

func (c *Conn) count(r *Request, sent int64) {
	c.server.deps.Metrics.Answered(r.key, r.Version, r.fault, time.Since(r.Received), r.size, sent)
}
