package config

import (
	"slices"
	"strings"
	"testing"
)

func TestListeners(t *testing.T) {
	for _, c := range []struct {
		listen, advertise string
		want              []Listener
		err               string
	}{
		{":9092", "", []Listener{{Listen: ":9092"}}, ""},
		{":9092", "a.example:1", []Listener{{Listen: ":9092", Advertise: "a.example:1"}}, ""},
		{"IN://:9092", "", []Listener{{Name: "IN", Listen: ":9092"}}, ""},
		{"IN://:9092, OUT://[::1]:9093", "OUT://a.example:1", []Listener{
			{Name: "IN", Listen: ":9092"}, {Name: "OUT", Listen: "[::1]:9093", Advertise: "a.example:1"},
		}, ""},
		{"IN://:0,OUT://:0", "OUT://a:1,IN://b:2", []Listener{
			{Name: "IN", Listen: ":0", Advertise: "b:2"}, {Name: "OUT", Listen: ":0", Advertise: "a:1"},
		}, ""},
		{"IN://:1,IN://:2", "", nil, `two listeners are called "IN"`},
		{"IN://:1,:2", "", nil, `":2" is not NAME://HOST:PORT`},
		{"IN://:1,", "", nil, `"" is not NAME://HOST:PORT`},
		{"://:1", "", nil, "is not NAME://HOST:PORT"},
		{"IN://9092", "", nil, "is not HOST:PORT"},
		{"IN://:x", "", nil, "is not a number"},
		{"IN://:1", "OUT://a:1", nil, `there is no listener "OUT"`},
		{"IN://:1", "a:1", nil, `there is no listener ""`},
		{":1", "IN://a:1", nil, `there is no listener "IN"`},
		{"IN://:1", "IN://:1", nil, "must name the host"},
		{"IN://:1", "IN://a:1,IN://b:1", nil, `two listeners are called "IN"`},
	} {
		cfg := Config{Listen: c.listen, Advertise: c.advertise}
		got, err := cfg.Listeners()
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q, %q: %v, want %q", c.listen, c.advertise, err, c.err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q, %q: %+v, %v", c.listen, c.advertise, got, err)
		}
	}
}
