// Package storetest is the contract of a bucket as a test: every driver and
// every decorator passes it, the in-memory driver included.
package storetest

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/karst-io/karst/internal/store"
)

var large = flag.Bool("storetest.large", false, "storetest: also write objects of 64 MiB")

// Run runs the suite. Each test calls open for an empty bucket of its own, which
// it closes.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	t.Helper()
	tests := []struct {
		name string
		run  func(t *testing.T, s store.Store)
	}{
		{"Roundtrip", testRoundtrip},
		{"Ranges", testRanges},
		{"Absent", testAbsent},
		{"Names", testNames},
		{"CreateOnce", testCreateOnce},
		{"PutTwice", testPutTwice},
		{"CreateRace", testCreateRace},
		{"CreateOverlap", testCreateOverlap},
		{"CreateWhole", testCreateWhole},
		{"CreateCancelled", testCreateCancelled},
		{"ContextEnded", testContextEnded},
		{"Holds", testHolds},
		{"List", testList},
		{"ListPages", testListPages},
		{"ListStops", testListStops},
		{"ListWhileWriting", testListWhileWriting},
		{"Delete", testDelete},
		{"DeleteBatch", testDeleteBatch},
		{"DeleteRacesCreate", testDeleteRacesCreate},
		{"Concurrent", testConcurrent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			tt.run(t, s)
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

func testRoundtrip(t *testing.T, s store.Store) {
	sizes := []int{0, 1, 95, 4096, 4097, 1<<20 - 1, 3<<20 + 17}
	if *large {
		sizes = append(sizes, 64<<20)
	}
	for _, size := range sizes {
		data := fillBytes(uint64(size), size)
		name := fmt.Sprintf("round/trip/%d", size)
		create(t, s, name, split(data, size/3, size/2))
		expect(t, s, name, data)
		name = fmt.Sprintf("put/%d", size)
		if err := s.Put(t.Context(), name, split(data, 0, size/2)); err != nil {
			t.Fatalf("Put %s: %v", name, err)
		}
		expect(t, s, name, data)
	}
}

func testRanges(t *testing.T, s store.Store) {
	data := fillBytes(1, 1000)
	create(t, s, "a", store.Bytes(data))
	create(t, s, "empty", store.Body{})
	for _, tt := range []struct {
		name string
		off  int64
		len  int
		want []byte
	}{
		{"a", 0, 1000, data},
		{"a", 0, 1, data[:1]},
		{"a", 999, 1, data[999:]},
		{"a", 100, 200, data[100:300]},
		{"a", 900, 200, data[900:]},
		{"a", 999, 5000, data[999:]},
		{"a", 1000, 1, nil},
		{"a", 1001, 1, nil},
		{"a", 1 << 40, 100, nil},
		{"a", 0, 0, nil},
		{"a", 2000, 0, nil},
		{"a", -1, 1, data[999:]},
		{"a", -96, 96, data[904:]},
		{"a", -1000, 1000, data},
		{"a", -1001, 1001, data},
		{"a", -5000, 5000, data},
		{"a", -500, 100, data[500:600]},
		{"a", -100, 500, data[900:]},
		{"a", -5000, 100, data[:100]},
		{"empty", 0, 10, nil},
		{"empty", -10, 10, nil},
		{"empty", 5, 10, nil},
		{"empty", 0, 0, nil},
	} {
		p := bytes.Repeat([]byte{0xee}, tt.len+1)
		n, err := s.Get(t.Context(), tt.name, tt.off, p[:tt.len])
		if err != nil || !bytes.Equal(p[:n], tt.want) {
			t.Errorf("Get %s off %d len %d = %d bytes, %v; want %d bytes", tt.name, tt.off, tt.len, n, err, len(tt.want))
		}
		if p[tt.len] != 0xee {
			t.Errorf("Get %s off %d len %d wrote behind its slice", tt.name, tt.off, tt.len)
		}
	}
}

func testAbsent(t *testing.T, s store.Store) {
	create(t, s, "folder/object", store.Bytes([]byte("x")))
	for _, name := range []string{"a", "folder", "folder/objec", "folder/object2", "folder/object/below", "no/such/folder"} {
		for _, off := range []int64{0, 7, -4} {
			if _, err := s.Get(t.Context(), name, off, make([]byte, 4)); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Get %s at %d: %v, want ErrNotFound", name, off, err)
			}
		}
		if _, err := s.Get(t.Context(), name, 0, nil); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get %s of nothing: %v, want ErrNotFound", name, err)
		}
		if _, err := s.Head(t.Context(), name); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Head %s: %v, want ErrNotFound", name, err)
		}
	}
}

