package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Modes of what is made, less the umask. Records are nobody else's business.
const (
	fileMode   fs.FileMode = 0o640
	folderMode fs.FileMode = 0o750
)

// osFiles is the operating system's file system below root.
type osFiles struct {
	root    string
	spool   *spool
	unnamed bool // the file system has files without names
}

var _ Files = (*osFiles)(nil)

// openOS opens the folder root, makes it if it is missing, and says its absolute
// path.
func openOS(root string) (*osFiles, string, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, "", err
	}
	if err := makeAll(abs); err != nil {
		return nil, "", err
	}
	spool, err := openSpool(filepath.Join(abs, spoolName))
	if err != nil {
		return nil, "", err
	}
	return &osFiles{root: abs, spool: spool, unnamed: probeUnnamed(spool)}, abs, nil
}

// makeAll makes a folder and those above it, and syncs the parent of each.
func makeAll(dir string) error {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is a file, need a folder", dir)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeAll(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func (o *osFiles) path(name string) string { return o.root + string(filepath.Separator) + name }

// Temp implements Files.
func (o *osFiles) Temp(dir string) (Temp, error) {
	if o.unnamed {
		f, err := openUnnamed(o.path(dir))
		if err != nil {
			return nil, err
		}
		return &unnamedTemp{osTemp{File: f, files: o}}, nil
	}
	name := o.spool.name()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, err
	}
	return &namedTemp{osTemp: osTemp{File: f, files: o}, name: name}, nil
}

// Open implements Files.
func (o *osFiles) Open(path string) (File, error) {
	f, err := os.Open(o.path(path))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return osFile{f, info.Size()}, nil
}

type osFile struct {
	*os.File
	size int64
}

func (f osFile) Size() int64 { return f.size }

// IsDir implements Files.
func (o *osFiles) IsDir(dir string) (bool, error) {
	info, err := os.Stat(o.path(dir))
	if absent(err) {
		return false, nil
	}
	return err == nil && info.IsDir(), err
}

// ReadDir implements Files.
func (o *osFiles) ReadDir(dir string) ([]fs.DirEntry, error) {
	f, err := os.Open(o.path(dir))
	if err != nil {
		return nil, err
	}
	defer f.Close() // nothing was written
	return f.ReadDir(-1)
}

// Mkdir implements Files.
func (o *osFiles) Mkdir(dir string) error { return os.Mkdir(o.path(dir), folderMode) }

// Remove implements Files. It leaves folders alone.
func (o *osFiles) Remove(path string) error { return unlink(o.path(path)) }

// SyncDir implements Files.
func (o *osFiles) SyncDir(dir string) error { return syncDir(o.path(dir)) }

// Close implements Files.
func (o *osFiles) Close() error { return o.spool.close() }

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close() // the sync is what counts
	return f.Sync()
}

// osTemp is what both kinds of temporary files share.
type osTemp struct {
	*os.File
	files *osFiles
}

// WriteBack implements Temp.
func (t osTemp) WriteBack(off, n int64) { writeBack(t.File, off, n) }

// namedTemp is a temporary file with a name in the spool.
type namedTemp struct {
	osTemp
	name string
}

// Link implements Temp.
func (t *namedTemp) Link(path string) error {
	err := os.Link(t.name, t.files.path(path))
	if errors.Is(err, fs.ErrExist) && linked(t.File) {
		// The reply to a link over NFS was lost, and the repetition met the
		// link that the first one made (open(2), O_EXCL).
		return nil
	}
	return err
}

// Replace implements Temp.
func (t *namedTemp) Replace(path string) error { return os.Rename(t.name, t.files.path(path)) }

// Close implements Temp.
func (t *namedTemp) Close() error {
	err := t.File.Close()
	if rm := os.Remove(t.name); !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// unnamedTemp is a temporary file that vanishes with the process.
type unnamedTemp struct{ osTemp }

// Link implements Temp.
func (t *unnamedTemp) Link(path string) error { return linkUnnamed(t.File, t.files.path(path)) }

// Replace implements Temp.
func (t *unnamedTemp) Replace(path string) error {
	err := t.Link(path)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	name := t.files.spool.name()
	if err := linkUnnamed(t.File, name); err != nil {
		return err
	}
	return os.Rename(name, t.files.path(path))
}
