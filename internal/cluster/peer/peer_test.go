package peer_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/peer"
	pb "github.com/karst-io/karst/internal/cluster/peer/peerpb"
	"github.com/karst-io/karst/internal/cluster/peer/peerpb/peerpbconnect"
)

var (
	ours   = karst.ClusterID{1}
	theirs = karst.ClusterID{2}
	secret = []byte("0123456789abcdef")
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ofSecret(t *testing.T, secret string, cluster karst.ClusterID) *peer.Credentials {
	t.Helper()
	c, err := peer.OfSecret([]byte(secret), cluster)
	must(t, err)
	return c
}

// broker answers Ping, and holds a Poll until its connection ends.
type broker struct {
	peerpbconnect.UnimplementedPeerHandler
	polled chan error // how the wait of a Poll ended
}

func (broker) Ping(context.Context, *pb.PingRequest) (*pb.PingResponse, error) {
	return &pb.PingResponse{Broker: 7}, nil
}

func (b broker) Poll(ctx context.Context, _ *pb.PollRequest) (*pb.PollResponse, error) {
	b.polled <- nil
	<-ctx.Done()
	b.polled <- ctx.Err()
	return nil, ctx.Err()
}

func (broker) Forward(_ context.Context, r *pb.ForwardRequest) (*pb.ForwardResponse, error) {
	return &pb.ForwardResponse{Body: r.Body}, nil
}

// serve runs a broker's listener and says where, and how to end it.
func serve(t *testing.T, c *peer.Credentials, h peerpbconnect.PeerHandler) (at string, stop func()) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- peer.Serve(ctx, l, c, ours, h, slog.New(slog.DiscardHandler)) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error("Serve:", err)
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// ping calls a broker once.
func ping(t *testing.T, c *peer.Credentials, cluster karst.ClusterID, at string) error {
	t.Helper()
	p := peer.NewPeers(c, cluster, nil)
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := p.At(at).Ping(ctx, &pb.PingRequest{})
	if err == nil && r.Broker != 7 {
		t.Errorf("broker %d answered", r.Broker)
	}
	return err
}

// Whoever knows the secret of the cluster is of it, and nobody else.
func TestOfSecret(t *testing.T) {
	at, _ := serve(t, ofSecret(t, string(secret), ours), broker{})
	must(t, ping(t, ofSecret(t, string(secret), ours), ours, at))
	for name, c := range map[string]*peer.Credentials{
		"another secret":  ofSecret(t, "fedcba9876543210", ours),
		"another cluster": ofSecret(t, string(secret), theirs),
	} {
		err := ping(t, c, ours, at)
		if err == nil || peer.Refused(err) || peer.Stranger(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// With the right certificate and another cluster in the request: it says so.
	if err := ping(t, ofSecret(t, string(secret), ours), theirs, at); !peer.Stranger(err) {
		t.Error("a request of another cluster:", err)
	}
	if _, err := peer.OfSecret(secret[:15], ours); err == nil {
		t.Error("a secret of 15 bytes was taken")
	}
	must(t, ping(t, ofSecret(t, string(secret), ours), ours, at)) // after all that
}

// ended fails the test unless the other side ends the connection without a byte
// of an answer to a request.
func ended(t *testing.T, what string, c net.Conn) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(15*time.Second)))
	got, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(string(got), "200") {
		t.Errorf("%s: read %q, %v", what, got, err)
	}
}

// Strangers on the network get no further than the handshake.
func TestStrangers(t *testing.T) {
	at, _ := serve(t, ofSecret(t, string(secret), ours), broker{})
	dial := func() net.Conn {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
		must(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := dial()
	must(t, drain(io.WriteString(c, strings.Repeat("\x00\xffgarbage", 1000))))
	ended(t, "garbage", c)

	c = dial()
	must(t, drain(io.WriteString(c, "POST /karst.peer.v1.Peer/Ping HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")))
	ended(t, "HTTP/1 without TLS", c)

	// In TLS 1.3 the client's handshake ends before the server has looked at its
	// certificate: the refusal is read afterwards.
	for what, with := range map[string]*tls.Config{
		"no certificate":           {MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, NextProtos: []string{"h2"}},
		"a certificate of its own": {MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{selfSigned(t)}},
		"TLS 1.2":                  {MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true},
	} {
		c := tls.Client(dial(), with)
		if err := c.HandshakeContext(t.Context()); err == nil {
			_, _ = io.WriteString(c, http2Preface)
			ended(t, what, c)
		}
	}
	must(t, ping(t, ofSecret(t, string(secret), ours), ours, at))
}

func drain(_ int, err error) error { return err }

const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	a := newAuthority(t)
	return tls.Certificate{Certificate: [][]byte{a.der}, PrivateKey: a.key}
}

// Connections that say nothing, or go on for ever, do not keep others out.
func TestSlowStrangers(t *testing.T) {
	at, _ := serve(t, ofSecret(t, string(secret), ours), broker{})
	for n := range 300 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
		must(t, err)
		defer c.Close()
		if n%2 == 0 { // the beginning of a client's first message
			must(t, drain(c.Write([]byte{0x16, 3, 1, 1, 0, 1})))
		}
	}
	began := time.Now()
	must(t, ping(t, ofSecret(t, string(secret), ours), ours, at))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a broker waited %s", took)
	}
}

