package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// dial connects to the broker and sends some bytes.
func dial(t *testing.T, addr string, b []byte) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	return c
}

// closes wants the other side to close the connection in time.
func closes(t *testing.T, c net.Conn, limit time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(limit))
	n, err := io.Copy(io.Discard, io.LimitReader(c, 1<<20))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is open after %v", limit)
	}
	if n > 4096 {
		t.Errorf("%d bytes were answered", n)
	}
}

// serves wants the broker to serve others.
func serves(t *testing.T, addr string) {
	t.Helper()
	if _, err := adminOf(t, addr).ListBrokers(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestHostile sends the broker what no client sends (R3).
func TestHostile(t *testing.T) {
	endToEnd(t)
	n := newNode(t, storeURL{url: "file://" + t.TempDir()})
	p := n.startReady()
	serves(t, n.addr())
	before := p.rss()
	for name, frame := range map[string][]byte{
		"2 GiB":       {0x7f, 0xff, 0xff, 0xff, 0, 18, 0, 3},
		"negative":    {0xff, 0xff, 0xff, 0xff, 0, 18, 0, 3},
		"smallest":    {0x80, 0, 0, 0},
		"above limit": binary.BigEndian.AppendUint32(nil, 100<<20+1),
		"empty":       {0, 0, 0, 0},
		"HTTP":        []byte("GET / HTTP/1.1\r\nHost: karst\r\n\r\n"),
		"TLS":         {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
		"unknown API": {0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff},
		"cut header":  {0, 0, 0, 3, 0, 18, 0},
	} {
		t.Run(name, func(t *testing.T) { closes(t, dial(t, n.addr(), frame), 15*time.Second) })
	}
	t.Run("garbage", func(t *testing.T) {
		for range 200 {
			b := make([]byte, 8+rand.IntN(500))
			for k := range b {
				b[k] = byte(rand.Uint32())
			}
			binary.BigEndian.PutUint32(b, uint32(len(b)-4)) // a whole frame: the decoders see it
			binary.BigEndian.PutUint16(b[4:], uint16(rand.IntN(70)))
			binary.BigEndian.PutUint16(b[6:], uint16(rand.IntN(14)))
			c := dial(t, n.addr(), b)
			_ = c.(*net.TCPConn).CloseWrite()
			closes(t, c, 15*time.Second)
		}
	})
	t.Run("claims without bytes", func(t *testing.T) {
		// 500 connections claim the most that is allowed, 50 GB together.
		for range 500 {
			dial(t, n.addr(), binary.BigEndian.AppendUint32(nil, 100<<20))
		}
		serves(t, n.addr())
	})
	t.Run("one byte at a time", func(t *testing.T) {
		c := dial(t, n.addr(), nil)
		for _, b := range []byte{0, 0, 0, 15, 0, 18, 0, 0, 0, 0, 0, 1, 0, 5, 'k', 'a', 'r', 's', 't'} {
			if _, err := c.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(c, make([]byte, 20)); err != nil {
			t.Errorf("a slow client was not answered: %v", err)
		}
		serves(t, n.addr())
	})
	if grown := p.rss() - before; grown > 150<<20 {
		t.Errorf("resident memory grew by %d MiB", grown>>20)
	} else {
		t.Logf("resident memory %d MiB, %d MiB more than at start", p.rss()>>20, grown>>20)
	}
	select {
	case <-p.ended:
		t.Fatalf("the broker ended: %v", p.err)
	default:
	}
}

// TestIdleConnections opens 5,000 connections that have said hello once, fewer
// where the limit of open files does not allow as many.
func TestIdleConnections(t *testing.T) {
	endToEnd(t)
	const bound = 30 << 10 // bytes for each; 14 KiB were measured
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < 1000 {
		t.Fatalf("the limit of open files is %d: that is too few to learn anything (ulimit -n)", limit.Max)
	}
	connections := int(min(5000, limit.Max-500))
	n := newNode(t, storeURL{url: "file://" + t.TempDir()})
	p := n.startReady()
	serves(t, n.addr())
	before := p.rss()
	// ApiVersions v0, correlation id 1, no client id.
	hello := []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff}
	began := time.Now()
	answer := make([]byte, 4096)
	for k := range connections {
		c := dial(t, n.addr(), hello)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(answer); err != nil {
			t.Fatalf("connection %d: %v", k, err)
		}
	}
	took := time.Since(began)
	if open := p.metric("karst_connections"); open < float64(connections) {
		t.Errorf("%v connections are open", open)
	}
	after := p.rss()
	serves(t, n.addr())
	figures := fmt.Sprintf("%d idle connections in %v: resident memory %d MiB, %d MiB before, %d KiB for each",
		connections, took.Round(time.Millisecond), after>>20, before>>20, (after-before)>>10/int64(connections))
	if after-before > int64(connections)*bound {
		t.Error(figures)
	}
	t.Log(figures)
}
