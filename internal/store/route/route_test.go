package route_test

import (
	"testing"

	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/route"
	"github.com/karst-io/karst/internal/store/storetest"
)

type one struct{ store.Store }

func (o one) Of(string) (store.Store, error) { return o.Store, nil }
func (o one) All() []store.Store             { return []store.Store{o.Store} }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return route.New(mem.New(""), "race", one{mem.New("")})
	})
}

func TestRoutedNamesLieElsewhere(t *testing.T) {
	data, wal := mem.New(""), mem.New("")
	s := route.New(data, "wal/", one{wal})
	ctx := t.Context()
	for _, name := range []string{"seg/1", "wal/1/1", "cluster", "wal/2/1", "zeta"} {
		if err := s.Create(ctx, name, store.Bytes([]byte(name))); err != nil {
			t.Fatal(err)
		}
	}
	names := func(st store.Store, prefix string) (all []string) {
		for i, err := range st.List(ctx, prefix, "") {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, i.Name)
		}
		return all
	}
	for _, c := range []struct {
		st     store.Store
		prefix string
		want   int
	}{{data, "", 3}, {wal, "", 2}, {s, "", 5}, {s, "wal/", 2}, {s, "seg/", 1}, {s, "w", 2}} {
		got := names(c.st, c.prefix)
		if len(got) != c.want {
			t.Errorf("List(%q) gives %v, want %d names", c.prefix, got, c.want)
		}
		for k := 1; k < len(got); k++ {
			if got[k-1] >= got[k] {
				t.Errorf("List(%q) is out of order: %v", c.prefix, got)
			}
		}
	}
	if err := s.Delete(ctx, []string{"seg/1", "wal/1/1"}); err != nil {
		t.Fatal(err)
	}
	if got := names(s, ""); len(got) != 3 {
		t.Errorf("after a delete in both stores: %v", got)
	}
}
