package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/karst-io/karst/internal/store"
)

// List implements store.Reader. It holds the names of one folder per level in
// memory, not those of the bucket.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		if !store.PossiblePrefix(prefix) {
			return
		}
		root, _ := path.Split(prefix) // the deepest folder that holds all of them
		w := walk{store: s, prefix: prefix, after: after, yield: yield}
		w.folder(ctx, root)
	}
}

// walk visits the objects in the byte order of their names.
type walk struct {
	store         *Store
	prefix, after string
	yield         func(store.Info, error) bool
}

// folder visits a folder, whose name is empty or ends in a slash. It returns
// false when the walk is over.
func (w *walk) folder(ctx context.Context, folder string) bool {
	if err := ctx.Err(); err != nil {
		return w.fail(folder, err)
	}
	dir := path.Clean(folder) // "" becomes "."
	entries, err := w.store.files.ReadDir(dir)
	if absent(err) {
		return true
	}
	if err != nil {
		return w.fail(folder, err)
	}
	keep := entries[:0]
	for _, e := range entries {
		if w.wanted(folder, e) {
			keep = append(keep, e)
		}
	}
	slices.SortFunc(keep, func(a, b fs.DirEntry) int { return strings.Compare(element(a), element(b)) })
	if err := w.store.barrier(ctx, dir); err != nil && !errors.Is(err, errNoFolder) {
		return w.fail(folder, err)
	}
	for _, e := range keep {
		if e.IsDir() {
			if !w.folder(ctx, folder+element(e)) {
				return false
			}
			continue
		}
		info, err := e.Info()
		if absent(err) {
			continue // deleted meanwhile
		}
		if err != nil {
			return w.fail(folder+e.Name(), err)
		}
		if !w.yield(store.Info{Name: folder + e.Name(), Size: info.Size()}, nil) {
			return false
		}
	}
	return true
}

// element is how an entry sorts among the names: what is in folder a begins with
// "a/", and sorts after "a-b".
func element(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

// wanted says whether the entry is, or may contain, an object that is asked for.
// What has a name that no object can have (temporary files, lost+found) is not.
func (w *walk) wanted(folder string, e fs.DirEntry) bool {
	if store.CheckName(e.Name()) != nil || !e.IsDir() && !e.Type().IsRegular() {
		return false
	}
	name := folder + element(e)
	if !e.IsDir() {
		return name > w.after && strings.HasPrefix(name, w.prefix)
	}
	return (name > w.after || strings.HasPrefix(w.after, name)) &&
		(strings.HasPrefix(name, w.prefix) || strings.HasPrefix(w.prefix, name))
}

func (w *walk) fail(name string, err error) bool {
	w.yield(store.Info{}, fmt.Errorf("disk: list %s: %w", name, err))
	return false
}
