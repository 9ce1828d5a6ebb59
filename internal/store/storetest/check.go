package storetest

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/karst-io/karst/internal/store"
)

// fillBytes makes n bytes that the seed decides.
func fillBytes(seed uint64, n int) []byte {
	rng := rand.NewPCG(seed, 1)
	b := make([]byte, 0, n+8)
	for len(b) < n {
		v := rng.Uint64()
		b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
	}
	return b[:n]
}

// split makes a body whose parts end at the given places, an empty one included.
func split(b []byte, at ...int) store.Body {
	var body store.Body
	last := 0
	for _, i := range append(at, len(b)) {
		body.Parts = append(body.Parts, b[last:i:i])
		last = i
	}
	return body
}

func create(t *testing.T, s store.Store, name string, body store.Body) {
	t.Helper()
	if err := s.Create(t.Context(), name, body); err != nil {
		t.Errorf("Create %s: %v", name, err)
	}
}

// createAll creates objects that contain their names, several at a time.
func createAll(t *testing.T, s store.Store, all []string) {
	t.Helper()
	var wg sync.WaitGroup
	for part := range slices.Chunk(all, len(all)/32+1) {
		wg.Go(func() {
			for _, name := range part {
				create(t, s, name, store.Bytes([]byte(name)))
			}
		})
	}
	wg.Wait()
}

// expect checks that the object has exactly the given bytes.
func expect(t *testing.T, s store.Store, name string, want []byte) {
	t.Helper()
	p := make([]byte, len(want)+10)
	n, err := s.Get(t.Context(), name, 0, p)
	if err != nil || !bytes.Equal(p[:n], want) {
		t.Errorf("Get %s = %d bytes, %v; want %d bytes", name, n, err, len(want))
	}
	info, err := s.Head(t.Context(), name)
	if err != nil || info != (store.Info{Name: name, Size: int64(len(want))}) {
		t.Errorf("Head %s = %+v, %v; want %d bytes", name, info, err, len(want))
	}
}

// names lists names.
func names(t *testing.T, s store.Store, prefix, after string) []string {
	t.Helper()
	var all []string
	for info, err := range s.List(t.Context(), prefix, after) {
		if err != nil {
			t.Errorf("List(%q, %q): %v", prefix, after, err)
			break
		}
		all = append(all, info.Name)
	}
	return all
}
