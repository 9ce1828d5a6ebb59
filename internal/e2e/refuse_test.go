package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// refused wants one clear line and exit code 1, in time.
func (p *process) refused(t *testing.T, words ...string) {
	t.Helper()
	began := time.Now()
	if code := p.wait(90 * time.Second); code != 1 {
		t.Errorf("exit code %d", code)
	}
	var said []string
	for line := range strings.Lines(p.log.String()) {
		if strings.HasPrefix(line, "karst: ") {
			said = append(said, strings.TrimSpace(line))
		} else if !strings.HasPrefix(line, "time=") {
			t.Errorf("not a line of the log: %s", line)
		}
	}
	if len(said) != 1 {
		t.Fatalf("%d lines, want one:\n%s", len(said), p.log)
	}
	for _, w := range words {
		if !strings.Contains(said[0], w) {
			t.Errorf("%q does not say %q", said[0], w)
		}
	}
	t.Logf("after %v: %s", time.Since(began).Round(time.Millisecond), said[0])
}

// TestRefusal starts brokers that must not start.
func TestRefusal(t *testing.T) {
	endToEnd(t)
	folder := func(t *testing.T) storeURL {
		t.Helper()
		return storeURL{url: "file://" + t.TempDir()}
	}
	t.Run("port in use", func(t *testing.T) {
		n := newNode(t, folder(t))
		l, err := net.Listen("tcp", n.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		n.start().refused(t, n.addr(), "in use", "--listen")
	})
	t.Run("http port in use", func(t *testing.T) {
		n := newNode(t, folder(t))
		l, err := net.Listen("tcp", address(n.http))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		n.start().refused(t, address(n.http), "in use", "--http")
	})
	t.Run("bad URL", func(t *testing.T) {
		newNode(t, storeURL{url: "ftp://somewhere/else"}).start().refused(t, "ftp", "file://", "s3://")
	})
	t.Run("unknown key", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "karst.yaml")
		if err := os.WriteFile(file, []byte("listne: 127.0.0.1:9092\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		newNode(t, folder(t)).start("--config", file).refused(t, "listne", file)
	})
	t.Run("unwritable folder", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		newNode(t, storeURL{url: "file://" + file + "/store"}).start().refused(t, file)
	})
	t.Run("unreachable store", func(t *testing.T) {
		s := storeURL{url: "s3://bucket?region=us-east-1&path_style=true&endpoint=http://" + address(freePort(t)), env: fakeCredentials}
		newNode(t, s).start().refused(t, "s3://bucket", "connection refused")
	})
	t.Run("no such bucket", func(t *testing.T) {
		s := s3Store(t)
		s.url = strings.Replace(s.url, "s3://", "s3://no-such-bucket-", 1)
		newNode(t, s).start().refused(t, "s3://no-such-bucket-", "bucket")
	})
	t.Run("unsafe store", func(t *testing.T) {
		server := httptest.NewServer(&careless{objects: map[string][]byte{}})
		defer server.Close()
		s := storeURL{url: "s3://bucket?region=us-east-1&path_style=true&endpoint=" + server.URL, env: fakeCredentials}
		newNode(t, s).start().refused(t, "unfit", "If-None-Match")
	})
}

var fakeCredentials = []string{"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "AWS_EC2_METADATA_DISABLED=true"}

// careless is an S3 server that ignores If-None-Match, as some still do.
type careless struct {
	mu      sync.Mutex
	objects map[string][]byte
}

func (c *careless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/bucket/")
	object, ok := c.objects[name]
	switch {
	case r.Method == http.MethodPut:
		c.objects[name] = body
	case r.Method == http.MethodDelete || r.Method == http.MethodPost:
		delete(c.objects, name)
		fmt.Fprint(w, "<DeleteResult/>")
	case r.URL.Query().Has("list-type"):
		c.list(w, r.URL.Query().Get("prefix"))
	case !ok:
		w.Header().Set("X-Amz-Request-Id", "1")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
	default:
		http.ServeContent(w, r, "", time.Unix(1, 0), strings.NewReader(string(object)))
	}
}

func (c *careless) list(w io.Writer, prefix string) {
	var names []string
	for name := range c.objects {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	fmt.Fprint(w, "<ListBucketResult>")
	for _, name := range names {
		fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>%d</Size></Contents>", name, len(c.objects[name]))
	}
	fmt.Fprint(w, "</ListBucketResult>")
}

// TestSameID: a second broker of one id is refused while the first answers, and
// takes over when told to; then the first one ends.
func TestSameID(t *testing.T) {
	stores(t, func(t *testing.T, s storeURL) {
		first := newNode(t, s, "--broker.id=1")
		p := first.startReady()
		second := newNode(t, s, "--broker.id=1")
		second.start().refused(t, "broker 1", "already running", "--broker.takeover=true")
		l := startLoad(t, first.addr())
		l.flowing(1000, time.Minute)
		for _, e := range l.producers { // all is acknowledged; the topic stays
			e.end()
		}
		second.startReady("--broker.takeover=true")
		// The first one learns of it at its next create, and acknowledges nothing.
		refuseRecord(t, first.addr(), l.ledger.topic)
		if code := p.wait(15 * time.Second); code != 1 {
			t.Errorf("exit code %d", code)
		}
		if last := lastLine(p.log); !strings.Contains(last, "another process has registered this broker id") {
			t.Errorf("the first does not say why it ended: %s", last)
		}
		l.endFollow()
		l.follows.Wait()
		count := l.ledger.verify(t, second.addr(), l.followed)
		t.Logf("taken over; %d records acknowledged by the first, %d read from the second", l.ledger.acknowledged(), count)
	})
}

// refuseRecord sends a record that must not be acknowledged.
func refuseRecord(t *testing.T, addr, topic string) {
	t.Helper()
	err := produceRaw(rawClient(t, addr), topic)
	if err == nil {
		t.Error("a broker that was fenced acknowledged a record")
	}
}
