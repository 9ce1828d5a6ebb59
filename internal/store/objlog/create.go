package objlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
)

// Timing of retries. An attempt has attemptTimeout plus a second per MiB; a
// stuck one is the hedger's business long before that.
const (
	attemptTimeout = 10 * time.Second
	backoffFirst   = 20 * time.Millisecond
	backoffMax     = 2 * time.Second
)

func timeoutOf(size int64) time.Duration {
	return attemptTimeout + time.Duration(min(size>>20, 3600))*time.Second
}

// found is what holds a name after a create.
type found struct {
	ours    bool                // the bytes we sent
	absent  bool                // it existed, and is gone
	corrupt *karst.CorruptError // it exists, but its header cannot be read
	header  object.Header       // otherwise: what is there
}

// create creates the object and finds out who holds the name. Its only error
// wraps ErrUnknown: ctx ended first.
func create(ctx context.Context, st Store, name string, h object.Header, body store.Body) (found, error) {
	mustBeginWith(h, body)
	var last error
	for attempt := 0; ; attempt++ {
		if err := pause(ctx, attempt); err != nil {
			return found{}, unknown(name, err, last)
		}
		try, cancel := context.WithTimeout(ctx, timeoutOf(body.Size()))
		last = st.Create(try, name, body)
		cancel()
		if last == nil {
			return found{ours: true}, nil
		}
		if errors.Is(last, store.ErrExists) {
			return identify(ctx, st, name, h)
		}
	}
}

// identify resolves "exists" by reading what is there (I3).
func identify(ctx context.Context, st store.Reader, name string, h object.Header) (found, error) {
	got, err := readHeader(ctx, st, name)
	var corrupt *karst.CorruptError
	switch {
	case err == nil:
		return found{ours: got == h, header: got}, nil
	case errors.Is(err, store.ErrNotFound):
		return found{absent: true}, nil
	case errors.As(err, &corrupt):
		return found{corrupt: corrupt}, nil
	default:
		return found{}, unknown(name, err, store.ErrExists)
	}
}

func unknown(name string, err, last error) error {
	if last == nil {
		return fmt.Errorf("%w: %s: %w", ErrUnknown, name, err)
	}
	// The last answer must not pass for the outcome: %v, not %w.
	return fmt.Errorf("%w: %s: %w (last answer: %v)", ErrUnknown, name, err, last) //nolint:errorlint // as said
}

// pause waits before the attempt (from 0, which does not wait): exponential
// backoff with full jitter, so that those who failed together do not return
// together. Its error is the context's.
func pause(ctx context.Context, attempt int) error {
	if attempt == 0 || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ceiling := min(backoffMax, backoffFirst<<min(attempt-1, 10))
	t := time.NewTimer(ceiling/4 + rand.N(ceiling))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// mustBeginWith asserts that the body begins with the header, byte for byte:
// otherwise we would not know our own object.
func mustBeginWith(h object.Header, body store.Body) {
	want := h.Append(nil)
	for _, p := range body.Parts {
		n := min(len(p), len(want))
		if !bytes.Equal(p[:n], want[:n]) {
			break
		}
		if want = want[n:]; len(want) == 0 {
			return
		}
	}
	panic("BUG: I3: body does not begin with its header")
}
