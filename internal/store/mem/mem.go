// Package mem is a bucket in the memory of the process: mem://. It passes the
// same suite as the real ones, loses everything when the process ends, and
// costs little enough to measure the rest of the system against it.
//
// Bodies are copied when they take effect, so the caller may reuse them at once.
// NewKeeping makes a bucket that keeps them instead: the store that costs
// nothing, to measure the rest of the system against.
// Nothing waits inside it, so that it works in a testing/synctest bubble.
package mem

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/btree"

	"github.com/karst-io/karst/internal/store"
)

// listBatch is how many objects List reads under one lock. The yield function
// runs outside it, since it may wait or call the store.
const listBatch = 256

// object is the content of one object.
type object struct {
	parts [][]byte
	size  int64
	hold  store.Holder // on the body that it is; nil: copied
}

func (o object) retain() {
	if o.hold != nil {
		o.hold.Retain()
	}
}

func (o object) release() {
	if o.hold != nil {
		o.hold.Release()
	}
}

// read copies what lies at off into p.
func (o object) read(off int64, p []byte) (n int) {
	for _, part := range o.parts {
		if off >= int64(len(part)) {
			off -= int64(len(part))
			continue
		}
		n += copy(p[n:], part[off:])
		off = 0
	}
	return n
}

// Store is a bucket in memory. The zero value is not usable; see New.
type Store struct {
	label string
	keep  bool

	mu      sync.RWMutex // held only for map operations, never across a wait
	objects btree.Map[string, object]
}

var _ store.Store = (*Store)(nil)

// New makes an empty bucket. The label only appears in String.
func New(label string) *Store { return &Store{label: label} }

// NewKeeping makes an empty bucket whose objects are the bodies' own memory where
// those came with a hold: held until the object is deleted.
func NewKeeping(label string) *Store { return &Store{label: label, keep: true} }

// Get implements store.Reader.
func (s *Store) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	o, err := s.find(ctx, name)
	if err != nil {
		return 0, err
	}
	defer o.release()
	if off < 0 {
		off = max(0, o.size+off)
	}
	return o.read(off, p), nil
}

// Head implements store.Reader.
func (s *Store) Head(ctx context.Context, name string) (store.Info, error) {
	o, err := s.find(ctx, name)
	if err != nil {
		return store.Info{}, err
	}
	defer o.release()
	return store.Info{Name: name, Size: o.size}, nil
}

// find returns the object with a hold of its own.
func (s *Store) find(ctx context.Context, name string) (object, error) {
	if err := check(ctx, name); err != nil {
		return object{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	o, ok := s.objects.Get(name)
	if !ok {
		return object{}, fmt.Errorf("mem: %s: %w", name, store.ErrNotFound)
	}
	o.retain()
	return o, nil
}

// List implements store.Reader.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		var batch []store.Info
		for {
			if err := ctx.Err(); err != nil {
				yield(store.Info{}, err)
				return
			}
			batch = s.scan(batch[:0], prefix, after)
			for _, info := range batch {
				if !yield(info, nil) {
					return
				}
			}
			if len(batch) < listBatch {
				return
			}
			after = batch[len(batch)-1].Name
		}
	}
}

// scan appends the next objects with the prefix after after to batch.
func (s *Store) scan(batch []store.Info, prefix, after string) []store.Info {
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.objects.Ascend(max(prefix, after), func(name string, o object) bool {
		if !strings.HasPrefix(name, prefix) && name > prefix {
			return false
		}
		if name > after && strings.HasPrefix(name, prefix) {
			batch = append(batch, store.Info{Name: name, Size: o.size})
		}
		return len(batch) < listBatch
	})
	return batch
}

// Put implements store.Writer.
func (s *Store) Put(ctx context.Context, name string, body store.Body) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	o := s.take(body)
	s.mu.Lock()
	old, _ := s.objects.Set(name, o)
	s.mu.Unlock()
	old.release()
	return nil
}

// Create implements store.Creator.
func (s *Store) Create(ctx context.Context, name string, body store.Body) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	s.mu.RLock()
	_, exists := s.objects.Get(name)
	s.mu.RUnlock()
	if exists {
		return fmt.Errorf("mem: %s: %w", name, store.ErrExists) // spares the copy
	}
	o := s.take(body)
	s.mu.Lock()
	if _, exists = s.objects.Get(name); !exists {
		s.objects.Set(name, o)
	}
	s.mu.Unlock()
	if exists {
		o.release()
		return fmt.Errorf("mem: %s: %w", name, store.ErrExists)
	}
	return nil
}

// Delete implements store.Deleter.
func (s *Store) Delete(ctx context.Context, names []string) error {
	if err := store.CheckDelete(names); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range names {
		old, _ := s.objects.Delete(n)
		old.release()
	}
	return nil
}

// Close implements store.Store. The objects stay, for whoever still holds the
// Store: a test restarts a broker on it.
func (s *Store) Close() error { return nil }

func (s *Store) String() string { return "mem://" + s.label }

func check(ctx context.Context, name string) error {
	if err := store.CheckName(name); err != nil {
		return err
	}
	return ctx.Err()
}

// take makes an object of a body.
func (s *Store) take(body store.Body) object {
	o := object{size: body.Size()}
	if s.keep && body.Hold != nil {
		body.Hold.Retain()
		o.hold, o.parts = body.Hold, slices.Clone(body.Parts)
		return o
	}
	data := make([]byte, 0, o.size)
	for _, p := range body.Parts {
		data = append(data, p...)
	}
	o.parts = [][]byte{data}
	return o
}
