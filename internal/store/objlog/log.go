package objlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
)

// Errors of a create. They are wrapped with the name and the reason.
var (
	// ErrOver: something that is not ours holds the name, or held it. The log is
	// over for this writer: it acknowledges nothing at or above the number and
	// never creates again (I4).
	ErrOver = errors.New("log is over for this writer")
	// ErrUnknown: the outcome is not known. Alone: the context ended first, and the
	// object may exist, or may still come to exist. With ErrOver: the object is
	// there or was, and whether it is ours cannot be read.
	ErrUnknown = errors.New("outcome of create unknown")
)

// Store is what a log needs of the bucket.
type Store interface {
	store.Reader
	store.Creator
}

// Log is one folder of numbered objects. It holds no state: copies are equal.
type Log struct {
	Store   Store
	Folder  string // without a trailing slash
	Cluster karst.ClusterID
	Writer  uint64 // the incarnation or term whose log it is
}

// Name is the name of the object of number n.
func (l *Log) Name(n karst.Number) string {
	return fmt.Sprintf("%s/%020d", l.Folder, uint64(n))
}

// Parse is the number of an object of this log; false for any other name.
func (l *Log) Parse(name string) (karst.Number, bool) {
	if len(name) != len(l.Folder)+21 || name[:len(l.Folder)] != l.Folder || name[len(l.Folder)] != '/' {
		return 0, false
	}
	n, err := strconv.ParseUint(name[len(l.Folder)+1:], 10, 64)
	return karst.Number(n), err == nil && n > 0
}

// List yields the numbers of the log from number from on that the store lists,
// in order. It is a hint: objects may be created meanwhile, and only a create
// decides where the log ends.
func (l *Log) List(ctx context.Context, from karst.Number) iter.Seq2[karst.Number, error] {
	return func(yield func(karst.Number, error) bool) {
		after := ""
		if from > 1 {
			after = l.Name(from - 1)
		}
		for info, err := range l.Store.List(ctx, l.Folder+"/", after) {
			if err != nil {
				yield(0, err)
				return
			}
			if n, ok := l.Parse(info.Name); ok && n >= from && !yield(n, nil) {
				return
			}
		}
	}
}

// Header is a header for number n of this log, with a fresh nonce. Length and
// check are left to Frame, or to package segment.
func (l *Log) Header(kind object.Kind, version uint8, n karst.Number) object.Header {
	return object.Header{
		Kind: kind, Version: version, Cluster: l.Cluster,
		Writer: l.Writer, Number: uint64(n), Nonce: object.NewNonce(),
	}
}

// Owns reports whether h is the header of data that this log's writer wrote as
// number n. A tombstone is not data; anything else is foreign.
func (l *Log) Owns(n karst.Number, h object.Header) bool {
	data := h.Kind == object.Segment || h.Kind == object.Commit
	return data && h.Cluster == l.Cluster && h.Writer == l.Writer && h.Number == uint64(n)
}

// Create writes number n. The body begins with the encoded h, as Frame and
// package segment make it. The result is nil when the object is there and ours,
// even if the first answer was lost; ErrOver when the log is over for us, which
// also is ErrUnknown where it cannot be said that the object is not ours;
// otherwise ErrUnknown: ctx ended first. It retries until then.
func (l *Log) Create(ctx context.Context, n karst.Number, h object.Header, body store.Body) error {
	if !l.Owns(n, h) {
		panic("BUG: I2: header does not belong to number " + l.Name(n))
	}
	name := l.Name(n)
	f, err := create(ctx, l.Store, name, h, body)
	switch {
	case err != nil:
		return err
	case f.ours || !checkNonce:
		return nil
	case f.absent:
		return fmt.Errorf("%w: %w: %s existed and is gone (I3)", ErrOver, ErrUnknown, name)
	case f.corrupt != nil:
		return fmt.Errorf("%w: %w: %w", ErrOver, ErrUnknown, f.corrupt)
	default:
		return fmt.Errorf("%w: %s is taken by kind %d of writer %d", ErrOver, name, f.header.Kind, f.header.Writer)
	}
}

// Read reads number n: its header and, except for segments, its payload, at
// most limit bytes and checked. store.ErrNotFound passes through; damage is a
// *karst.CorruptError. What the header says is for the caller to judge: Owns,
// or a tombstone.
func (l *Log) Read(ctx context.Context, n karst.Number, limit int64) (object.Header, []byte, error) {
	return Read(ctx, l.Store, l.Name(n), limit)
}

// Exists reports whether the store shows an object of number n, whatever it is.
// It tries until ctx ends; its error is ctx's.
func (l *Log) Exists(ctx context.Context, n karst.Number) (bool, error) {
	err := persist(ctx, 0, func(ctx context.Context) error {
		_, err := l.Store.Head(ctx, l.Name(n))
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
