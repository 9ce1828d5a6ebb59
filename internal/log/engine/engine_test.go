package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/partition"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

func offsets(from, to karst.Offset) []karst.Offset {
	var all []karst.Offset
	for o := from; o < to; o++ {
		all = append(all, o)
	}
	return all
}

// TestEveryPlaceReadsTheSame reads from memory, from adopted WAL segments, from
// shared segments and across their borders.
func TestEveryPlaceReadsTheSame(t *testing.T) {
	w := newWorld(t, 3, engine.Config{TailBytes: 0}, record.Rules{})
	small := func() []byte { return w.batch(nil, 1, 2, 3) }
	large := func() []byte {
		return w.batch(func(b *record.Builder) { b.Append(4, nil, make([]byte, 12<<10)) }, 1, 2)
	}
	var end [3]karst.Offset
	for round := range 4 {
		for p := range 3 {
			for k := range 3 {
				raw := small()
				if p == 1 || p == 2 && k == round%3 {
					raw = large()
				}
				a := w.produce(part(p), raw)
				if a.Base != end[p] {
					t.Fatalf("partition %d: acknowledged at %d, want %d", p, a.Base, end[p])
				}
				end[p] += 3
				if got := w.read(part(p), a.Base); !slices.Equal(got, offsets(a.Base, end[p])) {
					t.Fatalf("an acknowledged batch is not there at once: %v", got)
				}
			}
		}
		if round < 3 {
			w.flush()
		}
		for p := range 3 {
			for from := karst.Offset(0); from <= end[p]; from++ {
				if got := w.read(part(p), from); !slices.Equal(got, offsets(from, end[p])) {
					t.Fatalf("round %d, partition %d from %d: %v", round, p, from, got)
				}
			}
		}
	}
	kinds := map[metadata.ObjectKind]bool{}
	for s := range w.Image().Partitions() {
		for _, src := range s.Sources {
			kinds[src.Object.Kind] = true
		}
	}
	if !kinds[metadata.WALObject] || !kinds[metadata.SegObject] {
		t.Errorf("the manifest has kinds %v; the test wants both", kinds)
	}
}

func TestMemoryIsLetGoOnlyAfterTheFlush(t *testing.T) {
	w := newWorld(t, 1, engine.Config{TailBytes: 1}, record.Rules{})
	w.produce(part(0), w.batch(nil, 1))
	if w.engine.TailBytes() == 0 {
		t.Fatal("unflushed data left memory")
	}
	w.flush()
	if n := w.engine.TailBytes(); n != 0 {
		t.Fatalf("%d bytes stay above the budget after the flush", n)
	}
	if got := w.read(part(0), 0); len(got) != 1 {
		t.Fatalf("after eviction: %v", got)
	}
}

func TestRangeAndEpochChecks(t *testing.T) {
	w := newWorld(t, 1, engine.Config{TailBytes: 1 << 20}, record.Rules{})
	w.produce(part(0), w.batch(nil, 1, 2))
	req := func(off karst.Offset, epoch, last karst.Epoch) engine.ReadRequest {
		return engine.ReadRequest{Offset: off, MaxBytes: 100, AtLeastOne: true, CurrentEpoch: epoch, LastFetched: last}
	}
	epoch := karst.Epoch(0)
	if s, _ := w.Image().Partition(part(0)); s != nil {
		epoch = s.Epoch
	}
	for _, c := range []struct {
		name string
		tp   karst.TopicPartition
		req  engine.ReadRequest
		want karst.Code
		size bool
	}{
		{"inside a batch returns the batch", part(0), req(1, -1, -1), 0, true},
		{"at the end", part(0), req(2, -1, -1), 0, false},
		{"above the end", part(0), req(3, -1, -1), karst.OffsetOutOfRange, false},
		{"below the start", part(0), req(-1, -1, -1), karst.OffsetOutOfRange, false},
		{"current epoch", part(0), req(0, epoch, -1), 0, true},
		{"newer epoch", part(0), req(0, epoch+1, -1), karst.UnknownLeaderEpoch, false},
		{"older epoch", part(0), req(0, epoch-1, -1), karst.FencedLeaderEpoch, false},
		{"no such partition", part(5), req(0, -1, -1), karst.UnknownTopic, false},
		{"no such topic", karst.TopicPartition{Topic: karst.TopicID{9}}, req(0, -1, -1), karst.UnknownTopicID, false},
	} {
		if epoch == 0 && c.name == "older epoch" {
			continue // -1 means no check
		}
		r, err := w.engine.Read(context.Background(), c.tp, c.req)
		if c.want != 0 {
			if !errors.Is(err, c.want.Err()) {
				t.Errorf("%s: got %v", c.name, err)
			}
			continue
		}
		if err != nil || (r.Size > 0) != c.size {
			t.Errorf("%s: %d bytes, %v", c.name, r.Size, err)
			continue
		}
		r.Release()
	}
}