// authority is a certificate authority as operators have them.
type authority struct {
	certificate *x509.Certificate
	der         []byte
	key         *ecdsa.PrivateKey
	serial      int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	must(t, err)
	c, err = x509.ParseCertificate(der)
	must(t, err)
	return &authority{certificate: c, der: der, key: key}
}

// files writes a certificate for 127.0.0.1 or a name, with its key, and the
// certificate of the authority.
func (a *authority) files(t *testing.T, host string, uses ...x509.ExtKeyUsage) (certificate, key, authorities string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	a.serial++
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1 + a.serial), Subject: pkix.Name{CommonName: host}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: uses,
	}
	if ip := net.ParseIP(host); ip != nil {
		leaf.IPAddresses = []net.IP{ip}
	} else {
		leaf.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.certificate, k.Public(), a.key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(k)
	must(t, err)
	dir := t.TempDir()
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600))
		return path
	}
	return write("certificate", "CERTIFICATE", der), write("key", "PRIVATE KEY", private), write("authority", "CERTIFICATE", a.der)
}

func TestOfFiles(t *testing.T) {
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	a := newAuthority(t)
	of := func(a *authority, host string, uses ...x509.ExtKeyUsage) *peer.Credentials {
		c, err := peer.OfFiles(a.files(t, host, uses...))
		must(t, err)
		return c
	}
	at, _ := serve(t, of(a, "127.0.0.1", both...), broker{})
	must(t, ping(t, of(a, "10.1.1.1", both...), ours, at)) // a client's own address is not asked for
	for name, c := range map[string]*peer.Credentials{
		"another authority": of(newAuthority(t), "127.0.0.1", both...),
		"not for clients":   of(a, "127.0.0.1", x509.ExtKeyUsageServerAuth),
		"derived":           ofSecret(t, string(secret), ours),
	} {
		if err := ping(t, c, ours, at); err == nil || peer.Refused(err) || peer.Stranger(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One authority, two clusters: the request tells them apart.
	if err := ping(t, of(a, "127.0.0.1", both...), theirs, at); !peer.Stranger(err) {
		t.Error("another cluster of the same authority:", err)
	}
	// The certificate has to be for the host that was called.
	at, _ = serve(t, of(a, "elsewhere.example", both...), broker{})
	if err := ping(t, of(a, "127.0.0.1", both...), ours, at); err == nil {
		t.Error("a certificate of another host was taken")
	}

	certificate, key, authorities := a.files(t, "h", both...)
	for _, c := range [][3]string{{"none", key, authorities}, {certificate, certificate, authorities}, {certificate, key, "none"}, {certificate, key, key}} {
		if _, err := peer.OfFiles(c[0], c[1], c[2]); err == nil || !strings.HasPrefix(err.Error(), "peer ") {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// Only HTTP/2 is spoken, whoever calls.
func TestNoOldHTTP(t *testing.T) {
	a := newAuthority(t)
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	certificate, key, authorities := a.files(t, "127.0.0.1", both...)
	c, err := peer.OfFiles(certificate, key, authorities)
	must(t, err)
	at, _ := serve(t, c, broker{})
	pair, err := tls.LoadX509KeyPair(certificate, key)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
	must(t, err)
	defer raw.Close()
	nc := tls.Client(raw, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: "127.0.0.1", NextProtos: []string{"http/1.1"}})
	if err := nc.HandshakeContext(t.Context()); err != nil {
		return // refused there
	}
	must(t, nc.SetDeadline(time.Now().Add(15*time.Second)))
	_, _ = fmt.Fprintf(nc, "POST /karst.peer.v1.Peer/Ping HTTP/1.1\r\nHost: x\r\nKarst-Cluster: %s\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", ours)
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err == nil {
		resp.Body.Close()
		t.Error("HTTP/1 was answered:", resp.Status)
	}
}

// Close ends the calls under way, and those to come.
func TestClose(t *testing.T) {
	h := broker{polled: make(chan error, 2)}
	at, _ := serve(t, ofSecret(t, string(secret), ours), h)
	p := peer.NewPeers(ofSecret(t, string(secret), ours), ours, nil)
	answered := make(chan error, 1)
	go func() {
		_, err := p.At(at).Poll(t.Context(), &pb.PollRequest{})
		answered <- err
	}()
	must(t, <-h.polled)
	p.Close()
	if err := <-answered; err == nil || peer.Refused(err) || peer.Stranger(err) {
		t.Error("the call under way:", err)
	}
	if err := <-h.polled; err == nil {
		t.Error("the other side does not know")
	}
	if _, err := p.At(at).Ping(t.Context(), &pb.PingRequest{}); err == nil {
		t.Error("a call after Close was answered")
	}
	p.Close() // again
}

// The end of a listener ends the calls that wait there.
func TestServeEnds(t *testing.T) {
	h := broker{polled: make(chan error, 2)}
	at, stop := serve(t, ofSecret(t, string(secret), ours), h)
	p := peer.NewPeers(ofSecret(t, string(secret), ours), ours, nil)
	defer p.Close()
	answered := make(chan error, 1)
	go func() {
		_, err := p.At(at).Poll(t.Context(), &pb.PollRequest{})
		answered <- err
	}()
	must(t, <-h.polled)
	stop()
	if err := <-answered; err == nil {
		t.Error("the call was answered")
	}
	// Nobody listens: that is definite, and what follows may be done at once.
	_, err := p.At(at).Ping(t.Context(), &pb.PingRequest{})
	if !peer.Refused(err) {
		t.Error("nobody listens:", err)
	}
	if err := peer.Outcome(t.Context(), err, nil); !errors.Is(err, karst.NotController.Err()) {
		t.Error("nobody listens:", err)
	}
}

func TestMessageBounds(t *testing.T) {
	at, _ := serve(t, ofSecret(t, string(secret), ours), broker{})
	p := peer.NewPeers(ofSecret(t, string(secret), ours), ours, nil)
	defer p.Close()
	body := make([]byte, 16<<20)
	r, err := p.At(at).Forward(t.Context(), &pb.ForwardRequest{Body: body})
	must(t, err)
	if len(r.Body) != len(body) {
		t.Errorf("%d bytes came back", len(r.Body))
	}
	_, err = p.At(at).Forward(t.Context(), &pb.ForwardRequest{Body: make([]byte, peer.MessageMax)})
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Error("a message that is too large:", err)
	}
	// The listener holds to it too, whatever the caller thinks.
	big := peerpbconnect.NewPeerClient(&http.Client{Transport: transport(t)}, "https://"+at)
	_, err = big.Forward(t.Context(), &pb.ForwardRequest{Body: make([]byte, peer.MessageMax)})
	if err == nil {
		t.Error("a message that is too large was taken")
	}
}

// transport has no certificate.
func transport(t *testing.T) *http.Transport {
	t.Helper()
	x := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}}
	t.Cleanup(x.CloseIdleConnections)
	return x
}

// Errors cross as they are; what is none of Karst's leaves the outcome open.
func TestErrors(t *testing.T) {
	if peer.Refusal(nil) != nil || peer.Err(nil) != nil {
		t.Error("no error became one")
	}
	for _, c := range karst.Codes() {
		err := peer.Err(peer.Refusal(fmt.Errorf("around: %w", c.Errorf("why"))))
		var k *karst.Error
		if !errors.As(err, &k) || k.Code != c || k.Message != "why" {
			t.Errorf("code %d became %v", c, err)
		}
	}
	if err := peer.Err(&pb.Error{Code: 1 << 30, Message: "later"}); !errors.Is(err, karst.Unknown.Err()) {
		t.Error("a code of a newer Karst became", err)
	}
	for _, err := range []error{io.ErrUnexpectedEOF, context.Canceled} {
		if got := peer.Err(peer.Refusal(err)); !errors.Is(got, karst.TimedOut.Err()) {
			t.Errorf("%v became %v", err, got)
		}
		if got := peer.Outcome(t.Context(), err, nil); !errors.Is(got, karst.TimedOut.Err()) {
			t.Errorf("a call that ended with %v is %v", err, got)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("cause")
	cancel(cause)
	if err := peer.Outcome(ctx, io.EOF, nil); !errors.Is(err, cause) {
		t.Error(err)
	}
	if err := peer.Outcome(ctx, nil, nil); err != nil {
		t.Error("an answer that came in time:", err)
	}
}
