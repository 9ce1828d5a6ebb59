package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/peer/peerpb/peerpbconnect"
)

// Bounds of a listener.
const (
	// MessageMax bounds a message, in bytes: the largest is a commit.
	MessageMax = 72 << 20
	headerMax  = 16 << 10
	// handshakeMax bounds the time to a request's header.
	handshakeMax = 10 * time.Second
	stopMax      = 2 * time.Second
)

// clusterHeader names the cluster in every request: certificates that an operator
// made may be those of several clusters.
const clusterHeader = "Karst-Cluster"

// Serve answers other brokers until ctx ends.
func Serve(ctx context.Context, l net.Listener, c *Credentials, cluster karst.ClusterID, h peerpbconnect.PeerHandler, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle(peerpbconnect.NewPeerHandler(h, connect.WithInterceptors(ours(cluster)),
		connect.WithReadMaxBytes(MessageMax), connect.WithSendMaxBytes(MessageMax)))
	s := &http.Server{
		Handler: mux, TLSConfig: c.server(), Protocols: http2(), ReadHeaderTimeout: handshakeMax, MaxHeaderBytes: headerMax,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // of strangers' handshakes
		HTTP2:    &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingMax},
		BaseContext: func(net.Listener) context.Context {
			return ctx
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- s.ServeTLS(l, "", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("peer listener: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopMax)
	defer cancel()
	if err := s.Shutdown(stop); err != nil {
		_ = s.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("peer listener: %w", err)
	}
	return nil
}

// http2 is what is spoken, and nothing else: many calls share a connection, whose
// end is noticed.
func http2() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP2(true)
	return p
}

// ours refuses requests of another cluster.
func ours(cluster karst.ClusterID) connect.Interceptor {
	return connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			if r.Spec().IsClient {
				r.Header().Set(clusterHeader, cluster.String())
				return next(ctx, r)
			}
			if theirs := r.Header().Get(clusterHeader); theirs != cluster.String() {
				return nil, connect.NewError(connect.CodePermissionDenied, fmt.Errorf("this is a broker of cluster %s, not of %q", cluster, theirs))
			}
			return next(ctx, r)
		}
	})
}

// Stranger reports whether a call failed because who answered is not of the
// cluster.
func Stranger(err error) bool { return connect.CodeOf(err) == connect.CodePermissionDenied }

// Refused reports whether nobody listens at the address that was called, so that
// the request did not happen.
func Refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
