package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the generated pages")

func TestGeneratedPages(t *testing.T) {
	for path, want := range map[string]string{
		"../../docs/settings.md":        Reference(),
		"../../docs/karst.example.yaml": Example(),
	} {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is out of date: go test ./internal/config -update", path)
		}
	}
}

func TestExampleIsTheDefault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "karst.yaml")
	if err := os.WriteFile(path, []byte(Example()), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(Source{File: path})
	if err != nil {
		t.Fatal(err)
	}
	want, err := Load(Source{})
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("the example gives %+v, the defaults are %+v", got, want)
	}
}

func TestPrecedence(t *testing.T) {
	path := filepath.Join(t.TempDir(), "karst.yaml")
	if err := os.WriteFile(path, []byte("wal.min.interval: 1ms\nnum.partitions: 3\nlisten: \":1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Source{
		File:  path,
		Env:   []string{"KARST_WAL_MIN_INTERVAL=2ms", "KARST_NUM_PARTITIONS=4", "PATH=/bin"},
		Flags: map[string]string{"wal.min.interval": "3ms"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.WALMinInterval != 3*time.Millisecond || c.Partitions != 4 || c.Listen != ":1" {
		t.Errorf("got %v, %d, %q", c.WALMinInterval, c.Partitions, c.Listen)
	}
}

func TestRefusals(t *testing.T) {
	write := func(text string) Source {
		path := filepath.Join(t.TempDir(), "karst.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Source{File: path}
	}
	flags := func(k, v string) Source { return Source{Flags: map[string]string{k: v}} }
	for _, c := range []struct {
		source Source
		want   string
	}{
		{write("no.such: 1\n"), `line 1: no setting "no.such"`},
		{write("wal: [a]\n"), "wal takes one value"},
		{write("- a\n"), "not a YAML mapping"},
		{write("memory: 1MiB\n"), "not a size from"},
		{Source{File: "/does/not/exist"}, "configuration file"},
		{Source{Env: []string{"KARST_NO_SUCH=1"}}, "KARST_NO_SUCH: no such setting"},
		{flags("listen", "9092"), "is not HOST:PORT"},
		{flags("listen", ":99999"), "is not a number from 0 to 65535"},
		{flags("advertise", ":9092"), "must name the host"},
		{flags("store", "folder"), "is not a URL"},
		{flags("log.level", "loud"), "is not one of"},
		{flags("num.partitions", "0"), "is not a whole number from 1"},
		{flags("flush.interval", "soon"), "is not a duration"},
		{flags("flush.bytes", "1GiB"), "more than half of memory"},
		{flags("memory", "9223372036854775807TiB"), "is not a size"},
	} {
		_, err := Load(c.source)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: got %v, want one line with %q", c.source, err, c.want)
		}
	}
}
