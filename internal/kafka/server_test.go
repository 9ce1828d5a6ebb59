package kafka

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestHostileFrames(t *testing.T) {
	apiVersions := func(version int16, body ...byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, 18)
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		b = append(b, 0, 0, 0, 1) // correlation
		b = append(b, body...)
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	}
	for name, b := range map[string][]byte{
		"2 GiB claim":        {0x7f, 0xff, 0xff, 0xff},
		"above the limit":    {0x06, 0x40, 0x00, 0x01},
		"negative size":      {0xff, 0xff, 0xff, 0xff},
		"empty frame":        {0, 0, 0, 0},
		"below a header":     {0, 0, 0, 7},
		"unknown key":        {0, 0, 0, 8, 0x70, 0, 0, 0, 0, 0, 0, 1},
		"negative key":       {0, 0, 0, 8, 0xff, 0xff, 0, 0, 0, 0, 0, 1},
		"unknown version":    {0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff},
		"negative version":   {0, 0, 0, 10, 0, 3, 0xff, 0xff, 0, 0, 0, 1, 0xff, 0xff},
		"Produce version 2":  {0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 1, 0xff, 0xff},
		"no client id":       apiVersions(0),
		"client id too long": apiVersions(0, 0x7f, 0xff),
		"bad client id":      apiVersions(0, 0xff, 0xfe),
		"huge tag section":   apiVersions(3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f),
		"array beyond frame": {0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := start(t, Config{}, nil)
				other := h.dial(t)
				c := h.dial(t)
				go func() { _, _ = c.Write(b) }()
				closed(t, c)
				call[*kmsg.ApiVersionsResponse](t, other, 0, kmsg.NewPtrApiVersionsRequest())
			})
		})
	}
}

// A frame that stops coming is given up; the connection does not hold memory.
func TestSlowFrames(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing after the size": {0, 0, 0x10, 0},
		"half a large frame":     append([]byte{0, 0x10, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1}, make([]byte, 200<<10)...),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := start(t, Config{}, nil)
				c := h.dial(t)
				begin := time.Now()
				write(t, c, b)
				closed(t, c)
				if d := time.Since(begin); d < 30*time.Second || d > time.Minute {
					t.Errorf("closed after %v", d)
				}
				synctest.Wait()
				if n := h.deps.Memory.InUse(); n != 0 {
					t.Errorf("%d bytes are still in use", n)
				}
				if h.memory.records.free != h.cfg.InboundBytes {
					t.Error("the budget was not given back")
				}
			})
		})
	}
}

// Whoever claims much and sends little takes little; all of them together no more
// than the budget and one frame, and the others get through when they are gone.
func TestClaimsAreNotMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{InboundBytes: 16 << 20}
		h := start(t, cfg, nil)
		for range 30 {
			c := h.dial(t)
			b := make([]byte, 200<<10)
			copy(b, []byte{0x06, 0x40, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1}) // 100 MiB of Produce
			go func() { _, _ = c.Write(b) }()
		}
		synctest.Wait()
		if n := h.deps.Memory.InUse(); n > 24<<20 {
			t.Errorf("%d bytes in use for 6 MiB sent", n)
		}
		call[*kmsg.ApiVersionsResponse](t, h.dial(t), 0, kmsg.NewPtrApiVersionsRequest())
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := h.deps.Memory.InUse(); n != 0 || h.memory.records.free != h.cfg.InboundBytes {
			t.Errorf("%d bytes in use, %d of the budget left", n, h.memory.records.free)
		}
	})
}

func TestIdleConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		time.Sleep(9 * time.Minute)
		call[*kmsg.ApiVersionsResponse](t, c, 0, kmsg.NewPtrApiVersionsRequest())
		begin := time.Now()
		closed(t, c)
		if d := time.Since(begin); d != 10*time.Minute {
			t.Errorf("closed after %v", d)
		}
	})
}

