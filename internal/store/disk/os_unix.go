//go:build unix

package disk

import (
	"io/fs"
	"os"
	"syscall"
)

// unlink removes a file, and no folder.
func unlink(path string) error {
	if err := syscall.Unlink(path); err != nil {
		if info, statErr := os.Lstat(path); statErr == nil && info.IsDir() {
			err = syscall.ENOENT // as for Open: a folder is no object
		}
		return &fs.PathError{Op: "unlink", Path: path, Err: err}
	}
	return nil
}

// linked says whether a file has a second name.
func linked(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 2
}

// tryLock locks the file against other open files, of this process included. The
// lock ends with the process.
func tryLock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
