package e2e

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestGroups has the data set consumed by four groups at once, one of each client
// and one of all of them, while it is being produced. Members join, leave and are
// killed; the broker is killed, or stopped. Every record must be seen by each group,
// and no committed position may ever go back or pass a record that nobody saw.
func TestGroups(t *testing.T) {
	stores(t, func(t *testing.T, s storeURL) {
		seconds := setting(t, "KARST_TEST_GROUP_SECONDS", 25)
		d := newDataSet(t, setting(t, "KARST_TEST_GROUP_RECORDS", 50_000))
		n := newNode(t, s, "--flush.interval=2s", "--group.initial.rebalance.delay=500ms", "--offsets.topic.num.partitions=8")
		p := n.startReady()
		if _, err := adminOf(t, n.addr()).CreateTopic(t.Context(), groupPartitions, 1, nil, d.topic); err != nil {
			t.Fatal(err)
		}
		rate := max(20, 2*d.records/(membersLeast*seconds))
		crowds := []*crowd{
			newCrowd(t, n, d, rate, "java", cooperative, javaMember),
			newCrowd(t, n, d, rate, "librdkafka", cooperative, librdkafkaMember),
			newCrowd(t, n, d, rate, "franz-go", cooperative, franzMember),
			newCrowd(t, n, d, rate, "mixed", eager, javaMember, librdkafkaMember, franzMember),
		}
		began := time.Now()
		m := startMonitor(t, n.addr(), d, crowds)
		produced := d.produce(t, n.addr(), time.Duration(seconds)*time.Second)
		var churns sync.WaitGroup
		for _, c := range crowds {
			churns.Go(c.churn)
		}
		kills, stops := 0, 0
		for time.Since(began) < time.Duration(seconds)*time.Second {
			pause := time.Duration((0.5 + rand.Float64()) * float64(max(6, seconds/15)) * float64(time.Second))
			if m.wait(pause) {
				break
			}
			p.wroteNothing()
			if (kills+stops)%3 == 1 {
				p.signal(syscall.SIGTERM)
				if code := p.wait(time.Minute); code != 0 {
					t.Errorf("the broker ended with %d", code)
				}
				stops++
			} else {
				p.kill()
				kills++
			}
			p = n.startReady()
		}
		for _, c := range crowds {
			close(c.calm)
		}
		churns.Wait()
		if !m.wait(endMax) {
			t.Errorf("the groups are not at their end %v after the last record: %s", endMax, m)
		}
		took := time.Since(began)
		for _, c := range crowds {
			c.end()
		}
		m.end()
		if err := <-produced; err != nil {
			t.Error(err)
		}
		// What was committed must come from the store, not from this broker's memory.
		p.kill()
		n.startReady()
		for _, c := range crowds {
			m.last(c)
			for _, wrong := range c.history.verify() {
				t.Errorf("%s: %s", c.name, wrong)
			}
		}
		t.Logf("%d records, %d kills and %d stops of the broker in %v", d.records, kills, stops, took.Round(time.Second))
		for _, c := range crowds {
			t.Logf("%-10s %s", c.name, c.report(generation(t, n.addr(), c.name, d.topic)))
		}
	})
}

// groupPartitions are shared by up to membersMost members of each group.
const (
	groupPartitions = 12
	membersLeast    = 3
	membersMost     = 4
)

// dataSet is lines in a file: record k is in partition k mod groupPartitions.
type dataSet struct {
	topic, file string
	records     int
	sums        [][]uint32 // of each partition: sums of the checksums of its first records
}

func newDataSet(t *testing.T, records int) *dataSet {
	t.Helper()
	d := &dataSet{topic: "lines", file: filepath.Join(t.TempDir(), "lines.json"), records: records, sums: make([][]uint32, groupPartitions)}
	run(t, 5*time.Minute, "../../scripts/dataset.sh", d.file, strconv.Itoa(records))
	for p := range d.sums {
		d.sums[p] = []uint32{0}
	}
	k := 0
	eachLine(t, d.file, func(line []byte) {
		s := d.sums[k%groupPartitions]
		d.sums[k%groupPartitions] = append(s, s[len(s)-1]+crc32.ChecksumIEEE(line))
		k++
	})
	return d
}

// end is the offset after a partition's last record.
func (d *dataSet) end(partition int) int64 { return int64(len(d.sums[partition]) - 1) }

// sum is the checksum of some records of a partition, false if there are none.
func (d *dataSet) sum(partition, first, count int64) (uint32, bool) {
	if partition < 0 || partition >= groupPartitions || first < 0 || count <= 0 || first+count > d.end(int(partition)) {
		return 0, false
	}
	return d.sums[partition][first+count] - d.sums[partition][first], true
}

// produce writes the data set, evenly over some time, and tells its error.
func (d *dataSet) produce(t *testing.T, addr string, over time.Duration) <-chan error {
	t.Helper()
	c := client(t, addr, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20*time.Millisecond),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProduceRequestTimeout(10*time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }))
	done := make(chan error, 1)
	go func() {
		var mu sync.Mutex
		var failure error
		fail := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if failure == nil {
				failure = err
			}
		}
		began, k := time.Now(), 0
		eachLine(t, d.file, func(line []byte) {
			at, offset := int32(k%groupPartitions), int64(k/groupPartitions) //nolint:gosec // it is small
			c.Produce(t.Context(), &kgo.Record{Topic: d.topic, Partition: at, Value: slices.Clone(line)}, func(r *kgo.Record, err error) {
				if err == nil && r.Offset != offset {
					err = fmt.Errorf("partition %d: record %d was acknowledged at %d", at, offset, r.Offset)
				}
				if err != nil {
					fail(err)
				}
			})
			if k++; k%256 == 0 {
				time.Sleep(time.Until(began.Add(over * time.Duration(k) / time.Duration(d.records))))
			}
		})
		if err := c.Flush(t.Context()); err != nil {
			fail(err)
		}
		mu.Lock()
		defer mu.Unlock()
		done <- failure
	}()
	return done
}
