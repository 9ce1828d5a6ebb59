package e2e

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ledger is what producers were told, to be compared with what a consumer sees.
// Producers write sequences 0, 1, 2 … each to partition sequence mod partitions.
type ledger struct {
	topic      string
	partitions int
	options    []kgo.Opt // of consumers

	mu       sync.Mutex
	acked    map[string][]int64 // producer, sequence: offset, -1 for unknown
	count    int
	failures []string
	heard    func(producer string, partition int64) // if set, is told of every acknowledgement
	latest   []time.Time                            // per partition: when the newest record was sent that a producer in this process had acknowledged
}

func newLedger(topic string, partitions int) *ledger {
	return &ledger{topic: topic, partitions: partitions, acked: map[string][]int64{}, latest: make([]time.Time, partitions)}
}

// acknowledge notes that a sequence of a producer is at an offset.
func (l *ledger) acknowledge(producer string, sequence, partition, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if partition != sequence%int64(l.partitions) {
		l.failures = append(l.failures, fmt.Sprintf("%s-%d acknowledged in partition %d", producer, sequence, partition))
		return
	}
	all := l.acked[producer]
	for int64(len(all)) <= sequence {
		all = append(all, -1)
	}
	if all[sequence] >= 0 {
		l.failures = append(l.failures, fmt.Sprintf("%s-%d acknowledged twice", producer, sequence))
	}
	if l.heard != nil {
		l.heard(producer, partition)
	}
	all[sequence] = offset
	l.acked[producer] = all
	l.count++
}

// sent notes when an acknowledged record was sent.
func (l *ledger) sent(r *kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Timestamp.After(l.latest[r.Partition]) {
		l.latest[r.Partition] = r.Timestamp
	}
}

func (l *ledger) failed(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, what)
}

func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// key and value of a record; every client builds the same.
func key(producer string, sequence int64) string {
	return producer + "-" + strconv.FormatInt(sequence, 10)
}

func value(key string, sequence int64) string {
	return strings.Repeat(key+" ", int(1+sequence%40))
}

// view is what one consumer saw: per partition a hash of each offset's record.
type view struct {
	mu     sync.Mutex
	hashes [][]uint64
	latest []time.Time // of the records seen, by their producer's clock
	seed   maphash.Seed
	wrong  []string
	heard  func(partition int64) // if set, is told of every record
}

func newView(partitions int, seed maphash.Seed) *view {
	return &view{hashes: make([][]uint64, partitions), latest: make([]time.Time, partitions), seed: seed}
}

// add notes a record: offsets run from 0 without a hole.
func (v *view) add(r *kgo.Record) {
	v.mu.Lock()
	defer v.mu.Unlock()
	seen := v.hashes[r.Partition]
	if int64(len(seen)) != r.Offset {
		v.wrong = append(v.wrong, fmt.Sprintf("partition %d: offset %d comes after %d", r.Partition, r.Offset, len(seen)-1))
		return
	}
	if v.heard != nil {
		v.heard(int64(r.Partition))
	}
	v.latest[r.Partition] = r.Timestamp
	v.hashes[r.Partition] = append(seen, maphash.Bytes(v.seed, append(append(bytes.Clone(r.Key), 0), r.Value...)))
}

// consumer reads all partitions from the start, without a group.
func consumer(t *testing.T, addr string, l *ledger) *kgo.Client {
	t.Helper()
	from := map[int32]kgo.Offset{}
	for p := range l.partitions {
		from[int32(p)] = kgo.NewOffset().AtStart()
	}
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.topic: from}),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }), kgo.FetchMaxWait(500 * time.Millisecond),
	}, l.options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// follow consumes until the context ends, as a client that lives through it all.
func (l *ledger) follow(ctx context.Context, c *kgo.Client, v *view) {
	for ctx.Err() == nil {
		c.PollFetches(ctx).EachRecord(v.add)
	}
}

const readMax = 5 * time.Minute

// verify reads everything with a fresh consumer and compares: nothing
// acknowledged lost, doubled, reordered, torn or elsewhere. It returns how many
// records were read.
func (l *ledger) verify(t *testing.T, addr string, followed *view) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readMax)
	defer cancel()
	c := consumer(t, addr, l)
	ends := endOffsets(ctx, t, c, l.topic)
	check := &check{t: t, ledger: l, last: map[string][]int64{}, found: map[string][]int64{}, before: map[string][]*kgo.Record{}}
	seen := newView(l.partitions, followed.seed)
	for left := l.partitions; left > 0; {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatalf("after %d records: %v", check.count, err)
		}
		f.EachRecord(func(r *kgo.Record) {
			seen.add(r)
			check.record(r)
		})
		left = 0
		for p, end := range ends {
			if int64(len(seen.hashes[p])) < end {
				left++
			}
		}
		if check.wrong >= wrongMax || len(seen.wrong) > 0 {
			check.failures() // which may be why
			return check.count
		}
	}
	check.complete()
	compareViews(t, seen, followed)
	return check.count
}

