package segment

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store/object"
)

// chunkMin keeps the header and a small batch in one piece.
const chunkMin = 1 << 10

// Allocate returns memory for n bytes; the builder fills it. It is how chunks
// come in without this package knowing them.
type Allocate func(n int) []byte

// Build lays out a segment: it sorts batches by partition (keeping the order
// within each, which must be offset order), copies every batch once into
// memory from alloc in pieces of at most chunkBytes (a batch larger than that gets
// a piece of its own, so that every batch is contiguous), and writes index,
// directory and footer into one garbage-collected piece. header.Kind, Version,
// Length and Check are filled in. Rejected: batches that span pieces. It would
// fill chunks to the brim, but readers of the tail could not splice a batch as
// one slice.
//
// Its cost is proportional to the batches, and to the logarithm of the number
// of runs of one partition; the number of allocations depends on neither.
func Build(header object.Header, batches []Batch, trims []Trim, states []State, chunkBytes int, alloc Allocate) (*Built, error) {
	if chunkBytes < chunkMin {
		panic(fmt.Sprintf("BUG: chunks of %d bytes", chunkBytes))
	}
	runs := sortedRuns(batches)
	b := &builder{
		header: header, batches: batches, chunkBytes: chunkBytes, alloc: alloc,
		entries: make([]Entry, 0, len(batches)),
		bytes:   make([][]byte, 0, len(batches)),
	}
	for i := range batches {
		if int64(len(batches[i].Bytes)) != int64(batches[i].Info.Size) || batches[i].Info.Size <= 0 {
			panic(fmt.Sprintf("BUG: batch of %s has %d bytes and size %d", batches[i].Partition, len(batches[i].Bytes), batches[i].Info.Size))
		}
		b.left += int64(batches[i].Info.Size)
	}
	b.piece(object.HeaderSize)
	count := partitions(runs)
	b.built.Directory.Slices = make([]Slice, 0, count)
	b.built.Indexes = make([][]Entry, 0, count)
	b.built.Batches = make([][][]byte, 0, count)
	b.meta = make([]byte, 0, 256+64*count+48*len(batches)) // a guess, usually enough
	for len(runs) > 0 {
		n := 1
		for n < len(runs) && runs[n].same(&runs[0]) {
			n++
		}
		b.slice(runs[:n])
		runs = runs[n:]
	}
	return b.finish(trims, states), nil
}

// run is a sequence of batches of one partition that came one after another.
type run struct {
	hi, lo     uint64 // topic id
	partition  karst.Partition
	start, end int32
}

func (r *run) same(o *run) bool {
	return r.hi == o.hi && r.lo == o.lo && r.partition == o.partition
}

// before orders runs as karst.TopicPartition.Compare does, then by arrival.
func (r *run) before(o *run) int {
	switch {
	case r.hi != o.hi:
		return order(r.hi < o.hi)
	case r.lo != o.lo:
		return order(r.lo < o.lo)
	case r.partition != o.partition:
		return order(r.partition < o.partition)
	}
	return int(r.start) - int(o.start)
}

func order(less bool) int {
	if less {
		return -1
	}
	return 1
}

// sortedRuns cuts the batches into runs and sorts those.
func sortedRuns(batches []Batch) []run {
	count := 0
	for i := range batches {
		if i == 0 || batches[i].Partition != batches[i-1].Partition {
			count++
		}
	}
	runs := make([]run, 0, count)
	sorted := true
	for i := range batches {
		if i > 0 && batches[i].Partition == batches[i-1].Partition {
			runs[len(runs)-1].end++
			continue
		}
		tp := &batches[i].Partition
		r := run{
			hi: binary.BigEndian.Uint64(tp.Topic[:]), lo: binary.BigEndian.Uint64(tp.Topic[8:]),
			partition: tp.Partition, start: int32(i), end: int32(i) + 1,
		}
		sorted = sorted && (len(runs) == 0 || runs[len(runs)-1].before(&r) < 0)
		runs = append(runs, r)
	}
	if !sorted {
		slices.SortFunc(runs, func(a, b run) int { return a.before(&b) })
	}
	return runs
}

// partitions counts the distinct partitions of sorted runs.
func partitions(runs []run) int {
	n := 0
	for i := range runs {
		if i == 0 || !runs[i].same(&runs[i-1]) {
			n++
		}
	}
	return n
}

// builder is a segment being laid out.
type builder struct {
	header     object.Header
	batches    []Batch
	chunkBytes int
	alloc      Allocate
	left       int64 // bytes of batches still to be copied

	built   Built
	entries []Entry  // of all slices
	bytes   [][]byte // of all batches
	open    []byte   // the piece being filled: its length is what is used
	pos     int64    // in the object
	meta    []byte   // index blocks, then the rest
}

