package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/karst-io/karst/internal/store"
)

func testList(t *testing.T, s store.Store) {
	if got := names(t, s, "", ""); len(got) != 0 {
		t.Fatalf("a new bucket lists %v", got)
	}
	// A slash sorts between a dot and a zero, whatever folders do.
	all := []string{
		"B", "a-b", "a.b", "a/b", "a/c/d", "a/c/e", "a/c-d", "a/c.d", "a/c0", "a0", "a=b", "a_b", "aa/b",
		"wal/00000000000000000001/00000000000000000002", "wal/00000000000000000001/00000000000000000010",
		"wal/00000000000000000002/00000000000000000001", "wal2/x",
	}
	slices.Sort(all)
	createAll(t, s, all)
	var queries [][2]string
	for _, prefix := range []string{"", "a", "a/", "a/c", "a/c/", "a/c/d", "a/c/d/", "w", "wal/", "wal/0000000000000000000", "wal/00000000000000000001/", "no", "no/such/", "a//", "/", "z"} {
		for _, after := range slices.Concat([]string{"", "a", "a/", "a/c/", "a/c/d", "wal/00000000000000000001/", "wal/00000000000000000001/00000000000000000005", "zzz", "0"}, all) {
			queries = append(queries, [2]string{prefix, after})
		}
	}
	for i, q := range queries {
		if testing.Short() && i%7 != 0 {
			continue
		}
		var want []string
		for _, n := range all {
			if strings.HasPrefix(n, q[0]) && n > q[1] {
				want = append(want, n)
			}
		}
		if got := names(t, s, q[0], q[1]); !slices.Equal(got, want) {
			t.Errorf("List(%q, %q) = %q, want %q", q[0], q[1], got, want)
		}
	}
	for info, err := range s.List(t.Context(), "", "") {
		if err != nil || info.Size != int64(len(info.Name)) {
			t.Errorf("List: %s has %d bytes, %v; want %d", info.Name, info.Size, err, len(info.Name))
		}
	}
}

// testListPages lists more objects than any store puts on one page.
func testListPages(t *testing.T, s store.Store) {
	var all []string
	for i := range 1100 {
		all = append(all, fmt.Sprintf("pages/%04d", i))
	}
	createAll(t, s, all)
	if got := names(t, s, "pages/", ""); !slices.Equal(got, all) {
		t.Errorf("list has %d objects, want %d", len(got), len(all))
	}
	if got := names(t, s, "", all[50]); !slices.Equal(got, all[51:]) {
		t.Errorf("list after %s has %d objects, want %d", all[50], len(got), len(all)-51)
	}
}

func testListStops(t *testing.T, s store.Store) {
	createAll(t, s, []string{"a/1", "a/2", "b/1", "b/2"})
	var got []string
	for info, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Name)
		if len(got) == 3 {
			break
		}
	}
	if !slices.Equal(got, []string{"a/1", "a/2", "b/1"}) {
		t.Errorf("list = %v", got)
	}
}

// testListWhileWriting: what was there before the list began is on it.
func testListWhileWriting(t *testing.T, s store.Store) {
	done := make(chan struct{})
	created := make(chan string, 60)
	go func() {
		defer close(done)
		for i := range cap(created) {
			name := fmt.Sprintf("w/%d/%02d", i%2, i)
			if err := s.Create(t.Context(), name, store.Bytes([]byte(name))); err != nil {
				t.Errorf("Create %s: %v", name, err)
			}
			created <- name
		}
		close(created)
	}()
	var before []string
	for name := range created {
		before = append(before, name)
		got := names(t, s, "w/", "")
		for _, b := range before {
			if _, found := slices.BinarySearch(got, b); !found {
				t.Errorf("%s was created and is not listed", b)
			}
		}
	}
	<-done
}