func testNames(t *testing.T, s store.Store) {
	segment := strings.Repeat("n", 200)
	for _, name := range []string{
		"a1", "A", "0", "a.b", ".a", "a..b", "-", "_=", "a/b/c/d/e/f/g", "seg/0f/12-00000000000000000001",
		segment + "/" + segment + "/" + segment[:110],
	} {
		data := []byte(name)
		create(t, s, name, store.Bytes(data))
		expect(t, s, name, data)
	}
	for _, name := range []string{
		"", "/", "/a1", "a1/", "a1//b", ".", "..", "./a1", "../a1", "x/../a1", "x/./a1", "a1/..", "a b", "a\x00", "ä", "a\\b", "a:b", "~tmp", "a+b", "a%2f",
		strings.Repeat("n", 513),
	} {
		err := s.Create(t.Context(), name, store.Bytes([]byte("x")))
		if err == nil || errors.Is(err, store.ErrExists) {
			t.Errorf("Create %q: %v, want a refusal", name, err)
		}
		if err := s.Put(t.Context(), name, store.Bytes([]byte("x"))); err == nil {
			t.Errorf("Put %q succeeded", name)
		}
		if _, err := s.Get(t.Context(), name, 0, make([]byte, 1)); err == nil {
			t.Errorf("Get %q succeeded", name)
		}
		if err := s.Delete(t.Context(), []string{name}); err == nil {
			t.Errorf("Delete %q succeeded", name)
		}
	}
}

func testDelete(t *testing.T, s store.Store) {
	create(t, s, "d/a", store.Bytes([]byte("a")))
	create(t, s, "d/b", store.Bytes([]byte("b")))
	if err := s.Delete(t.Context(), []string{"d/a", "d/absent", "no/folder/x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Head(t.Context(), "d/a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Head after Delete: %v, want ErrNotFound", err)
	}
	if got := names(t, s, "", ""); !slices.Equal(got, []string{"d/b"}) {
		t.Errorf("list after delete = %v", got)
	}
	if err := s.Delete(t.Context(), nil); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	if err := s.Delete(t.Context(), []string{"d/b", "d/b", "d"}); err != nil {
		t.Errorf("Delete of a folder's name: %v", err)
	}
	create(t, s, "d/a", store.Bytes([]byte("again")))
	expect(t, s, "d/a", []byte("again"))
}

func testDeleteBatch(t *testing.T, s store.Store) {
	const count = store.DeleteMax
	all := make([]string, count+1)
	for i := range all {
		all[i] = fmt.Sprintf("batch/%d/%04d", i%3, i)
	}
	if err := s.Delete(t.Context(), all); err == nil {
		t.Errorf("Delete of %d names succeeded", len(all))
	}
	createAll(t, s, all[count-100:])
	if err := s.Delete(t.Context(), all[:count]); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s, "", ""); !slices.Equal(got, all[count:]) {
		t.Errorf("left after delete: %v", got)
	}
}

// testDeleteRacesCreate empties a folder over and over while others create in it.
func testDeleteRacesCreate(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 10 {
				name := fmt.Sprintf("shared/folder/%d-%d", i, j)
				if err := createRetrying(t, s, name); err != nil {
					t.Errorf("Create %s: %v", name, err)
				} else if _, err := s.Head(t.Context(), name); err != nil {
					t.Errorf("Head %s: %v", name, err)
				} else if err := s.Delete(t.Context(), []string{name}); err != nil {
					t.Errorf("Delete %s: %v", name, err)
				}
			}
		})
	}
	wg.Wait()
	if got := names(t, s, "", ""); len(got) != 0 {
		t.Errorf("left after delete: %v", got)
	}
}

// createRetrying does as a caller does whose create has an unknown outcome: some
// servers trip over a folder that vanishes.
func createRetrying(t *testing.T, s store.Store, name string) error {
	t.Helper()
	for try := 1; ; try++ {
		err := s.Create(t.Context(), name, store.Bytes([]byte(name)))
		if err == nil || try > 1 && errors.Is(err, store.ErrExists) {
			return nil
		}
		if try == 10 || errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound) {
			return err
		}
		t.Logf("Create %s: outcome unknown: %v", name, err)
	}
}

func testConcurrent(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for j := range 10 {
				name := fmt.Sprintf("c/%d/%02d", i%2, i*10+j)
				data := fillBytes(uint64(i*10+j), rng.IntN(20000))
				create(t, s, name, split(data, rng.IntN(len(data)+1)))
				expect(t, s, name, data)
				if got := names(t, s, name, ""); !slices.Equal(got, []string{name}) {
					t.Errorf("list of %s = %v", name, got)
				}
			}
		})
	}
	wg.Wait()
}
