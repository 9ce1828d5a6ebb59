package disk

import (
	"cmp"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// spoolName is the folder for temporary files that need a name. No object's name
// has a tilde.
const spoolName = "~tmp"

// spool gives names to temporary files. Each process (each open Store) has an id
// and holds a lock on <id>.lock while it lives; its files are <id>-<n>. Whoever
// gets the lock of another id knows that its owner is dead, whatever machine it
// ran on, and removes the owner's files: no pid, no clock.
type spool struct {
	dir  string
	id   string
	lock *os.File
	next atomic.Uint64
}

func openSpool(dir string) (*spool, error) {
	if err := os.Mkdir(dir, folderMode); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	s := &spool{dir: dir}
	// A cleaner that sees the lock file before it is locked may take it: again
	// then, with another id. Where locks do not work at all, nobody cleans.
	for range 10 {
		s.id = strings.ToLower(rand.Text())
		f, err := os.OpenFile(s.lockName(s.id), os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
		if err != nil {
			return nil, err
		}
		s.lock = f
		if tryLock(f) {
			if _, err := os.Lstat(f.Name()); err == nil {
				return s, s.clean()
			}
		}
	}
	return s, nil
}

func (s *spool) lockName(id string) string { return filepath.Join(s.dir, id+".lock") }

// name makes the name of a new temporary file.
func (s *spool) name() string {
	return filepath.Join(s.dir, s.id+"-"+strconv.FormatUint(s.next.Add(1), 10))
}

// clean removes the files of dead owners.
func (s *spool) clean() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	files := map[string][]string{} // by the id of their owner
	for _, e := range entries {
		id, _, _ := strings.Cut(strings.TrimSuffix(e.Name(), ".lock"), "-")
		files[id] = append(files[id], filepath.Join(s.dir, e.Name()))
	}
	delete(files, s.id)
	for id, names := range files {
		if err := s.cleanOwner(id, names); err != nil {
			return err
		}
	}
	return nil
}

func (s *spool) cleanOwner(id string, names []string) error {
	lock, err := os.OpenFile(s.lockName(id), os.O_RDWR, 0)
	if err == nil {
		defer lock.Close() // it is empty
		if !tryLock(lock) {
			return nil // alive
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// An owner makes its lock before its first file, so one without is dead too.
	// The lock goes last.
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Compare(filepath.Ext(a), filepath.Ext(b)) // "" before ".lock"
	})
	for _, n := range names {
		if err := os.Remove(n); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// close removes the lock.
func (s *spool) close() error {
	return errors.Join(os.Remove(s.lock.Name()), s.lock.Close())
}