// A client that does not take its response loses the connection.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		c := h.dial(t)
		write(t, c, encoded(1, kmsg.NewPtrApiVersionsRequest()))
		time.Sleep(31 * time.Second)
		closed(t, c)
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{ConnectionsMax: 2}, nil)
		a, b := h.dial(t), h.dial(t)
		closed(t, h.dial(t))
		_ = a.Close()
		synctest.Wait()
		call[*kmsg.ApiVersionsResponse](t, h.dial(t), 0, kmsg.NewPtrApiVersionsRequest())
		call[*kmsg.ApiVersionsResponse](t, b, 0, kmsg.NewPtrApiVersionsRequest())
	})
}

// waiting is a Pending that waits for a channel.
type waiting struct {
	until <-chan struct{}
	resp  Response
}

func (w waiting) Wait(ctx context.Context) (Response, error) {
	select {
	case <-w.until:
		return w.resp, nil
	case <-ctx.Done():
		return w.resp, ctx.Err()
	}
}

// replace makes the server serve Metadata with another function.
func replace(apply func(s *Server, ctx context.Context, r *Request) (Pending, error)) func(*Server) {
	return func(s *Server) {
		a := s.apis[3]
		a.apply = apply
		s.apis[3] = a
	}
}

// Requests are applied in order without waiting for answers; answers keep the
// order, though the first is ready last; a full pipeline stops the reader.
func TestPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var applied int
		first := make(chan struct{})
		now := make(chan struct{})
		close(now)
		h := start(t, Config{PipelineMax: 4}, replace(func(_ *Server, _ context.Context, r *Request) (Pending, error) {
			resp := kmsg.NewPtrMetadataResponse()
			resp.Version = r.Version
			resp.ControllerID = int32(applied)
			applied++
			if applied == 1 {
				return waiting{first, Message(resp)}, nil
			}
			return waiting{now, Message(resp)}, nil
		}))
		c := h.dial(t)
		go func() {
			for i := range 10 {
				req := kmsg.NewPtrMetadataRequest()
				req.SetVersion(1)
				_, _ = c.Write(encoded(int32(i), req))
			}
		}()
		synctest.Wait()
		if applied != 4 {
			t.Errorf("%d requests were applied, want 4", applied)
		}
		close(first)
		for i := range int32(10) {
			correlation, b, err := readResponse(c)
			if err != nil || correlation != i {
				t.Fatalf("answer %d: correlation %d, %v", i, correlation, err)
			}
			req := kmsg.NewPtrMetadataRequest()
			req.SetVersion(1)
			if got := decoded[*kmsg.MetadataResponse](t, req, b); got.ControllerID != i {
				t.Errorf("answer %d is for request %d", i, got.ControllerID)
			}
		}
	})
}

// A connection that waits for an answer is not idle.
func TestWaitingIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		h := start(t, Config{}, replace(func(_ *Server, _ context.Context, r *Request) (Pending, error) {
			resp := kmsg.NewPtrMetadataResponse()
			resp.Version = r.Version
			return waiting{done, Message(resp)}, nil
		}))
		c := h.dial(t)
		write(t, c, encoded(1, kmsg.NewPtrMetadataRequest()))
		time.Sleep(time.Hour)
		close(done)
		if correlation, _, err := readResponse(c); err != nil || correlation != 1 {
			t.Error(correlation, err)
		}
	})
}

// spliced is a response with counted parts.
type spliced struct {
	parts    [][]byte
	released *int
	panics   bool
}

func (s *spliced) Encode(e *Encoding) {
	for i, p := range s.parts {
		if e.Splice(p); i < len(s.parts)-1 {
			e.Buf = append(e.Buf, byte('0'+i))
		}
	}
	if s.panics {
		panic("in Encode")
	}
}

func (s *spliced) Release() { *s.released++ }

func TestSplicedResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var released int
		large := make([]byte, 3<<20)
		for i := range large {
			large[i] = byte(i * 7)
		}
		parts := [][]byte{[]byte("one"), nil, large, []byte("last")}
		h := start(t, Config{}, replace(func(*Server, context.Context, *Request) (Pending, error) {
			now := make(chan struct{})
			close(now)
			return waiting{now, &spliced{parts: parts, released: &released}}, nil
		}))
		c := h.dial(t)
		write(t, c, encoded(1, kmsg.NewPtrMetadataRequest()))
		_, b, err := readResponse(c)
		if err != nil {
			t.Fatal(err)
		}
		if want := "one0" + "1" + string(large) + "2" + "last"; string(b) != want {
			t.Error("the parts were not spliced in place")
		}
		synctest.Wait()
		if released != 1 {
			t.Errorf("released %d times", released)
		}
	})
}

