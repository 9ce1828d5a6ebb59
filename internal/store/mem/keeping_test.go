package mem_test

import (
	"bytes"
	"testing"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
)

// holds counts the holds on a body.
type holds int

func (h *holds) Retain()  { *h++ }
func (h *holds) Release() { *h-- }

func TestKeepingHoldsUntilDeleted(t *testing.T) {
	s := mem.NewKeeping("")
	ctx := t.Context()
	var kept, refused holds
	body := store.Body{Parts: [][]byte{[]byte("abc"), nil, []byte("defg")}, Hold: &kept}
	if err := s.Create(ctx, "a", body); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(ctx, "a", store.Body{Parts: body.Parts, Hold: &refused}); err == nil {
		t.Fatal("a second create succeeded")
	}
	if kept != 1 || refused != 0 {
		t.Fatalf("holds: %d on the object's body, want 1; %d on the refused one, want 0", kept, refused)
	}
	for off := int64(-8); off < 9; off++ {
		for n := range 9 {
			from := off
			if off < 0 {
				from = max(0, 7+off)
			}
			want := []byte("abcdefg")[min(from, 7):min(from+int64(n), 7)]
			got := make([]byte, n)
			k, err := s.Get(ctx, "a", off, got)
			if err != nil || !bytes.Equal(got[:k], want) {
				t.Errorf("%d bytes from %d: %q, %v; want %q", n, off, got[:k], err, want)
			}
		}
	}
	if err := s.Delete(ctx, []string{"a"}); err != nil || kept != 0 {
		t.Errorf("after the delete: %d holds, %v", kept, err)
	}
}
