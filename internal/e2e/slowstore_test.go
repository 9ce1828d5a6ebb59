package e2e

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"testing"
	"time"

	"github.com/karst-io/karst/internal/store/faults"
)

// slowStore stands before an S3 server and makes it as slow as a real one: 30 ms
// (p50) and 150 ms (p99) to PUTs, 20 ms to the first byte of everything else. It
// can be worse.
type slowStore struct {
	url  storeURL // by way of it
	slow bool

	mu      sync.Mutex
	trouble trouble
	random  *rand.Rand
	put     faults.Lognormal
}

// trouble is what befalls requests: shares of them, between 0 and 1.
type trouble struct {
	throttled float64 // answered with 503 SlowDown, not done
	lost      float64 // done, but the connection breaks before the answer
	broken    float64 // the connection breaks, nothing is done
	slower    float64 // factor of delays; 0: 1
}

const otherDelay = 20 * time.Millisecond

// newSlowStore serves on a host, in front of a store of ours.
func newSlowStore(t *testing.T, s storeURL, at *host, slow bool) *slowStore {
	t.Helper()
	x := &slowStore{slow: slow, random: rand.New(rand.NewPCG(rand.Uint64(), 0)), put: faults.LognormalOf(30*time.Millisecond, 150*time.Millisecond)}
	port := 9000
	if !at.net.real() {
		port = freePort(t)
	}
	l, err := at.listen(at.at(port))
	if err != nil {
		t.Fatal(err)
	}
	server := s.server(t)
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", server
			r.Out.Host = r.In.Host // it is signed
		},
		Transport: &http.Transport{
			DialContext: (&net.Dialer{}).DialContext, DisableCompression: true, MaxIdleConnsPerHost: 256,
			ExpectContinueTimeout: time.Second,
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	serve := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: forward.ErrorLog, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.serve(forward, w, r)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = serve.Serve(l)
	}()
	t.Cleanup(func() {
		_ = serve.Close()
		<-ended
	})
	x.url = s.through(t, l.Addr().String())
	return x
}

// set says what befalls requests from now on.
func (x *slowStore) set(change func(*trouble)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	change(&x.trouble)
}

func (x *slowStore) serve(forward http.Handler, w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	now, dice := x.trouble, x.random.Float64()
	delay := otherDelay
	if r.Method == http.MethodPut {
		delay = x.put.Of(x.random, 0)
	}
	x.mu.Unlock()
	if !x.slow {
		delay = 0
	}
	if now.slower > 1 {
		delay = time.Duration(float64(max(delay, time.Millisecond)) * now.slower)
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
		return
	}
	switch {
	case dice < now.throttled:
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
	case dice < now.throttled+now.broken:
		panic(http.ErrAbortHandler)
	case dice < now.throttled+now.broken+now.lost:
		forward.ServeHTTP(&noAnswer{h: http.Header{}}, r)
		panic(http.ErrAbortHandler)
	default:
		forward.ServeHTTP(w, r)
	}
}

// noAnswer takes an answer that nobody gets.
type noAnswer struct{ h http.Header }

func (n *noAnswer) Header() http.Header         { return n.h }
func (n *noAnswer) Write(b []byte) (int, error) { return len(b), nil }
func (n *noAnswer) WriteHeader(int)             {}
