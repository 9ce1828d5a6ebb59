package disk_test

import (
	"sync/atomic"

	"github.com/karst-io/karst/internal/store/disk"
	"github.com/karst-io/karst/internal/store/disk/powercut"
)

// dyingFiles is the view of a process that is killed: its calls fail from some
// moment on, while the file system lives.
type dyingFiles struct {
	*powercut.FS
	left atomic.Int64
}

// dying kills the process at the n-th operation that names or syncs.
func dying(files *powercut.FS, n int64) disk.Files {
	d := &dyingFiles{FS: files}
	d.left.Store(n)
	return d
}

func (d *dyingFiles) step(op func() error) error {
	if d.left.Add(-1) < 0 {
		return powercut.ErrPowerOff
	}
	return op()
}

func (d *dyingFiles) Mkdir(dir string) error {
	return d.step(func() error { return d.FS.Mkdir(dir) })
}

func (d *dyingFiles) SyncDir(dir string) error {
	return d.step(func() error { return d.FS.SyncDir(dir) })
}

func (d *dyingFiles) Remove(path string) error {
	return d.step(func() error { return d.FS.Remove(path) })
}
