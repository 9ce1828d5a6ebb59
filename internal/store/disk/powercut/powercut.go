// Package powercut is a file system in memory that loses power: what was not
// synced is then gone, there, or half there, as chance has it. It goes under a
// disk.Store, alone or below a whole broker.
//
//	fs := powercut.New()
//	s := disk.New(fs, "file:///test")
//	...                          // work, concurrently if you like
//	fs = fs.Cut(rng)             // from now on s fails with ErrPowerOff
//	s = disk.New(fs, "file:///test")
//
// It is as nasty as POSIX permits: of the names that were made or removed in a
// folder since its last SyncDir each is there or not, by itself, in no order; of
// a file's bytes since its last Sync each block of 512 has reached the medium or
// is zero, and the file's length is any up to the true one. What was synced
// stays.
//
// Nothing in it waits, so that it works in a testing/synctest bubble.
package powercut

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"

	"github.com/karst-io/karst/internal/store/disk"
)

// ErrPowerOff is what every call fails with after the power was cut.
var ErrPowerOff = errors.New("the power is off")

const blockSize = 512

// FS is the state of a file system. It implements disk.Files.
type FS struct {
	mu         sync.Mutex
	off        bool
	ignoreFile bool
	ignoreDir  func(dir string) bool // nil: no folder
	root       *node
	countdown  int64 // operations until the power fails, if positive
	operations int64
}

var _ disk.Files = (*FS)(nil)

// node is a file or a folder. The names of a folder, as the bytes of a file,
// are there twice: as they are, and as they are on the medium.
type node struct {
	folder         bool
	names, durable map[string]*node
	data, synced   []byte
}

// New makes an empty file system, whose root is durable.
func New() *FS { return &FS{root: newFolder()} }

func newFolder() *node {
	return &node{folder: true, names: map[string]*node{}, durable: map[string]*node{}}
}

// IgnoreSync makes Sync of files do nothing, to prove that a test notices.
func (f *FS) IgnoreSync() { f.set(func() { f.ignoreFile = true }) }

// IgnoreSyncDir makes SyncDir do nothing in the folders that match, to prove that
// a test notices. Match is called by one goroutine at a time.
func (f *FS) IgnoreSyncDir(match func(dir string) bool) { f.set(func() { f.ignoreDir = match }) }

// FailAfter cuts the power before the n-th operation from now, which is at least
// 1: that one and all later ones fail. Cut then yields what is left.
func (f *FS) FailAfter(n int64) { f.set(func() { f.countdown = n }) }

func (f *FS) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// Operations is how many operations were done, for choosing FailAfter's n.
func (f *FS) Operations() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.operations
}

// begin locks the file system for one operation, unless the power is off.
func (f *FS) begin() error {
	f.mu.Lock()
	if f.countdown > 0 {
		f.countdown--
		f.off = f.off || f.countdown == 0
	}
	if f.off {
		f.mu.Unlock()
		return ErrPowerOff
	}
	f.operations++
	return nil
}

// Cut turns the power off, if it is not off yet, and returns what is there when
// it comes back. Every call on f, and on its files, fails from now on.
func (f *FS) Cut(rng *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = true
	c := cutter{rng: rng, done: map[*node]*node{}}
	return &FS{root: c.node(f.root)}
}

// cutter copies what survives. A file with two names stays one file.
type cutter struct {
	rng  *rand.Rand
	done map[*node]*node
}

