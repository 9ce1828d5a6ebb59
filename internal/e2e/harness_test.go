package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestMain removes what the whole run shares.
func TestMain(m *testing.M) {
	code := m.Run()
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	if shared.endS3 != nil {
		shared.endS3()
	}
	os.Exit(code)
}

// shared is what one run of the tests builds or starts once.
var shared struct {
	sync.Mutex
	dir       string
	binary    string
	next      string
	java      string // class path
	ecosystem string // class path
	python    string
	s3        string
	env       []string // credentials of s3
	endS3     func()
}

// endToEnd skips a test unless end-to-end tests are asked for.
func endToEnd(t *testing.T) {
	t.Helper()
	if os.Getenv("KARST_TEST_E2E") != "1" {
		t.Skip("end-to-end tests take minutes: set KARST_TEST_E2E=1 to run them")
	}
}

// sharedDir is a folder for the run; shared is locked.
func sharedDir(t *testing.T) string {
	t.Helper()
	if shared.dir == "" {
		dir, err := os.MkdirTemp("", "karst-e2e-") //nolint:usetesting // it outlives the test
		if err != nil {
			t.Fatal(err)
		}
		shared.dir = dir
	}
	return shared.dir
}

// karst is the binary under test.
func karst(t *testing.T) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if b := os.Getenv("KARST_TEST_BINARY"); b != "" {
		return b
	}
	if shared.binary == "" {
		out := filepath.Join(sharedDir(t), "karst")
		run(t, 5*time.Minute, "go", "build", "-o", out, "../../cmd/karst")
		shared.binary = out
	}
	return shared.binary
}

// run runs a command to its end and returns what it printed.
func run(t *testing.T, limit time.Duration, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.WaitDelay = time.Second
	timer := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	cmd.Stderr = &tail{t: t}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, cmd.Stderr)
	}
	return out
}

// tail keeps the end of what a process says.
type tail struct {
	t    *testing.T
	path string // a file that gets all of it; empty: none
	mu   sync.Mutex
	b    []byte
	term int // the last metadata term that a broker said it holds
}

const tailBytes = 16 << 10

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, p...)
	if w.path != "" {
		if f, err := os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err == nil {
			_, _ = f.Write(p)
			_ = f.Close()
		}
	}
	if _, said, ok := bytes.Cut(p, []byte(`"holding metadata term" term=`)); ok {
		_, _ = fmt.Sscan(string(said), &w.term)
	}
	if len(w.b) > 2*tailBytes {
		w.b = append(w.b[:0], w.b[len(w.b)-tailBytes:]...)
	}
	return len(p), nil
}

// holds is the last metadata term that a broker said it holds.
func (w *tail) holds() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.term
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.b)
}

// freePort is a port that nobody listens on. It is outside the range that
// outgoing connections get: a client that keeps trying a free port of that range
// will once be given the same one and connect to itself.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10000 + rand.IntN(10000)
		l, err := net.Listen("tcp", address(port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// setting is a number from the environment.
func setting(t *testing.T, name string, standard int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return standard
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// within waits until ready returns nil.
func within(t *testing.T, limit time.Duration, what string, ready func() error) {
	t.Helper()
	if err := poll(limit, ready); err != nil {
		t.Fatalf("%s: not within %v: %v", what, limit, err)
	}
}

func poll(limit time.Duration, ready func() error) error {
	began := time.Now()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Since(began) > limit {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// stores runs a test on a folder and on S3.
func stores(t *testing.T, test func(t *testing.T, s storeURL)) {
	t.Helper()
	endToEnd(t)
	t.Run("folder", func(t *testing.T) { test(t, storeURL{url: "file://" + t.TempDir()}) })
	t.Run("s3", func(t *testing.T) { test(t, s3Store(t)) })
}

// oneStore is for tests that take long: a folder, or S3 if KARST_TEST_STORE says
// so.
func oneStore(t *testing.T) storeURL {
	t.Helper()
	if os.Getenv("KARST_TEST_STORE") == "s3" {
		return s3Store(t)
	}
	return storeURL{url: "file://" + t.TempDir()}
}

// storeURL is a store and what a process needs in its environment to use it.
type storeURL struct {
	url string
	env []string
}

func (s storeURL) String() string { return s.url }

var _ fmt.Stringer = storeURL{}
