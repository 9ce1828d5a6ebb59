// Package store is the bucket: the one interface through which Karst touches
// durable state, its contract, and who may do what with it.
//
// # Contract
//
// Every driver, the in-memory one included, passes the suite in storetest.
//
//   - An object appears whole or not at all, and never changes afterwards.
//   - Create succeeds for exactly one caller per name, whatever overlaps.
//   - A returned nil means durable: a power cut does not undo it.
//   - Read-after-write and list-after-write hold.
//   - ErrExists and ErrNotFound are definite. Every other error of Create, Put
//     or Delete means that the outcome is unknown: the effect may have happened,
//     or may still happen later.
//   - A driver reads a Body's bytes only between the call and the later of its
//     return and the last Release of the holds it took (Body.Hold).
//   - All methods are safe for concurrent use and honour ctx.
//
// Names are slash-separated, of letters, digits and ". _ - =", without empty or
// dot segments, at most 512 bytes (CheckName). No object's name is a folder of
// another's: a and a/b do not both exist, since no file system could hold them.
package store

import (
	"context"
	"errors"
	"iter"
)

// Errors that a driver reports as themselves (possibly wrapped).
var (
	// ErrExists: Create found an object of that name. Definite: this call wrote
	// nothing, though an earlier attempt of the same caller may have.
	ErrExists = errors.New("object exists")
	// ErrNotFound: no object of that name.
	ErrNotFound = errors.New("object not found")
	// ErrThrottled: the store asked for fewer requests (503 SlowDown).
	// Retrying later is right; the effect did not happen.
	ErrThrottled = errors.New("store throttles requests")
)

// Holder is a counted hold on memory: Retain before sharing, Release when done.
type Holder interface {
	Retain()
	Release()
}

// Body is what an upload sends: the concatenation of Parts. Whoever may still
// read the bytes after its own return must Retain Hold before and Release it
// after; Hold may be nil when the bytes are garbage collected.
type Body struct {
	Parts [][]byte
	Hold  Holder
}

// Bytes is a Body of one garbage-collected slice.
func Bytes(b []byte) Body { return Body{Parts: [][]byte{b}} }

// Size is the length of the body in bytes.
func (b Body) Size() int64 {
	var n int64
	for _, p := range b.Parts {
		n += int64(len(p))
	}
	return n
}

// Info describes one object.
type Info struct {
	Name string
	Size int64 // bytes
}

// Reader reads objects.
type Reader interface {
	// Get reads len(p) bytes from offset off of the object into p and returns how
	// many it read. Fewer than len(p) without an error means the object ends
	// there. A negative off counts from the end: Get(ctx, n, -int64(len(p)), p)
	// reads the last len(p) bytes, or the whole object if it is shorter.
	Get(ctx context.Context, name string, off int64, p []byte) (int, error)
	// Head describes the object, or ErrNotFound.
	Head(ctx context.Context, name string) (Info, error)
	// List yields the objects whose name starts with prefix and sorts after
	// after ("" for all), in byte order of the names. It stops at the first error.
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]
}

// Writer writes objects under names that nobody else can choose, once each.
type Writer interface {
	// Put writes the object. Writing the same bytes again is harmless.
	Put(ctx context.Context, name string, body Body) error
}

// Creator creates objects if they are absent. Only package objlog (and the
// start-up probe) uses it.
type Creator interface {
	// Create writes the object unless one of that name exists (ErrExists).
	Create(ctx context.Context, name string, body Body) error
}

// Deleter deletes objects. Only package reap (and the probe) uses it.
type Deleter interface {
	// Delete removes the objects; absent ones are fine. At most 1,000 names.
	Delete(ctx context.Context, names []string) error
}

// Store is a whole bucket (or a prefix of one).
type Store interface {
	Reader
	Writer
	Creator
	Deleter
	// Close releases what the driver holds; no call may follow.
	Close() error
	// String is the store's URL without credentials, for logs.
	String() string
}
