package e2e

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// s3Store is a prefix of its own in a bucket: that of KARST_TEST_S3, else of a
// versitygw that this run starts.
func s3Store(t *testing.T) storeURL {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.s3 == "" {
		shared.s3 = os.Getenv("KARST_TEST_S3")
		shared.env = credentials(os.Environ())
		if shared.s3 == "" {
			startS3(t)
		}
	}
	u, err := url.Parse(shared.s3)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = fmt.Sprintf("%s/%016x", strings.TrimSuffix(u.Path, "/"), rand.Uint64())
	return storeURL{url: u.String(), env: shared.env}
}

func credentials(env []string) []string {
	var out []string
	for _, e := range env {
		if strings.HasPrefix(e, "AWS_") {
			out = append(out, e)
		}
	}
	return out
}

// startS3 runs the server's script around a shell that says what the script set
// and then waits for us to go; shared is locked.
func startS3(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), "../../scripts/s3-server.sh", "versitygw",
		"sh", "-c", `echo "$KARST_TEST_S3"; env | grep ^AWS_; echo; read line`)
	log := &tail{t: t}
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shared.endS3 = func() {
		_ = in.Close()
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
		defer timer.Stop()
		_ = cmd.Wait()
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "" {
		if strings.HasPrefix(lines.Text(), "s3:") {
			shared.s3 = lines.Text()
		} else {
			shared.env = append(shared.env, lines.Text())
		}
	}
	if shared.s3 == "" {
		t.Fatalf("no S3 server: %s", log)
	}
}

// through is the same store, reached by way of another address.
func (s storeURL) through(t *testing.T, addr string) storeURL {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("endpoint", "http://"+addr)
	u.RawQuery = q.Encode()
	return storeURL{url: u.String(), env: s.env}
}

// server is the address of the store's server.
func (s storeURL) server(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	e, err := url.Parse(u.Query().Get("endpoint"))
	if err != nil {
		t.Fatal(err)
	}
	return e.Host
}