// piece closes the open piece and opens one with room for n bytes.
func (b *builder) piece(n int) {
	if b.open != nil {
		b.built.Body.Parts = append(b.built.Body.Parts, b.open)
	}
	want := min(int64(b.chunkBytes), b.left)
	if len(b.built.Body.Parts) == 0 && b.pos == 0 {
		want = min(int64(b.chunkBytes), b.left+object.HeaderSize)
	}
	want = max(want, int64(n))
	mem := b.alloc(int(want))
	if int64(len(mem)) < want {
		panic(fmt.Sprintf("BUG: allocated %d bytes of %d", len(mem), want))
	}
	if b.pos == 0 {
		b.open = mem[:n:want] // the header, filled in at the end
		b.pos = int64(n)
		return
	}
	b.open = mem[:0:want]
}

// slice copies the batches of one partition and writes their index block.
func (b *builder) slice(runs []run) {
	first := len(b.entries)
	start := b.pos
	for _, r := range runs {
		for i := r.start; i < r.end; i++ {
			b.batch(&b.batches[i], len(b.entries) > first)
		}
	}
	entries := b.entries[first:len(b.entries):len(b.entries)]
	s := Slice{
		Partition: b.batches[runs[0].start].Partition,
		Base:      entries[0].Info.Base,
		Last:      entries[len(entries)-1].Info.Last(),
		Batches:   int32(len(entries)),
		Data:      karst.Span{Pos: start, Len: b.pos - start},
	}
	s.MaxTimestamp, s.MaxTimestampOffset = newest(entries)
	at := len(b.meta)
	b.meta = appendIndex(b.meta, entries)
	s.Index = karst.Span{Pos: int64(at), Len: int64(len(b.meta) - at)} // moved by finish
	s.IndexCheck = object.Checksum(b.meta[at:])
	b.built.Directory.Slices = append(b.built.Directory.Slices, s)
	b.built.Indexes = append(b.built.Indexes, entries)
	b.built.Batches = append(b.built.Batches, b.bytes[first:len(b.bytes):len(b.bytes)])
}

func (b *builder) batch(in *Batch, follows bool) {
	if follows {
		if prev := &b.entries[len(b.entries)-1].Info; in.Info.Base < prev.Next() {
			panic(fmt.Sprintf("BUG: batch of %s at offset %d follows offset %d (I5)", in.Partition, in.Info.Base, prev.Last()))
		}
	}
	n := len(in.Bytes)
	if n > cap(b.open)-len(b.open) {
		b.piece(n)
	}
	at := len(b.open)
	b.open = append(b.open, in.Bytes...)
	b.bytes = append(b.bytes, b.open[at:at+n:at+n])
	b.entries = append(b.entries, Entry{Info: in.Info, Pos: b.pos})
	b.pos += int64(n)
	b.left -= int64(n)
}

// newest is the largest timestamp of the entries and the first offset that has it.
func newest(entries []Entry) (karst.Timestamp, karst.Offset) {
	best := &entries[0].Info
	for i := range entries[1:] {
		if e := &entries[i+1].Info; e.MaxTimestamp > best.MaxTimestamp {
			best = e
		}
	}
	if best.MaxDelta < 0 {
		return best.MaxTimestamp, -1
	}
	return best.MaxTimestamp, best.Base + karst.Offset(best.MaxDelta)
}

// finish writes what follows the data, then the header.
func (b *builder) finish(trims []Trim, states []State) *Built {
	out := &b.built
	out.Body.Parts = append(out.Body.Parts, b.open)
	d := &out.Directory
	for i := range d.Slices {
		d.Slices[i].Index.Pos += b.pos
	}
	d.Trims = trims
	if len(states) > 0 {
		d.States = make([]StateAt, 0, len(states))
	}
	for _, s := range states {
		d.States = append(d.States, StateAt{
			Partition: s.Partition,
			At:        karst.Span{Pos: b.pos + int64(len(b.meta)), Len: int64(len(s.Bytes))},
			Check:     object.Checksum(s.Bytes),
		})
		b.meta = append(b.meta, s.Bytes...)
	}
	b.header.Kind, b.header.Version = object.Segment, version
	d.Header = b.header
	at := len(b.meta)
	b.meta = appendDirectory(b.meta, d)
	check := object.Checksum(b.meta[at:])
	dir := karst.Span{Pos: b.pos + int64(at), Len: int64(len(b.meta) - at)}
	out.Size = dir.Pos + dir.Len + footerSize
	b.meta = footer{directory: dir, check: check, size: out.Size}.append(b.meta)
	d.Header.Length, d.Header.Check = out.Size-object.HeaderSize, check
	d.Header.Append(out.Body.Parts[0][:0])
	out.Body.Parts = append(out.Body.Parts, b.meta)
	if out.Body.Size() != out.Size {
		panic(fmt.Sprintf("BUG: segment of %d bytes, laid out %d", out.Body.Size(), out.Size))
	}
	return out
}
