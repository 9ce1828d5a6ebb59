// Package route is the store that spreads names over several stores: the
// write-ahead logs may live elsewhere than the data.
package route

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/karst-io/karst/internal/store"
)

// Store sends each request to the store its name belongs to.
type Store struct {
	data   store.Store
	prefix string // names that start with it are routed
	routes Routes
}

// Routes says where routed names live.
type Routes interface {
	// Of is the store of a routed name.
	Of(name string) (store.Store, error)
	// All are the stores that routed names may be in, each once.
	All() []store.Store
	// Close closes them.
	Close() error
}

// New makes a store in which names that start with prefix are routed and all
// others lie in data.
func New(data store.Store, prefix string, routes Routes) *Store {
	return &Store{data: data, prefix: prefix, routes: routes}
}

func (s *Store) of(name string) (store.Store, error) {
	if strings.HasPrefix(name, s.prefix) {
		return s.routes.Of(name)
	}
	return s.data, nil
}

// Create implements store.Creator.
func (s *Store) Create(ctx context.Context, name string, body store.Body) error {
	to, err := s.of(name)
	if err != nil {
		return err
	}
	return to.Create(ctx, name, body)
}

// Put implements store.Writer.
func (s *Store) Put(ctx context.Context, name string, body store.Body) error {
	to, err := s.of(name)
	if err != nil {
		return err
	}
	return to.Put(ctx, name, body)
}

// Get implements store.Reader.
func (s *Store) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	to, err := s.of(name)
	if err != nil {
		return 0, err
	}
	return to.Get(ctx, name, off, p)
}

// Head implements store.Reader.
func (s *Store) Head(ctx context.Context, name string) (store.Info, error) {
	to, err := s.of(name)
	if err != nil {
		return store.Info{}, err
	}
	return to.Head(ctx, name)
}

// Delete implements store.Deleter.
func (s *Store) Delete(ctx context.Context, names []string) error {
	by := map[store.Store][]string{}
	for _, name := range names {
		to, err := s.of(name)
		if err != nil {
			return err
		}
		by[to] = append(by[to], name)
	}
	var errs []error
	for to, some := range by {
		errs = append(errs, to.Delete(ctx, some))
	}
	return errors.Join(errs...)
}

// List implements store.Reader. A prefix that spans routed and other names is
// served in order: what is routed is merged in.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	var from []store.Store
	switch {
	case !strings.HasPrefix(prefix, s.prefix) && !strings.HasPrefix(s.prefix, prefix):
		return s.data.List(ctx, prefix, after)
	case strings.HasPrefix(prefix, s.prefix):
		from = s.routes.All()
	default:
		from = append(from, s.data)
		for _, r := range s.routes.All() {
			if r != s.data {
				from = append(from, r)
			}
		}
	}
	if len(from) == 1 {
		return from[0].List(ctx, prefix, after)
	}
	return merge(ctx, from, prefix, after)
}

// merge yields the listings of several stores in order of the names.
func merge(ctx context.Context, from []store.Store, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		type head struct {
			info store.Info
			err  error
			next func() (store.Info, error, bool)
		}
		var heads []head
		for _, st := range from {
			next, stop := iter.Pull2(st.List(ctx, prefix, after))
			defer stop()
			if info, err, ok := next(); ok {
				heads = append(heads, head{info, err, next})
			}
		}
		for len(heads) > 0 {
			least := 0
			for k, h := range heads {
				if h.err != nil || heads[least].err == nil && h.info.Name < heads[least].info.Name {
					least = k
				}
			}
			h := &heads[least]
			if !yield(h.info, h.err) || h.err != nil {
				return
			}
			var ok bool
			if h.info, h.err, ok = h.next(); !ok {
				heads = append(heads[:least], heads[least+1:]...)
			}
		}
	}
}

// Close closes all stores.
func (s *Store) Close() error { return errors.Join(s.routes.Close(), s.data.Close()) }

func (s *Store) String() string { return s.data.String() }