// idempotent builds a batch of n records of producer 5.
func idempotent(w *world, epoch karst.ProducerEpoch, seq karst.Sequence, n int) []byte {
	return w.batch(func(b *record.Builder) {
		b.Producer, b.ProducerEpoch, b.BaseSequence = 5, epoch, seq
	}, slices.Repeat([]karst.Timestamp{1}, n)...)
}

// A consumer whose last record is older than the log must not be told that its
// epoch is unknown: it would start over by its reset policy, and skip records.
func TestEpochOlderThanTheLogEndsWhereTheLogStarts(t *testing.T) {
	tp := part(0)
	for _, c := range []struct {
		name   string
		epochs []metadata.EpochStart
		want   karst.Epoch
		end    partition.EpochEnd
	}{
		{"restarts without data", []metadata.EpochStart{{Epoch: 6, Start: 0}}, 5, partition.EpochEnd{Epoch: 5, End: 0}},
		{"emptied, then a restart", []metadata.EpochStart{{Epoch: 6, Start: 40}}, 3, partition.EpochEnd{Epoch: 3, End: 40}},
		{"between two", []metadata.EpochStart{{Epoch: 2, Start: 7}, {Epoch: 6, Start: 40}}, 3, partition.EpochEnd{Epoch: 2, End: 40}},
		{"the current one", []metadata.EpochStart{{Epoch: 2, Start: 7}, {Epoch: 6, Start: 40}}, 6, partition.EpochEnd{Epoch: 6, End: 40}},
		{"newer than all", []metadata.EpochStart{{Epoch: 6, Start: 40}}, 7, partition.EpochEnd{Epoch: -1, End: -1}},
		{"none", []metadata.EpochStart{{Epoch: 6, Start: 40}}, -1, partition.EpochEnd{Epoch: -1, End: -1}},
	} {
		end := karst.Offset(40)
		if c.epochs[0].Start == 0 {
			end = 0
		}
		p := partition.Open(&metadata.PartitionState{ID: tp, Epoch: 6, Epochs: c.epochs, LogStart: c.epochs[0].Start, End: end})
		got, err := p.EpochEnd(karst.NoEpoch, c.want)
		if err != nil || got != c.end {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.end)
		}
		if c.want < 0 || c.want > 6 {
			continue
		}
		r, _, err := p.ReadMemory(partition.ReadRequest{Offset: end, MaxBytes: 1, CurrentEpoch: karst.NoEpoch, LastFetched: c.want})
		if err != nil {
			t.Errorf("%s: read: %v", c.name, err)
		} else if older := c.end.Epoch < c.want; older != (r.Diverging != nil) {
			t.Errorf("%s: diverging %+v", c.name, r.Diverging)
		}
	}
}

