package objlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
)

const (
	// firstRead is what Read asks for before it knows the length: most commits,
	// claims and tombstones come with one request.
	firstRead = 16 << 10
	// rereads is how often damage is read again before it is believed: bytes may
	// have been damaged on their way here.
	rereads = 4
)

// Read reads a framed object: its header and, except for segments, its payload,
// at most limit bytes and checked. store.ErrNotFound passes through; damage is
// a *karst.CorruptError; other failures are retried until ctx ends.
func Read(ctx context.Context, st store.Reader, name string, limit int64) (object.Header, []byte, error) {
	return ReadSized(ctx, st, name, limit, 0)
}

// ReadSized is Read of an object that LIST says has size bytes: then one request
// does. The size is a hint.
func ReadSized(ctx context.Context, st store.Reader, name string, limit, size int64) (object.Header, []byte, error) {
	guess := min(max(size-object.HeaderSize, firstRead), limit)
	var h object.Header
	var payload []byte
	err := persist(ctx, limit, func(ctx context.Context) (err error) {
		h, payload, err = readOnce(ctx, st, name, limit, guess)
		return err
	})
	return h, payload, err
}

func readOnce(ctx context.Context, st store.Reader, name string, limit, guess int64) (object.Header, []byte, error) {
	first := make([]byte, object.HeaderSize+max(guess, 0))
	n, err := st.Get(ctx, name, 0, first)
	if err != nil {
		return object.Header{}, nil, err
	}
	h, err := object.Decode(name, first[:n])
	if err != nil || h.Kind == object.Segment {
		return h, nil, err
	}
	corrupt := func(at int64, format string, args ...any) (object.Header, []byte, error) {
		return h, nil, &karst.CorruptError{Object: name, Offset: at, Reason: fmt.Sprintf(format, args...)}
	}
	if h.Length > limit {
		return corrupt(60, "payload of %d bytes is above the limit of %d", h.Length, limit)
	}
	payload := first[object.HeaderSize:n]
	if h.Length <= int64(len(payload)) {
		payload = payload[:h.Length:h.Length]
	} else if n == len(first) {
		whole := make([]byte, h.Length)
		have := copy(whole, payload)
		more, err := st.Get(ctx, name, int64(n), whole[have:])
		if err != nil {
			return h, nil, err
		}
		payload = whole[:have+more]
	}
	if int64(len(payload)) != h.Length {
		return corrupt(object.HeaderSize+int64(len(payload)), "ends before its payload of %d bytes", h.Length)
	}
	if object.Checksum(payload) != h.Check {
		return corrupt(object.HeaderSize, "payload checksum differs")
	}
	return h, payload, nil
}

// readHeader reads the header alone.
func readHeader(ctx context.Context, st store.Reader, name string) (object.Header, error) {
	var h object.Header
	err := persist(ctx, object.HeaderSize, func(ctx context.Context) error {
		var b [object.HeaderSize]byte
		n, err := st.Get(ctx, name, 0, b[:])
		if err != nil {
			return err
		}
		h, err = object.Decode(name, b[:n])
		return err
	})
	return h, err
}

// persist repeats a read of at most size bytes until it gives a definite answer
// or ctx ends. Damage is definite once it has been read five times:
// what it was found in stops partitions.
func persist(ctx context.Context, size int64, read func(context.Context) error) error {
	damaged := 0
	for attempt := 0; ; attempt++ {
		if err := pause(ctx, attempt); err != nil {
			return err
		}
		try, cancel := context.WithTimeout(ctx, timeoutOf(size))
		err := read(try)
		cancel()
		if _, ok := errors.AsType[*karst.CorruptError](err); ok {
			if damaged++; damaged > rereads {
				return err
			}
			continue
		}
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
}
