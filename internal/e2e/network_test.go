package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// network is hosts with an address each, joined by a router: each host, and the
// router, is a network namespace, so that packets from one host to another can be
// dropped in the middle, where neither of them notices. Without namespaces (they
// need root and Linux) all hosts are this machine, and nothing can be cut.
type network struct {
	t      *testing.T
	prefix string // of namespaces; empty without them
	hosts  []*host

	mu    sync.Mutex
	rules map[[2]string]int // packets that are dropped, from and to: priority of the rule
	next  int
}

type host struct {
	net    *network
	name   string
	number int
	ip     string
}

var networks atomic.Int64

// newNetwork makes hosts with these names, and removes them when the test ends.
func newNetwork(t *testing.T, names ...string) *network {
	t.Helper()
	n := &network{t: t, rules: map[[2]string]int{}, next: 100}
	if runtime.GOOS == "linux" && os.Geteuid() == 0 && os.Getenv("KARST_TEST_NAMESPACES") != "0" {
		n.prefix = fmt.Sprintf("karst-%d-%d-", os.Getpid(), networks.Add(1))
	}
	for k, name := range names {
		h := &host{net: n, name: name, number: k + 1, ip: "127.0.0.1"}
		if n.prefix != "" {
			h.ip = fmt.Sprintf("10.77.%d.1", h.number)
		}
		n.hosts = append(n.hosts, h)
	}
	if n.prefix == "" {
		return n
	}
	t.Cleanup(n.remove)
	n.ip("netns", "add", n.router())
	n.ip("-n", n.router(), "link", "set", "dev", "lo", "up")
	n.ip("netns", "exec", n.router(), "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	for _, h := range n.hosts {
		n.ip("netns", "add", h.namespace())
		n.ip("link", "add", "name", h.link(), "netns", n.router(), "type", "veth", "peer", "name", "eth0", "netns", h.namespace())
		n.ip("-n", n.router(), "addr", "add", fmt.Sprintf("10.77.%d.254/24", h.number), "dev", h.link())
		n.ip("-n", n.router(), "link", "set", "dev", h.link(), "up")
		n.ip("-n", h.namespace(), "addr", "add", h.ip+"/24", "dev", "eth0")
		n.ip("-n", h.namespace(), "link", "set", "dev", "lo", "up")
		h.up()
	}
	return n
}

// real reports whether hosts can be parted.
func (n *network) real() bool { return n.prefix != "" }

func (n *network) router() string  { return n.prefix + "router" }
func (h *host) namespace() string  { return h.net.prefix + h.name }
func (h *host) link() string       { return fmt.Sprintf("host%d", h.number) }
func (h *host) at(port int) string { return fmt.Sprintf("%s:%d", h.ip, port) }
func (n *network) of(k int) *host  { return n.hosts[k] }
func (n *network) ip(args ...string) {
	n.t.Helper()
	n.must(exec.CommandContext(context.Background(), "ip", args...))
}

func (n *network) must(cmd *exec.Cmd) {
	n.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Errorf("%v: %v: %s", cmd.Args, err, out)
	}
}

func (n *network) remove() {
	for _, h := range n.hosts {
		n.ip("netns", "del", h.namespace())
	}
	n.ip("netns", "del", n.router())
}

// down takes a host off the network, as if its cable was pulled.
func (h *host) down() { h.net.ip("-n", h.net.router(), "link", "set", "dev", h.link(), "down") }

func (h *host) up() {
	h.net.ip("-n", h.net.router(), "link", "set", "dev", h.link(), "up")
	h.net.ip("-n", h.namespace(), "link", "set", "dev", "eth0", "up")
	h.net.ip("-n", h.namespace(), "route", "replace", "default", "via", fmt.Sprintf("10.77.%d.254", h.number))
}

// cut drops what one host sends to another from now on.
func (n *network) cut(from, to *host) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	way := [2]string{from.name, to.name}
	if n.rules[way] != 0 {
		return
	}
	n.next++
	n.rules[way] = n.next
	n.ip("-n", n.router(), "rule", "add", "pref", fmt.Sprint(n.next), "iif", from.link(), "to", fmt.Sprintf("10.77.%d.0/24", to.number), "blackhole")
}

// join ends cut.
func (n *network) join(from, to *host) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	way := [2]string{from.name, to.name}
	if n.rules[way] == 0 {
		return
	}
	n.ip("-n", n.router(), "rule", "del", "pref", fmt.Sprint(n.rules[way]))
	delete(n.rules, way)
}

// command is a command that runs on the host.
func (h *host) command(name string, args ...string) *exec.Cmd {
	if h == nil || !h.net.real() {
		return exec.CommandContext(context.Background(), name, args...)
	}
	return exec.CommandContext(context.Background(), "ip", append([]string{"netns", "exec", h.namespace(), name}, args...)...)
}

const dialMax = 5 * time.Second

// dial connects from the host.
func (h *host) dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	d := net.Dialer{Timeout: dialMax}
	if h == nil || !h.net.real() {
		return d.DialContext(ctx, network, addr)
	}
	err = inNamespace(h.namespace(), func() (err error) {
		c, err = d.DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// from makes a client a client on this host.
func (h *host) from() kgo.Opt { return kgo.Dialer(h.dial) }

// listen listens on the host.
func (h *host) listen(addr string) (l net.Listener, err error) {
	var c net.ListenConfig
	if !h.net.real() {
		return c.Listen(context.Background(), "tcp", addr)
	}
	err = inNamespace(h.namespace(), func() (err error) {
		l, err = c.Listen(context.Background(), "tcp", addr)
		return err
	})
	return l, err
}
