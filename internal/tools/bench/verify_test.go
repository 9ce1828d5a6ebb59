package bench

import (
	"testing"
	"time"
)

func value(run, producer uint32, n int64) []byte {
	b := make([]byte, 40)
	header{run, producer, n, time.Unix(1, 0)}.put(b)
	return b
}

func TestVerifier(t *testing.T) {
	v := newVerifier()
	s := stream{1, 0}
	for n := range int64(10) {
		v.acknowledged(s, n)
	}
	read := func(partition int32, n int64) { _, _ = v.read("t", partition, value(1, 0, n)) }
	for _, n := range []int64{0, 2, 4, 6, 8} {
		read(0, n)
	}
	for _, n := range []int64{1, 5, 3, 5, 7} { // 3 after 5; 5 twice; 9 never
		read(1, n)
	}
	read(0, 12) // sent, not acknowledged: allowed
	if v.complete() {
		t.Error("complete although 9 is missing")
	}
	corrupt := value(1, 0, 9)
	corrupt[39] ^= 1
	_, _ = v.read("t", 0, corrupt)
	_, _ = v.read("t", 0, []byte("another application's"))
	got := *v.verdict()
	want := Verdict{Acknowledged: 10, Read: 10, Lost: 1, Duplicated: 1, Reordered: 1, Corrupt: 1, Gaps: 3, Foreign: 1}
	if got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if !v.verdict().Failed() || (&Verdict{Gaps: 3, Foreign: 1}).Failed() || (*Verdict)(nil).Failed() {
		t.Error("Failed is wrong")
	}
	read(1, 9)
	if !v.complete() {
		t.Error("not complete although all is read")
	}
}

func TestBitmapFarApart(t *testing.T) {
	var b, o bitmap
	for _, n := range []int64{0, 63, 64, 5_000_000} {
		if !b.add(n) || b.add(n) {
			t.Errorf("%d: added wrongly", n)
		}
	}
	o.add(63)
	if b.without(&o) != 3 || o.without(&b) != 0 || b.end != 5_000_001 {
		t.Errorf("%d, %d, end %d", b.without(&o), o.without(&b), b.end)
	}
}
