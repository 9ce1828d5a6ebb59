package disk

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSpoolCleans: the files of a dead owner go, those of a live one stay.
func TestSpoolCleans(t *testing.T) {
	dir := filepath.Join(t.TempDir(), spoolName)
	open := func() *spool {
		t.Helper()
		s, err := openSpool(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	file := func(s *spool) string {
		t.Helper()
		name := s.name()
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	exists := func(name string) bool {
		_, err := os.Stat(name)
		return err == nil
	}
	dead, alive := open(), open()
	deadFile, aliveFile := file(dead), file(alive)
	orphan := filepath.Join(dir, "orphan-1")
	if err := os.WriteFile(orphan, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dead.lock.Close(); err != nil { // as its process' end does
		t.Fatal(err)
	}
	last := open()
	if exists(deadFile) || exists(dead.lock.Name()) || exists(orphan) {
		t.Error("files of a dead owner are left")
	}
	if !exists(aliveFile) || !exists(alive.lock.Name()) || !exists(last.lock.Name()) {
		t.Error("files of a live owner are gone")
	}
}
