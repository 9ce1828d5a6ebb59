package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// memoryListener accepts in-memory connections, so that tests can run in a bubble.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newMemoryListener() *memoryListener {
	return &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *memoryListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (l *memoryListener) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// harness is a running server.
type harness struct {
	*Server
	cluster *testCluster
	l       *memoryListener
	stop    func() error // ends Run and waits for it
}

// start runs a server; prepare may change its table of APIs.
func start(t testing.TB, cfg Config, prepare func(s *Server)) *harness {
	t.Helper()
	h := &harness{cluster: newTestCluster(t, 3), l: newMemoryListener()}
	h.Server = New(cfg, h.cluster.deps())
	if prepare != nil {
		prepare(h.Server)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx, h.l) }()
	var stopped bool
	h.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Error("Run:", err)
		}
	})
	return h
}

func (h *harness) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := h.l.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// encoded is a request as it goes over the wire.
func encoded(correlation int32, req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, correlation)
}

func write(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal("write:", err)
	}
}

// readResponse reads a frame; it returns the correlation id and what follows.
func readResponse(c net.Conn) (correlation int32, rest []byte, err error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return 0, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(b)), b[4:], nil
}

// call sends a request and decodes its response.
func call[R kmsg.Response](t testing.TB, c net.Conn, version int16, req kmsg.Request) R {
	t.Helper()
	req.SetVersion(version)
	write(t, c, encoded(7, req))
	correlation, b, err := readResponse(c)
	if err != nil || correlation != 7 {
		t.Fatalf("response: correlation %d, %v", correlation, err)
	}
	return decoded[R](t, req, b)
}

// decoded decodes a response; it must be encoded to the byte as kmsg does.
func decoded[R kmsg.Response](t testing.TB, req kmsg.Request, b []byte) R {
	t.Helper()
	resp := req.ResponseKind()
	if resp.IsFlexible() && req.Key() != apiVersionsKey {
		if b[0] != 0 {
			t.Fatal("response header without an empty section of tags")
		}
		b = b[1:]
	}
	if err := resp.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	if again := resp.AppendTo(nil); string(again) != string(b) {
		t.Fatalf("%T version %d does not encode to what was sent", resp, resp.GetVersion())
	}
	r, ok := resp.(R)
	if !ok {
		t.Fatalf("got a %T", resp)
	}
	return r
}

// closed fails the test unless the server closes the connection without a word.
func closed(t testing.TB, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Hour)) // in a bubble it passes at once
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("read %d bytes, %v: not closed", n, err)
	}
}
