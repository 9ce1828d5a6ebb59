package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// listen binds an address, with an error that says what to do.
func listen(what, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s %s: the port is in use; stop the process that has it, or choose another with --%s HOST:PORT", what, addr, what)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", what, addr, err)
	}
	return l, nil
}

// advertised is the host and port that clients are told. Without a setting it
// is the host that was bound, or this machine's name when that is a wildcard,
// as in Kafka, and the port that was really bound.
func advertised(listen, at string, bound net.Addr) (string, int32, error) {
	if at == "" {
		host, _, err := net.SplitHostPort(listen)
		if err != nil {
			return "", 0, err
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = machineName()
		}
		_, port, err := net.SplitHostPort(bound.String())
		if err != nil {
			return "", 0, err
		}
		at = net.JoinHostPort(host, port)
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseInt(port, 10, 32)
	return host, int32(n), err
}

// machineName is a name of this machine that resolves, else localhost: a client
// that cannot resolve what it is told is stuck.
func machineName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	if _, err := net.LookupHost(name); err != nil {
		return "localhost"
	}
	return name
}
