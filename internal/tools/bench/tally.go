package bench

import (
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
)

// tallyMax bounds the kinds of errors that are told apart.
const tallyMax = 64

// tally counts errors by kind.
type tally struct {
	mu    sync.Mutex
	kinds map[string]int64
}

func (t *tally) add(err error) { t.addKind(kindOf(err), 1) }

func (t *tally) addKind(kind string, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kinds == nil {
		t.kinds = map[string]int64{}
	}
	if _, ok := t.kinds[kind]; !ok && len(t.kinds) >= tallyMax {
		kind = "other"
	}
	t.kinds[kind] += n
}

func (t *tally) counts() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.kinds)
}

// kindOf names an error without what differs from one to the next, such as the
// addresses of a connection.
func kindOf(err error) string {
	var k *kerr.Error
	var errno syscall.Errno
	var op *net.OpError
	switch {
	case errors.As(err, &k):
		return k.Message
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed by the broker"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
