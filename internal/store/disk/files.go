package disk

import (
	"io"
	"io/fs"
)

// Files is a file system as this package uses it, so that a test can put one
// that loses power under it (package powercut). Paths are slash-separated and
// relative to the root of the bucket; "." is the root. Errors wrap fs.ErrExist
// and fs.ErrNotExist where they apply.
type Files interface {
	// Temp makes a file that has no name yet, meant for the folder dir.
	Temp(dir string) (Temp, error)
	// Open opens a file, and says that a folder does not exist.
	Open(path string) (File, error)
	// IsDir says whether a folder of that name exists.
	IsDir(dir string) (bool, error)
	// ReadDir lists a folder in no particular order.
	ReadDir(dir string) ([]fs.DirEntry, error)
	Mkdir(dir string) error
	Remove(path string) error
	// SyncDir makes the names in dir durable that were there when it was called.
	SyncDir(dir string) error
	// Close removes what is left of temporary files.
	Close() error
}

// Temp is a file that is being written. Close ends it in every case, and
// discards it unless Link or Replace succeeded.
type Temp interface {
	io.WriteCloser
	// WriteBack starts writing the range to the medium, without waiting.
	WriteBack(off, n int64)
	// Sync makes the content durable, but not the name.
	Sync() error
	// Link names the file unless the name is taken (fs.ErrExist).
	Link(path string) error
	// Replace names the file, in place of what had the name.
	Replace(path string) error
}

// File is a file that is being read.
type File interface {
	io.ReaderAt
	io.Closer
	Size() int64 // bytes, when it was opened
}
