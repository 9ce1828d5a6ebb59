package bench

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestHeader(t *testing.T) {
	value := make([]byte, 200)
	newText("json", 200).fill(value, 7)
	want := header{run: 1, producer: 2, sequence: 1 << 40, due: time.Unix(1700000000, 123456789)}
	want.put(value)
	got, err := parseHeader(value)
	if err != nil || got != want || !dueOf(value).Equal(want.due) {
		t.Fatalf("%+v, %v", got, err)
	}
	for bit := range len(value) * 8 {
		flipped := bytes.Clone(value)
		flipped[bit/8] ^= 1 << (bit % 8)
		if _, err := parseHeader(flipped); err == nil {
			t.Fatalf("flipping bit %d goes unnoticed", bit)
		}
	}
	if _, err := parseHeader(value[:31]); !errors.Is(err, errForeign) {
		t.Errorf("a short value: %v", err)
	}
}

func TestTextCompressesAsSaid(t *testing.T) {
	for kind, between := range map[string][2]float64{"json": {0.2, 0.5}, "random": {0.99, 1.02}} {
		comp, _, err := compressor("lz4")
		if err != nil {
			t.Fatal(err)
		}
		b := encodeBatch(newText(kind, 1024), 1024, 1<<20, comp, time.UnixMilli(1))
		if ratio := float64(len(b.bytes)) / float64(b.payload); ratio < between[0] || ratio > between[1] {
			t.Errorf("%s compresses to %.2f", kind, ratio)
		}
	}
}