func TestIdempotence(t *testing.T) {
	w := newWorld(t, 1, engine.Config{TailBytes: 1 << 20}, record.Rules{})
	p := part(0)
	for i := range karst.Sequence(7) {
		if a := w.produce(p, idempotent(w, 0, i*2, 2)); a.Base != karst.Offset(i*2) {
			t.Fatalf("batch %d at %d", i, a.Base)
		}
	}
	w.flush()
	// The last five are remembered with their offsets (KIP-98).
	for i := karst.Sequence(2); i < 7; i++ {
		if a := w.produce(p, idempotent(w, 0, i*2, 2)); a.Base != karst.Offset(i*2) || a.Commit != nil {
			t.Errorf("duplicate of batch %d: %+v", i, a)
		}
	}
	for _, c := range []struct {
		name  string
		epoch karst.ProducerEpoch
		seq   karst.Sequence
		n     int
		want  karst.Code
	}{
		{"older than the window", 0, 2, 2, karst.OutOfOrderSequence},
		{"a gap", 0, 16, 2, karst.OutOfOrderSequence},
		{"same start, other length", 0, 12, 1, karst.OutOfOrderSequence},
		{"new epoch not at 0", 1, 14, 1, karst.OutOfOrderSequence},
	} {
		if _, err := w.send(p, idempotent(w, c.epoch, c.seq, c.n)); !errors.Is(err, c.want.Err()) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if a := w.produce(p, idempotent(w, 1, 0, 1)); a.Base != 14 {
		t.Errorf("new epoch at %d", a.Base)
	}
	if _, err := w.send(p, idempotent(w, 0, 14, 1)); !errors.Is(err, karst.InvalidProducerEpoch.Err()) {
		t.Errorf("old epoch: %v", err)
	}
	if got := w.read(p, 0); !slices.Equal(got, offsets(0, 15)) {
		t.Errorf("read %v", got)
	}
}

func TestSequenceWraps(t *testing.T) {
	w := newWorld(t, 1, engine.Config{TailBytes: 1 << 20}, record.Rules{})
	w.produce(part(0), idempotent(w, 0, 0x7fffffff-1, 3)) // …fe, …ff, 0
	if a := w.produce(part(0), idempotent(w, 0, 1, 1)); a.Base != 3 {
		t.Errorf("after the wrap at %d", a.Base)
	}
	if a := w.produce(part(0), idempotent(w, 0, 0x7fffffff-1, 3)); a.Base != 0 {
		t.Errorf("duplicate across the wrap at %d", a.Base)
	}
}

// TestDuplicateInFlightSharesTheCompletion retries before the first attempt is
// durable.
func TestDuplicateInFlightSharesTheCompletion(t *testing.T) {
	w := newWorld(t, 1, engine.Config{TailBytes: 1 << 20}, record.Rules{})
	var first, second engine.Appended
	shared := false
	for try := range karst.Sequence(200) { // until the retry is quicker than the store
		var err error
		raw := idempotent(w, 0, try*2, 2)
		if first, err = w.send(part(0), raw); err != nil {
			t.Fatal(err)
		}
		if second, err = w.send(part(0), raw); err != nil {
			t.Fatal(err)
		}
		if first.Base != second.Base {
			t.Fatalf("the retry got offset %d, the original %d", second.Base, first.Base)
		}
		if second.Commit != nil {
			if second.Commit != first.Commit {
				t.Fatal("the retry waits for something else than the original")
			}
			shared = true
			break
		}
	}
	if !shared {
		t.Error("no retry met its original in flight")
	}
	<-first.Commit.Done()
}

func TestDeleteRecords(t *testing.T) {
	w := newWorld(t, 1, engine.Config{}, record.Rules{})
	p := part(0)
	for range 4 {
		w.produce(p, w.batch(nil, 1, 2, 3))
	}
	if _, _, err := w.engine.DeleteRecords(p, 13); !errors.Is(err, karst.OffsetOutOfRange.Err()) {
		t.Errorf("above the high watermark: %v", err)
	}
	low, commit, err := w.engine.DeleteRecords(p, 7)
	if err != nil || low != 7 {
		t.Fatalf("low %d, %v", low, err)
	}
	<-commit.Done()
	if commit.Err() != nil {
		t.Fatal(commit.Err())
	}
	check := func(when string) {
		t.Helper()
		if f, err := w.engine.ListOffset(context.Background(), p, engine.Earliest, karst.NoEpoch, false); err != nil || f.Offset != 7 {
			t.Errorf("%s: earliest %+v, %v", when, f, err)
		}
		if got := w.read(p, 7); !slices.Equal(got, offsets(7, 12)) {
			t.Errorf("%s: read %v", when, got)
		}
	}
	check("in the log")
	w.flush()
	check("in the manifest")
	if s, _ := w.Image().Partition(p); s.LogStart != 7 {
		t.Errorf("image says log start %d", s.LogStart)
	}
	low, commit, err = w.engine.DeleteRecords(p, -1)
	if err != nil || low != 12 {
		t.Fatalf("low %d, %v", low, err)
	}
	<-commit.Done()
	w.flush()
	if s, _ := w.Image().Partition(p); s.LogStart != 12 || s.End != 12 {
		t.Errorf("emptied partition: start %d, end %d", s.LogStart, s.End)
	}
	if a := w.produce(p, w.batch(nil, 1)); a.Base != 12 || a.LogStart != 12 {
		t.Errorf("next append %+v", a)
	}
}

func TestListOffsetsByTime(t *testing.T) {
	w := newWorld(t, 1, engine.Config{}, record.Rules{})
	p := part(0)
	w.produce(p, w.batch(nil, 100, 110, 105))                                            // 0-2
	w.produce(p, w.batch(func(b *record.Builder) { b.Codec = record.Zstd }, 90, 300, 2)) // 3-5
	w.flush()
	w.produce(p, w.batch(nil, 300, 200)) // 6-7
	ask := func(at karst.Timestamp) engine.Found {
		t.Helper()
		f, err := w.engine.ListOffset(context.Background(), p, at, karst.NoEpoch, false)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	check := func() {
		t.Helper()
		for _, c := range []struct {
			at   karst.Timestamp
			off  karst.Offset
			time karst.Timestamp
		}{
			{0, 0, 100},
			{100, 0, 100},
			{101, 1, 110},
			{106, 1, 110},
			{111, 4, 300},
			{300, 4, 300},
			{301, -1, -1},
			{engine.Latest, 8, -1},
			{engine.Earliest, 0, -1},
			{engine.MaxTimestamp, 4, 300},
			{engine.EarliestLocal, 0, -1},
			{engine.LatestTiered, -1, -1},
			{engine.EarliestPending, -1, -1},
		} {
			if f := ask(c.at); f.Offset != c.off || f.Timestamp != c.time {
				t.Errorf("at %d: %+v, want %d at %d", c.at, f, c.off, c.time)
			}
		}
	}
	check()
	w.flush()
	check()
	_, commit, err := w.engine.DeleteRecords(p, 5)
	if err != nil {
		t.Fatal(err)
	}
	<-commit.Done()
	if f := ask(engine.MaxTimestamp); f.Offset != 6 || f.Timestamp != 300 {
		t.Errorf("max timestamp above the new log start: %+v", f)
	}
	if f := ask(0); f.Offset != 5 || f.Timestamp != 2 {
		t.Errorf("first record above the new log start: %+v", f)
	}
}

func TestSubscription(t *testing.T) {
	w := newWorld(t, 100, engine.Config{}, record.Rules{})
	s := w.engine.Subscribe()
	defer s.Close()
	for p := range 100 {
		s.Add(part(p))
	}
	if got := s.Take(); len(got) != 100 {
		t.Fatalf("%d partitions count as changed after Add", len(got))
	}
	w.produce(part(3), w.batch(nil, 1))
	w.produce(part(7), w.batch(nil, 1))
	<-s.Wait()
	got := s.Take()
	slices.SortFunc(got, karst.TopicPartition.Compare)
	if !slices.Equal(got, []karst.TopicPartition{part(3), part(7)}) {
		t.Errorf("changed: %v", got)
	}
	s.Remove(part(3))
	w.produce(part(3), w.batch(nil, 1))
	if err := w.commit(&metadata.DeleteTopic{ID: topic}); err != nil {
		t.Fatal(err)
	}
	if got := s.Take(); len(got) != 99 || slices.Contains(got, part(3)) {
		t.Errorf("a deleted topic changes what is watched: %d", len(got))
	}
	if _, err := w.send(part(1), w.batch(nil, 1)); !errors.Is(err, karst.UnknownTopicID.Err()) {
		t.Errorf("append after the deletion: %v", err)
	}
}

func TestStateComesBackFromTheStore(t *testing.T) {
	w := newWorld(t, 1, engine.Config{}, record.Rules{})
	p := part(0)
	for i := range karst.Sequence(3) {
		w.produce(p, idempotent(w, 2, i, 1))
		w.flush()
	}
	// A second engine over the same image knows only what was stored.
	heir := engine.New(engine.Config{Self: self, UnflushedBytes: 1 << 30, ProducerExpiry: time.Hour, WaitMax: time.Second}, engine.Deps{
		Image: w.Image(), Log: w.wal, Segments: w.cache,
		Validator: record.NewValidator(w.codecs), Decoder: record.NewDecoder(w.codecs),
		Rules: func(*metadata.TopicState) record.Rules {
			return record.Rules{MaxBytes: 1 << 20, AfterMax: 1 << 62, BeforeMax: 1 << 62}
		},
		Watchers:  engine.NewWatchers(),
		Unflushed: func() int64 { return 0 },
	})
	a, err := heir.Append(context.Background(), p, idempotent(w, 2, 1, 1), nothing{})
	if err != nil || a.Base != 1 || a.Commit != nil {
		t.Errorf("duplicate after the restart: %+v, %v", a, err)
	}
	if _, err := heir.Append(context.Background(), p, idempotent(w, 1, 3, 1), nothing{}); !errors.Is(err, karst.InvalidProducerEpoch.Err()) {
		t.Errorf("old epoch after the restart: %v", err)
	}
}

type nothing struct{}

func (nothing) Retain()  {}
func (nothing) Release() {}

func TestTooMuchUnflushedIsRefused(t *testing.T) {
	w := newWorld(t, 1, engine.Config{UnflushedBytes: 100, WaitMax: time.Millisecond}, record.Rules{})
	w.produce(part(0), w.batch(nil, 1, 2, 3))
	if _, err := w.send(part(0), w.batch(nil, 1)); !errors.Is(err, karst.Overloaded.Err()) {
		t.Fatalf("above the bound: %v", err)
	}
	w.flush()
	w.produce(part(0), w.batch(nil, 1))
}

// TestDamageIsNeverPassedOn flips a bit in every object in turn.
func TestDamageIsNeverPassedOn(t *testing.T) {
	w := newWorld(t, 1, engine.Config{}, record.Rules{})
	w.produce(part(0), w.batch(nil, 1, 2, 3))
	w.flush()
	s, _ := w.Image().Partition(part(0))
	name := s.Sources[0].Object.Name()
	info, err := w.bucket.Head(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, info.Size)
	if _, err := w.bucket.Get(context.Background(), name, 0, raw); err != nil {
		t.Fatal(err)
	}
	raw[s.Sources[0].Data.Pos+70] ^= 4
	if err := w.bucket.Delete(context.Background(), []string{name}); err != nil {
		t.Fatal(err)
	}
	if err := w.bucket.Create(context.Background(), name, store.Bytes(raw)); err != nil {
		t.Fatal(err)
	}
	_, err = w.engine.Read(context.Background(), part(0), engine.ReadRequest{MaxBytes: 1 << 20, CurrentEpoch: -1, LastFetched: -1})
	if !errors.Is(err, karst.StorageError.Err()) {
		t.Errorf("a corrupt batch was read: %v", err)
	}
}