// A panic closes its connection and gives back what the request held.
func TestPanicIsIsolated(t *testing.T) {
	for _, where := range []string{"apply", "Wait", "Encode"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var released int
				h := start(t, Config{}, replace(func(_ *Server, _ context.Context, r *Request) (Pending, error) {
					switch where {
					case "apply":
						panic("in apply")
					case "Wait":
						return panicking{}, nil
					}
					now := make(chan struct{})
					close(now)
					return waiting{now, &spliced{released: &released, panics: true}}, nil
				}))
				other, c := h.dial(t), h.dial(t)
				write(t, c, encoded(1, kmsg.NewPtrMetadataRequest()))
				closed(t, c)
				call[*kmsg.ApiVersionsResponse](t, other, 0, kmsg.NewPtrApiVersionsRequest())
				if where == "Encode" && released != 1 {
					t.Errorf("released %d times", released)
				}
			})
		})
	}
}

type panicking struct{}

func (panicking) Wait(context.Context) (Response, error) { panic("in Wait") }

// When Run's context ends, what was applied is still answered, and no more.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		h := start(t, Config{}, replace(func(_ *Server, _ context.Context, r *Request) (Pending, error) {
			resp := kmsg.NewPtrMetadataResponse()
			resp.Version = r.Version
			return waiting{done, Message(resp)}, nil
		}))
		idle, busy := h.dial(t), h.dial(t)
		write(t, busy, encoded(1, kmsg.NewPtrMetadataRequest()))
		synctest.Wait()
		stopped := make(chan error)
		go func() { stopped <- h.stop() }()
		closed(t, idle)
		time.Sleep(time.Second)
		close(done)
		if correlation, _, err := readResponse(busy); err != nil || correlation != 1 {
			t.Error(correlation, err)
		}
		closed(t, busy)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if _, err := h.l.dial(); err == nil {
			t.Error("still accepts connections")
		}
	})
}

// What never ends is cut off after DrainTimeout.
func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, replace(func(*Server, context.Context, *Request) (Pending, error) {
			return waiting{}, nil
		}))
		write(t, h.dial(t), encoded(1, kmsg.NewPtrMetadataRequest()))
		begin := time.Now()
		if err := h.stop(); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("stopped after %v", d)
		}
	})
}

// P10: 10,000 idle connections within 300 MiB is 30 KiB each; here with fewer,
// over pipes, of which the clients' ends count too.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const n = 3000
	h := start(t, Config{}, nil)
	inUse := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := inUse()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = h.dial(t)
		write(t, conns[i], encoded(1, kmsg.NewPtrApiVersionsRequest()))
		if _, _, err := readResponse(conns[i]); err != nil {
			t.Fatal(err)
		}
	}
	each := (int64(inUse()) - int64(before)) / n
	t.Logf("%d bytes each", each)
	if each > 25<<10 {
		t.Errorf("an idle connection takes %d bytes", each)
	}
	runtime.KeepAlive(conns)
}

// Bytes of any kind end in a closed connection, without a panic.
func FuzzListener(f *testing.F) {
	f.Add(encoded(1, kmsg.NewPtrApiVersionsRequest()))
	f.Add(append(encoded(1, kmsg.NewPtrMetadataRequest()), encoded(2, kmsg.NewPtrDescribeClusterRequest())...))
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff})
	cluster := newTestCluster(f, 1)
	f.Fuzz(func(t *testing.T, b []byte) {
		logs := make(panicLog, 1)
		deps := cluster.deps()
		deps.Logger = logs.logger()
		s := New(Config{RequestBytesMax: 1 << 20}, deps)
		client, server := net.Pipe()
		c := newConn(s, server)
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.serve(context.Background())
		}()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		_, _ = client.Write(b)
		_ = client.Close()
		<-done
		select {
		case msg := <-logs:
			t.Fatal(msg)
		default:
		}
		if n := s.deps.Memory.InUse(); n != 0 {
			t.Fatalf("%d bytes leaked", n)
		}
	})
}
