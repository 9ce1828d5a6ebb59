package disk

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// probeUnnamed says whether files without names can be made and named later:
// not on NFS, nor without /proc.
func probeUnnamed(s *spool) bool {
	f, err := openUnnamed(s.dir)
	if err != nil {
		return false
	}
	defer f.Close() // a probe
	name := s.name()
	return linkUnnamed(f, name) == nil && os.Remove(name) == nil
}

func openUnnamed(dir string) (*os.File, error) {
	return os.OpenFile(dir, unix.O_TMPFILE|os.O_WRONLY, fileMode)
}

func linkUnnamed(f *os.File, path string) error {
	err := unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return &os.LinkError{Op: "link", Old: f.Name(), New: path, Err: err}
	}
	return nil
}

// writeBack is a hint: what it does not start, the sync does.
func writeBack(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE) // a hint
}
