package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/proptest"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
)

var update = flag.Bool("update", false, "rewrite golden files")

// blob is a bucket of one object.
type blob struct {
	b    []byte
	gets int
}

func (s *blob) Get(_ context.Context, _ string, off int64, p []byte) (int, error) {
	s.gets++
	if off < 0 {
		off = max(0, int64(len(s.b))+off)
	}
	if off > int64(len(s.b)) {
		return 0, nil
	}
	return copy(p, s.b[off:]), nil
}

func (s *blob) Head(_ context.Context, name string) (store.Info, error) {
	return store.Info{Name: name, Size: int64(len(s.b))}, nil
}

func (s *blob) List(context.Context, string, string) iter.Seq2[store.Info, error] { panic("unused") }

func header() object.Header {
	h := object.Header{Writer: 3, Number: 9}
	copy(h.Cluster[:], "cluster-cluster-")
	copy(h.Nonce[:], "nonce-nonce-nonc")
	return h
}

func topic(n int) (id karst.TopicID) {
	binary.BigEndian.PutUint32(id[:], uint32(n*2654435761))
	return id
}

func batch(tp karst.TopicPartition, base karst.Offset, records, size int) Batch {
	b := record.NewBuilder(nil)
	b.Producer, b.ProducerEpoch, b.BaseSequence = 7, 1, karst.Sequence(base)
	for i := range records {
		b.Append(1_700_000_000_000+karst.Timestamp(base)+karst.Timestamp(i%3), []byte("k"), bytes.Repeat([]byte{byte(i)}, size))
	}
	raw, err := b.Bytes()
	if err != nil {
		panic(err)
	}
	record.Stamp(raw, base, 4)
	info, err := record.Parse(raw)
	if err != nil {
		panic(err)
	}
	info.MaxDelta = int32(min(records-1, 2))
	return Batch{Partition: tp, Info: info, Bytes: raw}
}

func heap(n int) []byte { return make([]byte, n) }

func whole(b *Built) []byte { return bytes.Join(b.Body.Parts, nil) }

func mustBuild(t testing.TB, batches []Batch, trims []Trim, states []State, chunk int) *Built {
	t.Helper()
	b, err := Build(header(), batches, trims, states, chunk, heap)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// small is a segment with something of everything.
func small(t testing.TB) *Built {
	a, b := karst.TopicPartition{Topic: topic(1), Partition: 1}, karst.TopicPartition{Topic: topic(2)}
	marker := record.EncodeMarker(record.AbortMarker, 7, 1, 2, 1_700_000_000_000)
	record.Stamp(marker, 15, 5)
	info, err := record.Parse(marker)
	if err != nil {
		t.Fatal(err)
	}
	opaque := batch(a, 20, 2, 5) // as if accepted by its header
	opaque.Info.MaxDelta = -1
	return mustBuild(t, []Batch{
		batch(b, 0, 1, 3), batch(a, 10, 4, 5), {Partition: a, Info: info, Bytes: marker}, batch(b, 1, 2, 3), opaque,
	}, []Trim{{Partition: a, Epoch: 4, Offset: 3}}, []State{{Partition: b, Bytes: []byte("checkpoint")}}, chunkMin)
}

func TestGolden(t *testing.T) {
	path := filepath.Join("testdata", "v1.segment")
	got := whole(small(t))
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("the encoding of version 1 changed")
	}
	d, err := Verify(t.Context(), &blob{b: want}, "o")
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Slices) != 2 || len(d.Trims) != 1 || len(d.States) != 1 || d.Slices[0].Partition.Topic.String() > d.Slices[1].Partition.Topic.String() {
		t.Fatalf("%+v", d)
	}
	state, err := ReadState(t.Context(), &blob{b: want}, "o", d.States[0].At, d.States[0].Check)
	if err != nil || string(state) != "checkpoint" {
		t.Fatal(string(state), err)
	}
}

