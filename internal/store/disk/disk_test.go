package disk_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/disk"
	"github.com/karst-io/karst/internal/store/disk/powercut"
	"github.com/karst-io/karst/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(root string) (*disk.Store, error)
	}{
		{"unnamed", disk.Open},
		{"named", disk.OpenNamed},
		{"powercut", func(string) (*disk.Store, error) { return disk.New(powercut.New(), "file:///powercut"), nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they wait for the disk
			storetest.Run(t, func(t *testing.T) store.Store {
				t.Helper()
				root := filepath.Join(t.TempDir(), "made", "here")
				s, err := tt.open(root)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { expectSpoolEmpty(t, root) })
				return s
			})
		})
	}
}

// expectSpoolEmpty checks that a closed Store left no temporary file.
func expectSpoolEmpty(t *testing.T, root string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(root, "~tmp", "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
}

// TestInBubble: nothing in the driver keeps a synctest bubble from its end.
func TestInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := disk.New(powercut.New(), "file:///powercut")
		for i := range 10 {
			go func() {
				if err := s.Create(t.Context(), fmt.Sprintf("a/%d", i), store.Bytes([]byte("x"))); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestForeignFiles: what has a name that no object can have is not listed.
func TestForeignFiles(t *testing.T) {
	root := t.TempDir()
	s, err := disk.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range []string{"lost+found/x", "~tmp/other", "a b", "ok/fine"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("ok/fine", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for info, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Name)
	}
	if !slices.Equal(got, []string{"ok/fine"}) {
		t.Errorf("list = %v", got)
	}
}

const (
	raceRoot  = "KARST_TEST_DISK_RACE"
	raceNames = 200
)

// TestMain is also the other process of TestTwoProcesses.
func TestMain(m *testing.M) {
	if root := os.Getenv(raceRoot); root != "" {
		if err := raceChild(root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// raceChild creates names from both ends and prints those it won.
func raceChild(root string) error {
	s, err := disk.Open(root)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	for i := range raceNames {
		name := fmt.Sprintf("race/%d/%03d", i%5, i)
		who := fmt.Sprintf("%s %d", name, os.Getpid())
		err := s.Create(context.Background(), name, store.Bytes([]byte(who)))
		switch {
		case err == nil:
			fmt.Println(who)
		case !errors.Is(err, store.ErrExists):
			return err
		}
	}
	return s.Close()
}

// TestTwoProcesses lets two processes create the same names.
func TestTwoProcesses(t *testing.T) {
	root := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	type child struct {
		cmd *exec.Cmd
		in  io.WriteCloser
		out *bufio.Reader
	}
	var children []child
	for range 2 {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), raceRoot+"="+root)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c := child{cmd, in, bufio.NewReader(out)}
		if line, err := c.out.ReadString('\n'); line != "ready\n" {
			t.Fatalf("child says %q, %v", line, err)
		}
		children = append(children, c)
	}
	for _, c := range children {
		if _, err := io.WriteString(c.in, "go\n"); err != nil {
			t.Fatal(err)
		}
	}
	winners := map[string]string{}
	for _, c := range children {
		out, err := io.ReadAll(c.out)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		for who := range strings.Lines(string(out)) {
			who = strings.TrimSuffix(who, "\n")
			name, _, _ := strings.Cut(who, " ")
			if winners[name] != "" {
				t.Errorf("%s has two winners", name)
			}
			winners[name] = who
		}
	}
	if len(winners) != raceNames {
		t.Errorf("%d of %d names have a winner", len(winners), raceNames)
	}
	s, err := disk.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, who := range winners {
		p := make([]byte, len(who)+1)
		if n, err := s.Get(t.Context(), name, 0, p); err != nil || string(p[:n]) != who {
			t.Errorf("Get %s = %q, %v; want %q", name, p[:n], err, who)
		}
	}
}