func endOffsets(ctx context.Context, t *testing.T, c *kgo.Client, topic string) map[int32]int64 {
	t.Helper()
	var ends map[int32]int64
	within(t, time.Minute, "end offsets", func() error { // a leader may just be changing
		listed, err := kadm.NewClient(c).ListEndOffsets(ctx, topic)
		if err == nil {
			err = listed.Error()
		}
		ends = map[int32]int64{}
		listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
		return err
	})
	return ends
}

// compareViews wants what a consumer saw during the test to be what is there
// after it.
func compareViews(t *testing.T, final, followed *view) {
	t.Helper()
	followed.mu.Lock()
	defer followed.mu.Unlock()
	for _, w := range append(final.wrong, followed.wrong...) {
		t.Error(w)
	}
	for p, hashes := range followed.hashes {
		if len(hashes) > len(final.hashes[p]) {
			t.Errorf("partition %d: a consumer saw %d records, now there are %d", p, len(hashes), len(final.hashes[p]))
			continue
		}
		for offset, h := range hashes {
			if final.hashes[p][offset] != h {
				t.Errorf("partition %d, offset %d: a consumer saw another record before", p, offset)
				break
			}
		}
	}
}

// check compares records, in the order of a fresh consumer, with a ledger.
type check struct {
	t      *testing.T
	ledger *ledger
	last   map[string][]int64       // producer, partition: last sequence
	found  map[string][]int64       // producer, sequence: offset
	before map[string][]*kgo.Record // producer, partition: last record
	count  int
	wrong  int
}

const wrongMax = 20

func (c *check) errorf(format string, args ...any) {
	c.t.Helper()
	if c.wrong++; c.wrong <= wrongMax {
		c.t.Errorf(format, args...)
	}
}

func (c *check) record(r *kgo.Record) {
	c.t.Helper()
	c.count++
	producer, number, _ := strings.Cut(string(r.Key), "-")
	sequence, err := strconv.ParseInt(number, 10, 64)
	if err != nil || sequence < 0 {
		c.errorf("partition %d, offset %d: key %q", r.Partition, r.Offset, r.Key)
		return
	}
	if string(r.Value) != value(string(r.Key), sequence) {
		c.errorf("%s: torn value %q", r.Key, r.Value)
	}
	if int64(r.Partition) != sequence%int64(c.ledger.partitions) {
		c.errorf("%s is in partition %d", r.Key, r.Partition)
	}
	if c.last[producer] == nil {
		c.last[producer] = make([]int64, c.ledger.partitions)
		for p := range c.last[producer] {
			c.last[producer][p] = int64(p - c.ledger.partitions)
		}
	}
	if want := c.last[producer][r.Partition] + int64(c.ledger.partitions); sequence != want {
		c.errorf("partition %d, offset %d: %s where %s-%d should be: lost, doubled or reordered (%s; before it %s)",
			r.Partition, r.Offset, r.Key, producer, want, batchOf(r), batchOf(c.before[producer][r.Partition]))
	}
	c.last[producer][r.Partition] = sequence
	if c.before[producer] == nil {
		c.before[producer] = make([]*kgo.Record, c.ledger.partitions)
	}
	c.before[producer][r.Partition] = r
	for int64(len(c.found[producer])) <= sequence {
		c.found[producer] = append(c.found[producer], -1)
	}
	c.found[producer][sequence] = r.Offset
}

// batchOf says what is known of the batch of a record, to find out what happened.
func batchOf(r *kgo.Record) string {
	if r == nil {
		return "nothing"
	}
	return fmt.Sprintf("offset %d, sent %s, leader epoch %d, producer %d/%d", r.Offset, r.Timestamp.UTC().Format("15:04:05.000"), r.LeaderEpoch, r.ProducerID, r.ProducerEpoch)
}

// failures tells what producers were refused.
func (c *check) failures() {
	c.t.Helper()
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	for k, f := range c.ledger.failures {
		if k < wrongMax {
			c.t.Errorf("producer: %s", f)
		}
	}
}

// complete compares both ways: producers ended in peace, so everything that is
// there was acknowledged.
func (c *check) complete() {
	c.t.Helper()
	c.failures()
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	for producer, acked := range c.ledger.acked {
		found := c.found[producer]
		for sequence, offset := range acked {
			switch {
			case offset < 0:
				c.errorf("%s-%d was not acknowledged", producer, sequence)
			case sequence >= len(found) || found[sequence] < 0:
				c.errorf("%s-%d, acknowledged at offset %d, is lost", producer, sequence, offset)
			case found[sequence] != offset:
				c.errorf("%s-%d was acknowledged at offset %d and is at %d", producer, sequence, offset, found[sequence])
			}
		}
		if len(found) > len(acked) {
			c.errorf("%s: %d records are there, %d were acknowledged", producer, len(found), len(acked))
		}
	}
	if c.wrong > wrongMax {
		c.t.Errorf("and %d more", c.wrong-wrongMax)
	}
}
