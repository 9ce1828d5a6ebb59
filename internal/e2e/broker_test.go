package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// node is a place for a broker: a store and two ports. Its processes come and
// go.
type node struct {
	t      *testing.T
	store  storeURL
	port   int
	http   int
	flags  []string
	memory string
	host   *host  // where it runs; nil: here
	log    string // a file that gets all that processes say; empty: none

	other func() (program string, args []string) // another broker than Karst; nil: Karst
}

func newNode(t *testing.T, s storeURL, flags ...string) *node {
	t.Helper()
	return &node{t: t, store: s, port: freePort(t), http: freePort(t), flags: flags, memory: "256MiB"}
}

func (n *node) addr() string { return n.at(n.port) }

func (n *node) at(port int) string {
	if n.host != nil {
		return n.host.at(port)
	}
	return address(port)
}

// process is one life of a broker.
type process struct {
	node  *node
	cmd   *exec.Cmd
	log   *tail
	dir   string
	began time.Time
	ended chan struct{}
	err   error // after ended
}

// start starts a broker in a folder of its own, which is all of the machine
// that it may write to.
func (n *node) start(more ...string) *process {
	n.t.Helper()
	dir, err := os.MkdirTemp(n.t.TempDir(), "machine")
	if err != nil {
		n.t.Fatal(err)
	}
	args := []string{
		"serve", "--store", n.store.url, "--listen", n.addr(), "--http", n.at(n.http), "--memory", n.memory,
	}
	args = append(append(args, n.flags...), more...)
	p := &process{node: n, log: &tail{t: n.t, path: n.log}, dir: dir, ended: make(chan struct{}), began: time.Now()}
	program := karst(n.t)
	if n.other != nil {
		program, args = n.other()
	}
	p.cmd = n.host.command(program, args...)
	p.cmd.Dir = dir
	p.cmd.Env = append([]string{"HOME=" + dir, "TMPDIR=" + dir, "XDG_CACHE_HOME=" + dir, "PATH=" + os.Getenv("PATH")}, n.store.env...)
	p.cmd.Stderr, p.cmd.Stdout = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	n.t.Cleanup(func() {
		p.kill()
		if n.t.Failed() {
			n.t.Logf("log of process %d:\n%s", p.cmd.Process.Pid, p.log)
		}
	})
	return p
}

// startReady starts a broker and waits until it serves.
func (n *node) startReady(more ...string) *process {
	n.t.Helper()
	p := n.start(more...)
	p.waitReady()
	return p
}

const readyMax = 60 * time.Second

func (p *process) waitReady() {
	p.node.t.Helper()
	within(p.node.t, readyMax, "broker ready", func() error {
		select {
		case <-p.ended:
			p.node.t.Fatalf("broker ended: %v\n%s", p.err, p.log)
		default:
		}
		if p.node.other != nil {
			c, err := p.node.host.dial(context.Background(), "tcp", p.node.addr())
			if err == nil {
				_ = c.Close()
			}
			return err
		}
		_, err := p.get("/readyz")
		return err
	})
}

var web = webFrom(nil)

func webFrom(h *host) *http.Client {
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: h.dial}}
}

// get asks the broker's HTTP port.
func (p *process) get(path string) (string, error) {
	r, err := webFrom(p.node.host).Get("http://" + p.node.at(p.node.http) + path)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, b)
	}
	return string(b), err
}

// metric is the sum of a metric's series.
func (p *process) metric(name string) float64 {
	p.node.t.Helper()
	text, err := p.get("/metrics")
	if err != nil {
		p.node.t.Fatal(err)
	}
	sum := 0.0
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if at := strings.LastIndexByte(line, ' '); at > 0 && strings.HasPrefix(line, name) {
			series, value, ok = line[:at], strings.TrimSpace(line[at:]), true
		}
		if base, _, _ := strings.Cut(series, "{"); !ok || base != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			p.node.t.Fatal(err)
		}
		sum += v
	}
	return sum
}

func (p *process) signal(s syscall.Signal) {
	p.node.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.node.t.Fatal(err)
	}
}

// freeze stops every thread of the process, and returns when they have: until
// then it may go on acknowledging.
func (p *process) freeze() {
	p.node.t.Helper()
	p.signal(syscall.SIGSTOP)
	for until := time.Now().Add(time.Minute); !p.frozen(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			p.node.t.Fatal("the process does not stop")
		}
	}
}

func (p *process) frozen() bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		// proc(5): the state comes after the name, which is in parentheses.
		if name := bytes.LastIndexByte(b, ')'); name < 0 || !bytes.HasPrefix(b[name+1:], []byte(" T")) {
			return false
		}
	}
	return true
}

// kill is kill -9, and the end of everything on the machine but the store.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
	_ = os.RemoveAll(p.dir)
}

// wait is the exit code of a process that should end by itself.
func (p *process) wait(limit time.Duration) int {
	p.node.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.node.t.Fatalf("the broker did not end within %v:\n%s", limit, p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

// wroteNothing fails the test if the broker left anything on the machine outside
// its store.
func (p *process) wroteNothing() {
	p.node.t.Helper()
	err := filepath.WalkDir(p.dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != p.dir {
			p.node.t.Errorf("state outside the bucket: %s", path)
		}
		return err
	})
	if err != nil {
		p.node.t.Error(err)
	}
}

// rss is the resident memory of the process in bytes.
func (p *process) rss() int64 {
	p.node.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.node.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	p.node.t.Fatal("no VmRSS")
	return 0
}