func TestEveryFlippedBitIsSeen(t *testing.T) {
	b := whole(small(t))
	for bit := range len(b) * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		_, err := Verify(t.Context(), &blob{b: b}, "o")
		var c *karst.CorruptError
		if !errors.As(err, &c) || c.Object != "o" {
			t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestEveryTruncationIsSeen(t *testing.T) {
	b := whole(small(t))
	for n := range b {
		if _, err := Verify(t.Context(), &blob{b: b[:n]}, "o"); err == nil {
			t.Fatalf("%d of %d bytes pass", n, len(b))
		}
	}
	if _, err := Verify(t.Context(), &blob{b: append([]byte{0}, b...)}, "o"); err == nil {
		t.Fatal("a shifted object passes")
	}
}

func TestRoundTrip(t *testing.T) {
	proptest.Run(t, 100, func(t *testing.T, r *rand.Rand) {
		next := map[karst.TopicPartition]karst.Offset{}
		want := map[karst.TopicPartition][]Batch{}
		var in []Batch
		for range proptest.Int(r, 0, 40) {
			tp := karst.TopicPartition{Topic: topic(proptest.Int(r, 0, 3)), Partition: proptest.Int[karst.Partition](r, 0, 3)}
			b := batch(tp, next[tp]+proptest.Int[karst.Offset](r, 0, 2), proptest.Int(r, 1, 3), proptest.Int(r, 0, 900))
			next[tp] = b.Info.Next()
			in, want[tp] = append(in, b), append(want[tp], b)
		}
		var trims []Trim
		for range proptest.Int(r, 0, 3) {
			trims = append(trims, Trim{Partition: karst.TopicPartition{Topic: topic(9)}, Epoch: 3, Offset: proptest.Int[karst.Offset](r, 0, 1<<62)})
		}
		chunk := proptest.Pick(r, []int{chunkMin, 4096, 1 << 20})
		built, err := Build(header(), in, trims, nil, chunk, heap)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range built.Body.Parts[:len(built.Body.Parts)-1] {
			if len(p) > chunk && len(p) > object.HeaderSize+3*1000 {
				t.Fatalf("piece %d has %d bytes", i, len(p))
			}
		}
		obj := whole(built)
		d, err := Verify(context.Background(), &blob{b: obj}, "o")
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Slices) != len(want) || !slices.Equal(d.Slices, built.Directory.Slices) || !slices.Equal(d.Trims, trims) || d.Header != built.Directory.Header {
			t.Fatalf("got %+v\nbuilt %+v", d, built.Directory)
		}
		for i, s := range d.Slices {
			entries, err := ReadIndex(context.Background(), &blob{b: obj}, "o", s.Index, s.IndexCheck)
			if err != nil || !slices.Equal(entries, built.Indexes[i]) {
				t.Fatalf("%v\n%v\n%v", err, entries, built.Indexes[i])
			}
			for k, e := range entries {
				b := want[s.Partition][k]
				if e.Info != b.Info || !bytes.Equal(built.Batches[i][k], b.Bytes) || !bytes.Equal(obj[e.Pos:][:e.Info.Size], b.Bytes) {
					t.Fatalf("batch %d of %s differs", k, s.Partition)
				}
			}
		}
	})
}

func many(partitions, batches, size int) []Batch {
	one := batch(karst.TopicPartition{}, 0, 1, size)
	in := make([]Batch, batches)
	for i := range in {
		in[i] = one
		in[i].Partition = karst.TopicPartition{Topic: topic(i % partitions % 100), Partition: karst.Partition(i % partitions)}
		in[i].Info.Base = karst.Offset(i)
	}
	return in
}

func TestDirectoryTakesOneGetOrTwo(t *testing.T) {
	for _, c := range []struct{ partitions, gets int }{{10, 1}, {5000, 2}} {
		s := &blob{b: whole(mustBuild(t, many(c.partitions, c.partitions, 10), nil, nil, 1<<20))}
		d, err := ReadDirectory(t.Context(), s, "o")
		if err != nil || len(d.Slices) != c.partitions || s.gets != c.gets {
			t.Errorf("%d partitions: %d slices, %d GETs, %v", c.partitions, len(d.Slices), s.gets, err)
		}
	}
}

// TestIndexesNearTheDirectory: what comes with the directory is what is there,
// and what does not is not made up.
func TestIndexesNearTheDirectory(t *testing.T) {
	for _, partitions := range []int{1, 40, 3000} {
		st := &blob{b: whole(mustBuild(t, many(partitions, partitions, 10), nil, nil, 1<<20))}
		d, err := ReadDirectory(t.Context(), st, "s")
		if err != nil {
			t.Fatal(err)
		}
		near := 0
		for i := range d.Slices {
			at := d.Slices[i].Index
			b := d.Near(at)
			if b == nil {
				continue
			}
			near++
			if !bytes.Equal(b, st.b[at.Pos:at.Pos+at.Len]) {
				t.Errorf("%d partitions: other bytes than those of the index of slice %d", partitions, i)
			}
		}
		if all := near == partitions; all != (partitions < 3000) {
			t.Errorf("%d of %d indexes came with the directory", near, partitions)
		}
		end := int64(len(st.b))
		for _, s := range []karst.Span{{Pos: 0, Len: 10}, {Pos: end, Len: 1}, {Pos: end - 1, Len: 10}, d.Slices[0].Data, {Pos: d.Slices[0].Index.Pos, Len: end}, {}} {
			if b := d.Near(s); b != nil {
				t.Errorf("%d partitions: %d bytes for %+v", partitions, len(b), s)
			}
		}
	}
}

func TestReferencesAreRefusedByName(t *testing.T) {
	b := appendIndex(nil, []Entry{{Pos: 96, Info: batch(karst.TopicPartition{}, 0, 1, 1).Info}})
	for at, flip := range map[int]byte{0: kindBatches ^ kindReference, 5: 2} {
		ref := bytes.Clone(b)
		ref[at-(at/5)] ^= flip // byte 0: the block's kind; byte 4: the first entry's flags
		_, err := DecodeIndex("o", karst.Span{Pos: 5, Len: int64(len(ref))}, object.Checksum(ref), ref)
		var c *karst.CorruptError
		if !errors.As(err, &c) || !bytes.Contains([]byte(c.Reason), []byte("reference")) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

func TestBuildCostsTheSameForManyPartitions(t *testing.T) {
	arena := make([]byte, 4<<20)
	count := func(partitions int) float64 {
		in := many(partitions, 10_000, 100)
		return testing.AllocsPerRun(3, func() {
			if _, err := Build(header(), in, nil, nil, 4<<20, func(n int) []byte { return arena[:n] }); err != nil {
				t.Fatal(err)
			}
		})
	}
	one, all := count(1), count(10_000)
	if one > 20 || all > 20 {
		t.Errorf("%v allocations for 10,000 batches of one partition, %v for 10,000 partitions", one, all)
	}
}

func FuzzDirectory(f *testing.F) {
	b := small(f)
	raw := whole(b)
	dir := raw[int64(len(raw))-footerSize-int64(len(raw))+b.Size-int64(len(appendDirectory(nil, &b.Directory))) : len(raw)-footerSize]
	f.Add(dir, b.Size)
	f.Fuzz(func(t *testing.T, dir []byte, size int64) {
		pos := size - footerSize - int64(len(dir))
		if pos < object.HeaderSize {
			return
		}
		ft := footer{directory: karst.Span{Pos: pos, Len: int64(len(dir))}, check: object.Checksum(dir), size: size}
		d, err := decodeDirectory("o", ft, dir)
		if err != nil {
			return
		}
		again := appendDirectory(nil, d)
		ft.directory = karst.Span{Pos: pos, Len: int64(len(again))}
		ft.check, ft.size = object.Checksum(again), pos+int64(len(again))+footerSize
		back, err := decodeDirectory("o", ft, again)
		if err != nil || fmt.Sprint(back.Slices, back.Trims, back.States) != fmt.Sprint(d.Slices, d.Trims, d.States) {
			t.Fatalf("%+v\n%+v\n%v", d, back, err)
		}
	})
}

func FuzzFooter(f *testing.F) {
	b := whole(small(f))
	f.Add(b[len(b)-footerSize:])
	f.Fuzz(func(_ *testing.T, b []byte) {
		if len(b) == footerSize {
			b = bytes.Clone(b)
			binary.BigEndian.PutUint32(b[40:], object.Checksum(b[:40]))
		}
		_, _ = decodeFooter("o", b)
	})
}

func FuzzIndex(f *testing.F) {
	for _, entries := range small(f).Indexes {
		f.Add(appendIndex(nil, entries))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		at := karst.Span{Pos: 5, Len: int64(len(b))}
		entries, err := DecodeIndex("o", at, object.Checksum(b), b)
		if err != nil || len(entries) == 0 {
			return
		}
		again := appendIndex(nil, entries)
		at.Len = int64(len(again))
		back, err := DecodeIndex("o", at, object.Checksum(again), again)
		if err != nil || !slices.Equal(back, entries) {
			t.Fatalf("%+v\n%+v\n%v", entries, back, err)
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	for _, partitions := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			in := many(partitions, 10_000, 16<<10)
			const chunk = 4 << 20
			free := make([][]byte, 0, 64)
			for range cap(free) {
				free = append(free, make([]byte, chunk))
			}
			used := 0
			b.SetBytes(int64(len(in)) * int64(in[0].Info.Size))
			b.ReportAllocs()
			for b.Loop() {
				used = 0
				_, err := Build(header(), in, nil, nil, chunk, func(n int) []byte {
					used++
					return free[used-1][:n]
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
