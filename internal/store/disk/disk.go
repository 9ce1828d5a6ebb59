package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/karst-io/karst/internal/store"
)

// writeBackStep is after how many bytes of a long body write-back starts.
const writeBackStep = 1 << 20

var errNoFolder = errors.New("no such folder")

// Store is a bucket in a folder.
type Store struct {
	files Files
	url   string

	uploads sync.WaitGroup // creates and puts that run, see upload

	mu      sync.Mutex // never held across I/O or a wait
	folders map[string]*folder
}

var _ store.Store = (*Store)(nil)

// Open opens the bucket in the folder root, which it makes if it is missing, on
// the operating system's file system. Temporary files that dead processes left
// behind are removed.
func Open(root string) (*Store, error) {
	files, abs, err := openOS(root)
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	return New(files, "file://"+(&url.URL{Path: filepath.ToSlash(abs)}).EscapedPath()), nil
}

// New makes a Store on files, whose root must exist. The url is for String.
func New(files Files, url string) *Store {
	return &Store{files: files, url: url, folders: map[string]*folder{".": newFolder(files, ".")}}
}

// Get implements store.Reader.
func (s *Store) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	f, err := s.open(ctx, name)
	if err != nil {
		return 0, err
	}
	defer f.Close() // nothing was written
	size := f.Size()
	if off < 0 {
		off = max(0, size+off)
	}
	if off >= size {
		return 0, nil
	}
	want := p[:min(int64(len(p)), size-off)]
	n, err := f.ReadAt(want, off)
	if n == len(want) {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("disk: read %s at %d: %w", name, off, err)
}

// Head implements store.Reader.
func (s *Store) Head(ctx context.Context, name string) (store.Info, error) {
	f, err := s.open(ctx, name)
	if err != nil {
		return store.Info{}, err
	}
	return store.Info{Name: name, Size: f.Size()}, f.Close()
}

// open opens an object that is durable.
func (s *Store) open(ctx context.Context, name string) (File, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	f, err := s.files.Open(name)
	if absent(err) {
		return nil, fmt.Errorf("disk: %s: %w", name, store.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("disk: open %s: %w", name, err)
	}
	if err := s.barrier(ctx, path.Dir(name)); err != nil {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("disk: open %s: %w", name, err)
	}
	return f, nil
}

// barrier waits until all names that the caller saw in the folder are durable.
func (s *Store) barrier(ctx context.Context, dir string) error {
	f, err := s.folder(ctx, dir, false)
	if err != nil {
		return err
	}
	if number := f.pending(); number != 0 {
		return f.settle(ctx, number)
	}
	return nil
}

// folder returns the folder at dir, whose own name is then durable. A missing
// folder is made if mayMake is set, otherwise the error is errNoFolder.
func (s *Store) folder(ctx context.Context, dir string, mayMake bool) (*folder, error) {
	s.mu.Lock()
	f := s.folders[dir]
	s.mu.Unlock()
	if f != nil {
		return f, nil
	}
	parent, err := s.folder(ctx, path.Dir(dir), mayMake)
	if err != nil {
		return nil, err
	}
	var number uint64
	if mayMake {
		number, err = parent.change(func() error { return s.files.Mkdir(dir) })
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	} else {
		is, err := s.files.IsDir(dir)
		if err != nil {
			return nil, err
		}
		if !is {
			return nil, errNoFolder
		}
		number = parent.pending()
	}
	if err := parent.settle(ctx, number); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f = s.folders[dir]; f == nil {
		f = newFolder(s.files, dir)
		s.folders[dir] = f
	}
	return f, nil
}

// Delete implements store.Deleter.
func (s *Store) Delete(ctx context.Context, names []string) error {
	if err := store.CheckDelete(names); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	var failed []error
	syncs := map[*folder]uint64{}
	for _, name := range names {
		if err := s.remove(ctx, name, syncs); err != nil && !errors.Is(err, errNoFolder) {
			failed = append(failed, fmt.Errorf("disk: delete %s: %w", name, err))
		}
	}
	for f, number := range syncs {
		if err := f.settle(ctx, number); err != nil {
			failed = append(failed, fmt.Errorf("disk: delete: %w", err))
		}
	}
	return errors.Join(failed...)
}

// remove removes a file and notes the sync that makes this durable.
func (s *Store) remove(ctx context.Context, name string, syncs map[*folder]uint64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := s.folder(ctx, path.Dir(name), false)
	if err != nil {
		return err
	}
	number, err := f.change(func() error { return s.files.Remove(name) })
	syncs[f] = number // an absent name may be durable still
	if absent(err) {
		return nil
	}
	return err
}

// Close waits for the uploads that run, those whose caller gave up included.
func (s *Store) Close() error {
	s.uploads.Wait()
	return s.files.Close()
}

func (s *Store) String() string { return s.url }

func check(ctx context.Context, name string) error {
	if err := store.CheckName(name); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	return ctx.Err()
}

// absent says whether a call on a name failed since there is no such name, a
// file in the place of one of its folders included.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
