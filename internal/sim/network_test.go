package sim

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// hosts are two processes without brokers, of which the second listens for peers.
func hosts() (n *Network, a, b *Process, l *listener) {
	w := NewWorld(1, nil)
	a = &Process{w: w, Host: "a", ended: make(chan struct{}), listeners: map[string]*listener{}}
	b = &Process{w: w, Host: "b", ended: make(chan struct{}), listeners: map[string]*listener{}}
	l, _ = b.listen(forPeers, "b:9093")
	return w.Network, a, b, l
}

// pair is a connection from a to b.
func pair(t *testing.T, a *Process, l *listener) (client, server net.Conn) {
	t.Helper()
	client, err := a.dial(t.Context(), "b:9093")
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// said writes at one end and reports whether it arrives at the other within a
// second.
func said(t *testing.T, from, to net.Conn) bool {
	t.Helper()
	if _, err := from.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = to.SetReadDeadline(time.Now().Add(time.Second))
	_, err := to.Read(make([]byte, 8))
	return err == nil
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, _, l := hosts()
		client, server := pair(t, a, l)
		defer client.Close()
		defer server.Close()
		n.Block("a", "b")
		if said(t, client, server) || !said(t, server, client) {
			t.Error("the other direction is blocked")
		}
		n.Partition("a", "b")
		if said(t, client, server) || said(t, server, client) {
			t.Error("something arrives")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.dial(ctx, "b:9093"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dialing: %v", err)
		}
		n.Heal()
		_ = server.SetReadDeadline(time.Now().Add(time.Second))
		if got, err := server.Read(make([]byte, 8)); err != nil || got == 0 {
			t.Errorf("what was sent is lost: %v", err)
		}
		if !said(t, server, client) {
			t.Error("it is not healed")
		}
	})
}

// TestPartitionHidesTheEnd: who is parted from a process that dies does not hear
// of it before they are healed.
func TestPartitionHidesTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b, l := hosts()
		client, server := pair(t, a, l)
		defer client.Close()
		n.Partition("a", "b")
		b.unplug()
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, errReset) {
			t.Errorf("at the end that died: %v", err)
		}
		if said(t, client, client) {
			t.Error("something arrives")
		}
		n.Heal()
		_ = client.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := client.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after healing: %v", err)
		}
	})
}

func TestCutOfOneKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b, l := hosts()
		clients, _ := b.listen(forClients, "b:9092")
		client, server := pair(t, a, l)
		defer client.Close()
		defer server.Close()
		b.Cut(forClients)
		if !said(t, client, server) {
			t.Error("the peers were cut")
		}
		if _, err := a.dial(t.Context(), string(clients.at)); !errors.Is(err, errRefused) {
			t.Errorf("dialing as a client: %v", err)
		}
		b.Cut(forPeers)
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, errReset) {
			t.Errorf("reading from a process that is cut off: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a.Cut(forPeers)
		if _, err := a.dial(ctx, "b:9093"); err == nil {
			t.Error("a process that is cut off dials")
		}
	})
}
