package objlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/object"
)

var testCluster = karst.ClusterID{1, 2, 3}

func testLog(st Store) *Log {
	return &Log{Store: st, Folder: "wal/7", Cluster: testCluster, Writer: 7}
}

// commit frames data of number n of the log.
func commit(l *Log, n karst.Number, payload string) (object.Header, store.Body) {
	return Frame(l.Header(object.Commit, 1, n), []byte(payload))
}

func write(ctx context.Context, l *Log, n karst.Number) error {
	h, body := commit(l, n, fmt.Sprintf("payload %d", n))
	return l.Create(ctx, n, h, body)
}

// world is one transcript's bucket.
type world struct {
	mem   *mem.Store
	store *faults.Store
	log   *Log
}

func newWorld() *world {
	m := mem.New("t")
	f := faults.New(m, 1)
	return &world{mem: m, store: f, log: testLog(f)}
}

// run executes one command of a transcript.
func (w *world) run(t *testing.T, d *datadriven.TestData) string {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var n, from, sealer uint64 = 1, 1, 9
	var reason string
	d.MaybeScanArgs(t, "n", &n)
	d.MaybeScanArgs(t, "from", &from)
	d.MaybeScanArgs(t, "sealer", &sealer)
	d.MaybeScanArgs(t, "fault", &reason)
	w.inject(t, reason)
	switch d.Cmd {
	case "create":
		return sentence(write(ctx, w.log, karst.Number(n)))
	case "foreign": // another writer's data under our name
		other := &Log{Store: w.mem, Folder: w.log.Folder, Cluster: testCluster, Writer: 8}
		return sentence(write(ctx, other, karst.Number(n)))
	case "damage":
		return sentence(w.mem.Create(ctx, w.log.Name(karst.Number(n)), store.Bytes(make([]byte, 200))))
	case "delete":
		return sentence(w.mem.Delete(ctx, []string{w.log.Name(karst.Number(n))}))
	case "read":
		h, payload, err := w.log.Read(ctx, karst.Number(n), 1<<20)
		if err != nil {
			return sentence(err)
		}
		return fmt.Sprintf("kind %d of writer %d: %q\n", h.Kind, h.Writer, payload)
	case "seal":
		end, data, err := w.log.Seal(ctx, karst.Number(from), sealer, nil)
		if err != nil {
			return sentence(err)
		}
		var b strings.Builder
		for _, f := range data {
			if f.Damage != nil {
				fmt.Fprintf(&b, "%d: damaged\n", f.Number)
			} else {
				fmt.Fprintf(&b, "%d: data of writer %d\n", f.Number, f.Header.Writer)
			}
		}
		return b.String() + fmt.Sprintf("end %d\n", end)
	case "list":
		var b strings.Builder
		for n, err := range w.log.List(ctx, karst.Number(from)) {
			if err != nil {
				return sentence(err)
			}
			fmt.Fprintf(&b, "%d\n", n)
		}
		return b.String()
	}
	t.Fatalf("unknown command %s", d.Cmd)
	return ""
}

func (w *world) inject(t *testing.T, fault string) {
	w.store.Heal()
	for k := range faults.Crashed {
		if fault == k.String() {
			w.store.Add(faults.Rule{Kind: k, Times: 1, Delay: faults.Constant(time.Second)})
			return
		}
	}
	if fault != "" {
		t.Fatalf("unknown fault %s", fault)
	}
}

func sentence(err error) string {
	switch {
	case err == nil:
		return "ok\n"
	case errors.Is(err, ErrOver):
		return "over: " + err.Error() + "\n"
	case errors.Is(err, ErrUnknown):
		return "unknown: " + err.Error() + "\n"
	default:
		return "error: " + err.Error() + "\n"
	}
}

func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return w.run(t, d) })
			w.store.Wait()
		})
	})
}

func TestCreateGoneAfterExistsIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLog(vanishing{mem.New("t")})
		if err := write(t.Context(), l, 1); !errors.Is(err, ErrOver) {
			t.Fatalf("got %v, want ErrOver", err)
		}
		if _, _, err := l.Seal(t.Context(), 1, 9, nil); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("seal: got %v, want ErrNotFound", err)
		}
	})
}

// vanishing refuses every create, of names that are not there.
type vanishing struct{ store.Store }

func (vanishing) Create(context.Context, string, store.Body) error { return store.ErrExists }

func TestCreateUntilContextEndsIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []faults.Kind{faults.Before, faults.After, faults.Throttled, faults.Hung} {
			f := faults.New(mem.New("t"), 1,
				faults.Rule{Kind: kind},
				faults.Rule{Kind: faults.Before, Ops: []store.Op{store.OpGet}})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := write(ctx, testLog(f), 1)
			cancel()
			if !errors.Is(err, ErrUnknown) || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrThrottled) {
				t.Errorf("%s: got %v, want ErrUnknown alone", kind, err)
			}
			if n := f.Requests(store.OpCreate, store.CallerOther); kind == faults.Before && (n < 20 || n > 400) {
				t.Errorf("%d attempts in a minute", n)
			}
			f.Wait()
		}
	})
}

func TestStuckAttemptIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faults.New(mem.New("t"), 1, faults.Rule{Kind: faults.Hung, Times: 1, Delay: faults.Constant(time.Hour)})
		if err := write(t.Context(), testLog(f), 1); err != nil {
			t.Fatal(err)
		}
		f.Wait() // an hour later the stuck create takes effect, and changes nothing
		if _, payload, err := testLog(f).Read(t.Context(), 1, 100); err != nil || string(payload) != "payload 1" {
			t.Fatalf("%q, %v", payload, err)
		}
	})
}

// TestFreeNumberIsSealedBesideTheList: a LIST that hangs holds up nobody who
// does not need it.
func TestFreeNumberIsSealedBesideTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := testLog(faults.New(mem.New(""), 1, faults.Rule{Kind: faults.Hung, Ops: []store.Op{store.OpList}}))
		began := time.Now()
		end, data, err := l.Seal(t.Context(), 1, 2, nil)
		if end != 1 || len(data) != 0 || err != nil || time.Since(began) > time.Second {
			t.Errorf("end %d, %d objects, %v, after %v", end, len(data), err, time.Since(began))
		}
	})
}

// TestReadSized: the size that LIST shows saves a request, and is not trusted.
func TestReadSized(t *testing.T) {
	st := faults.New(mem.New(""), 1)
	l := testLog(st)
	payload := strings.Repeat("x", 3*firstRead)
	h, body := commit(l, 1, payload)
	if err := l.Create(t.Context(), 1, h, body); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ size, gets int64 }{{0, 2}, {1, 2}, {body.Size(), 1}, {body.Size() - 1, 2}, {1 << 40, 1}} {
		before := st.Requests(store.OpGet, store.CallerOf(t.Context()))
		_, got, err := ReadSized(t.Context(), st, l.Name(1), 1<<20, c.size)
		if err != nil || string(got) != payload {
			t.Errorf("size %d: %d bytes, %v", c.size, len(got), err)
		}
		if n := st.Requests(store.OpGet, store.CallerOf(t.Context())) - before; n != c.gets {
			t.Errorf("size %d: %d requests, want %d", c.size, n, c.gets)
		}
	}
}

func TestReadChecks(t *testing.T) {
	m := mem.New("t")
	l := testLog(m)
	big := strings.Repeat("x", firstRead+1000)
	h, body := commit(l, 1, big)
	if err := l.Create(t.Context(), 1, h, body); err != nil {
		t.Fatal(err)
	}
	if got, payload, err := l.Read(t.Context(), 1, 1<<20); err != nil || got != h || string(payload) != big {
		t.Fatalf("header %+v, %d bytes, %v", got, len(payload), err)
	}
	raw := body.Parts[0]
	cases := map[string][]byte{
		"too long":          raw,
		"cut in payload":    raw[:len(raw)-1],
		"cut before second": raw[:object.HeaderSize+10],
		"cut in header":     raw[:40],
		"empty":             {},
		"flipped payload":   append(append([]byte{}, raw[:len(raw)-1]...), 'y'),
		"flipped header":    append([]byte{'k'}, raw[1:]...),
	}
	for name, b := range cases {
		file := "bad/" + strings.ReplaceAll(name, " ", "-")
		if err := m.Put(t.Context(), file, store.Bytes(b)); err != nil {
			t.Fatal(err)
		}
		limit := int64(1 << 20)
		if name == "too long" {
			limit = firstRead
		}
		var corrupt *karst.CorruptError
		if _, _, err := Read(t.Context(), m, file, limit); !errors.As(err, &corrupt) || corrupt.Object != file {
			t.Errorf("%s: got %v, want a CorruptError", name, err)
		}
	}
}

func TestCreateNamedHasOneWinner(t *testing.T) {
	m := mem.New("t")
	h := object.Header{Kind: object.Claim, Version: 1, Cluster: testCluster, Writer: 3, Nonce: object.NewNonce()}
	_, _, won, err := CreateNamed(t.Context(), m, "meta/term/3", h, []byte("mine"))
	if err != nil || !won {
		t.Fatalf("won %v, %v", won, err)
	}
	h.Nonce = object.NewNonce()
	got, payload, won, err := CreateNamed(t.Context(), m, "meta/term/3", h, []byte("yours"))
	if err != nil || won || string(payload) != "mine" || got.Nonce == h.Nonce {
		t.Fatalf("won %v, %q, %v", won, payload, err)
	}
}

func TestParseIsTheInverseOfName(t *testing.T) {
	l := testLog(nil)
	for _, n := range []karst.Number{1, 42, 1<<64 - 1} {
		if got, ok := l.Parse(l.Name(n)); !ok || got != n {
			t.Errorf("%s: %d, %v", l.Name(n), got, ok)
		}
	}
	for _, bad := range []string{"", "wal/7", "wal/7/", l.Name(1) + "0", "wal/8" + l.Name(1)[5:], "wal/7/-0000000000000000001", l.Name(0)} {
		if _, ok := l.Parse(bad); ok {
			t.Errorf("%q parsed", bad)
		}
	}
}

func TestForeignHeaderIsABug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	l := testLog(mem.New("t"))
	h, body := commit(l, 2, "x")
	_ = l.Create(t.Context(), 1, h, body)
}