func (c *cutter) node(n *node) *node {
	if after, ok := c.done[n]; ok {
		return after
	}
	after := &node{folder: n.folder}
	c.done[n] = after
	if !n.folder {
		after.synced = c.content(n)
		after.data = after.synced
		return after
	}
	after.durable = map[string]*node{}
	all := map[string]bool{}
	for _, names := range []map[string]*node{n.names, n.durable} {
		for name := range names {
			all[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) { // the same for the same rng
		child, old := n.names[name], n.durable[name]
		if child != old && c.rng.IntN(2) == 0 {
			child = old
		}
		if child != nil {
			after.durable[name] = c.node(child)
		}
	}
	after.names = maps.Clone(after.durable)
	return after
}

// content is what is left of a file's bytes.
func (c *cutter) content(n *node) []byte {
	if len(n.synced) == len(n.data) {
		return n.synced // bytes are only appended
	}
	length := len(n.data)
	if c.rng.IntN(2) == 0 {
		length = len(n.synced) + c.rng.IntN(len(n.data)-len(n.synced)+1)
	}
	left := make([]byte, length)
	copy(left, n.synced)
	for at := len(n.synced); at < length; {
		end := min(length, at-at%blockSize+blockSize)
		if c.rng.IntN(2) == 0 {
			copy(left[at:end], n.data[at:])
		}
		at = end
	}
	return left
}

// find finds the node at a path. The caller holds mu.
func (f *FS) find(op, name string) (*node, error) {
	if name == "." {
		return f.root, nil
	}
	parent, err := f.find(op, path.Dir(name))
	if err != nil {
		return nil, err
	}
	n := parent.names[path.Base(name)]
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

// findFolder finds the folder at a path. The caller holds mu.
func (f *FS) findFolder(op, name string) (*node, error) {
	n, err := f.find(op, name)
	if err == nil && !n.folder {
		err = &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, err
}

// Temp implements disk.Files.
func (f *FS) Temp(dir string) (disk.Temp, error) {
	if err := f.begin(); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	if _, err := f.findFolder("create", dir); err != nil {
		return nil, err
	}
	return &temp{fs: f, node: &node{}}, nil
}

// Open implements disk.Files.
func (f *FS) Open(name string) (disk.File, error) {
	if err := f.begin(); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	n, err := f.find("open", name)
	if err == nil && n.folder {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, err
	}
	return &file{fs: f, data: n.data}, nil
}

// IsDir implements disk.Files.
func (f *FS) IsDir(dir string) (bool, error) {
	if err := f.begin(); err != nil {
		return false, err
	}
	defer f.mu.Unlock()
	_, err := f.findFolder("stat", dir)
	return err == nil, nil
}

// ReadDir implements disk.Files.
func (f *FS) ReadDir(dir string) ([]fs.DirEntry, error) {
	if err := f.begin(); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	n, err := f.findFolder("readdir", dir)
	if err != nil {
		return nil, err
	}
	var all []fs.DirEntry
	for name, child := range n.names { // in no order, as promised
		all = append(all, fs.FileInfoToDirEntry(info{name, int64(len(child.data)), child.folder}))
	}
	return all, nil
}

// Mkdir implements disk.Files.
func (f *FS) Mkdir(dir string) error {
	if err := f.begin(); err != nil {
		return err
	}
	defer f.mu.Unlock()
	return f.link("mkdir", dir, newFolder(), false)
}

// Remove implements disk.Files.
func (f *FS) Remove(name string) error {
	if err := f.begin(); err != nil {
		return err
	}
	defer f.mu.Unlock()
	n, err := f.find("remove", name)
	if err != nil {
		return err
	}
	if n.folder {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	parent, err := f.findFolder("remove", path.Dir(name))
	if err != nil {
		return err
	}
	delete(parent.names, path.Base(name))
	return nil
}

// SyncDir implements disk.Files.
func (f *FS) SyncDir(dir string) error {
	if err := f.begin(); err != nil {
		return err
	}
	defer f.mu.Unlock()
	n, err := f.findFolder("sync", dir)
	if err == nil && (f.ignoreDir == nil || !f.ignoreDir(dir)) {
		n.durable = maps.Clone(n.names)
	}
	return err
}

// Close implements disk.Files. The file system stays, for the next Store.
func (f *FS) Close() error { return nil }

// link gives a node a name. The caller holds mu.
func (f *FS) link(op, name string, n *node, replace bool) error {
	parent, err := f.findFolder(op, path.Dir(name))
	if err != nil {
		return err
	}
	if old := parent.names[path.Base(name)]; old != nil && (!replace || old.folder) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrExist}
	}
	parent.names[path.Base(name)] = n
	return nil
}

// file is a file that is being read. What was opened stays readable.
type file struct {
	fs   *FS
	data []byte // never changes: bytes are only appended
}

// ReadAt implements io.ReaderAt.
func (o *file) ReadAt(p []byte, off int64) (int, error) {
	if err := o.fs.begin(); err != nil {
		return 0, err
	}
	defer o.fs.mu.Unlock()
	if off >= int64(len(o.data)) {
		return 0, io.EOF
	}
	n := copy(p, o.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Size implements disk.File.
func (o *file) Size() int64 { return int64(len(o.data)) }

// Close implements io.Closer.
func (o *file) Close() error { return nil }

// temp is a file that is being written.
type temp struct {
	fs   *FS
	node *node
}

// Write implements io.Writer.
func (t *temp) Write(p []byte) (int, error) {
	if err := t.fs.begin(); err != nil {
		return 0, err
	}
	defer t.fs.mu.Unlock()
	t.node.data = append(t.node.data, p...)
	return len(p), nil
}

// WriteBack implements disk.Temp. It promises nothing, so it does nothing.
func (t *temp) WriteBack(int64, int64) {}

// Sync implements disk.Temp.
func (t *temp) Sync() error {
	if err := t.fs.begin(); err != nil {
		return err
	}
	defer t.fs.mu.Unlock()
	if !t.fs.ignoreFile {
		t.node.synced = t.node.data
	}
	return nil
}

// Link implements disk.Temp.
func (t *temp) Link(name string) error {
	if err := t.fs.begin(); err != nil {
		return err
	}
	defer t.fs.mu.Unlock()
	return t.fs.link("link", name, t.node, false)
}

// Replace implements disk.Temp.
func (t *temp) Replace(name string) error {
	if err := t.fs.begin(); err != nil {
		return err
	}
	defer t.fs.mu.Unlock()
	return t.fs.link("rename", name, t.node, true)
}

// Close implements io.Closer.
func (t *temp) Close() error { return nil }
