package objlog

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/object"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestTombstoneBytes holds the stored form still: an older binary must meet
// tombstones it understands.
func TestTombstoneBytes(t *testing.T) {
	const golden = "testdata/tombstone.hex"
	h := tombstone(testCluster, 42, 7)
	h.Nonce = object.Nonce{9, 9, 9}
	_, body := Frame(h, nil)
	got := hex.Dump(body.Parts[0])
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("%v; got\n%s", err, got)
	}
}

// FuzzRead feeds anything to the reader: it returns damage or what was framed,
// within the limit.
func FuzzRead(f *testing.F) {
	l := testLog(nil)
	for _, payload := range []string{"", "x", strings.Repeat("y", firstRead+5)} {
		_, body := commit(l, 1, payload)
		f.Add(body.Parts[0], int64(1<<20))
		f.Add(body.Parts[0][:len(body.Parts[0])/2], int64(10))
	}
	h := l.Header(object.Commit, 1, 1)
	h.Length = 1 << 60
	f.Add(h.Append(nil), int64(1<<30))
	f.Fuzz(func(t *testing.T, b []byte, limit int64) {
		m := mem.New("fuzz")
		if err := m.Put(context.Background(), "o", store.Bytes(b)); err != nil {
			t.Fatal(err)
		}
		h, payload, err := readOnce(context.Background(), m, "o", min(limit, 1<<20), firstRead)
		switch {
		case err != nil:
			if _, ok := errors.AsType[*karst.CorruptError](err); !ok {
				t.Fatal(err)
			}
		case h.Kind != object.Segment:
			if _, body := Frame(h, payload); !bytes.HasPrefix(b, body.Parts[0]) || int64(len(payload)) > limit {
				t.Fatalf("read %d bytes that are not there", len(payload))
			}
		}
	})
}
