package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestDataSet takes a million real records through kcat to the store and back,
// byte for byte: into one partition, and by key into several. The broker is
// killed in between, so that what comes back comes from the store.
func TestDataSet(t *testing.T) {
	stores(t, func(t *testing.T, s storeURL) {
		records := setting(t, "KARST_TEST_RECORDS", 1_000_000)
		file := filepath.Join(t.TempDir(), "lines.json")
		run(t, 5*time.Minute, "../../scripts/dataset.sh", file, strconv.Itoa(records))
		n := newNode(t, s, "--num.partitions=8")
		p := n.startReady()
		began := time.Now()
		kcat := []string{"-q", "-b", n.addr(), "-X", "enable.idempotence=true", "-X", "linger.ms=20"}
		run(t, 10*time.Minute, "kcat", append(kcat, "-P", "-t", "one", "-p", "0", "-l", file)...)
		wrote := time.Since(began)
		keyed := keyedFile(t, file)
		run(t, 10*time.Minute, "kcat", append(kcat, "-P", "-t", "keyed", "-z", "zstd", "-K", "|", "-l", keyed)...)
		p.kill()
		n.startReady()
		began = time.Now()
		back := filepath.Join(t.TempDir(), "back")
		consumeTo(t, back, "-b", n.addr(), "-t", "one", "-p", "0")
		read := time.Since(began)
		lines, bytesRead := sameBytes(t, file, back)
		if lines != records {
			t.Errorf("%d records came back, want %d", lines, records)
		}
		consumeTo(t, back, "-b", n.addr(), "-t", "keyed", "-K", "|")
		want, got := perKey(t, keyed), perKey(t, back)
		if len(want) != len(got) {
			t.Errorf("%d keys came back, want %d", len(got), len(want))
		}
		for k, sum := range want {
			if g := got[k]; g == nil || !bytes.Equal(g.Sum(nil), sum.Sum(nil)) {
				t.Errorf("records of key %q differ", k)
			}
		}
		t.Logf("%d records, %d bytes: written in %v, read back in %v; as many by %d keys into 8 partitions",
			lines, bytesRead, wrote.Round(time.Millisecond), read.Round(time.Millisecond), len(want))
	})
}

// keyedFile puts the name of the source file before each record.
func keyedFile(t *testing.T, file string) string {
	t.Helper()
	out, err := os.Create(file + ".keyed")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w := bufio.NewWriter(out)
	eachLine(t, file, func(line []byte) {
		name, _, _ := bytes.Cut(line[bytes.Index(line, []byte(`"file":"`))+len(`"file":"`):], []byte(`"`))
		fmt.Fprintf(w, "%s|%s\n", name, line)
	})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}

// consumeTo reads a topic from its beginning to its end into a file.
func consumeTo(t *testing.T, file string, args ...string) {
	t.Helper()
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.CommandContext(t.Context(), "kcat", append(args, "-q", "-C", "-o", "beginning", "-e", "-X", "check.crcs=true")...)
	log := &tail{t: t}
	cmd.Stdout, cmd.Stderr = out, log
	timer := time.AfterFunc(10*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Run(); err != nil {
		t.Fatalf("kcat %v: %v\n%s", args, err, log)
	}
}

func eachLine(t *testing.T, file string, f func(line []byte)) {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	for lines.Scan() {
		f(lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// sameBytes compares two files, and returns the lines and bytes of the first.
func sameBytes(t *testing.T, a, b string) (lines int, size int64) {
	t.Helper()
	sums := make([][]byte, 2)
	for k, name := range []string{a, b} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		if size, err = io.Copy(h, f); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		sums[k] = h.Sum(nil)
	}
	if !bytes.Equal(sums[0], sums[1]) {
		t.Errorf("%s and %s differ", a, b)
	}
	eachLine(t, b, func([]byte) { lines++ })
	return lines, size
}

// perKey is a checksum of each key's lines in their order.
func perKey(t *testing.T, file string) map[string]hash.Hash {
	t.Helper()
	sums := map[string]hash.Hash{}
	eachLine(t, file, func(line []byte) {
		name, _, _ := bytes.Cut(line, []byte("|"))
		h := sums[string(name)]
		if h == nil {
			h = sha256.New()
			sums[string(name)] = h
		}
		h.Write(line)
		h.Write([]byte{'\n'})
	})
	return sums
}
