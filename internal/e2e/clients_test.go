package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestRoundTrips lets real clients produce and consume with every codec, and use
// the admin API, on topics that are created by asking for them.
func TestRoundTrips(t *testing.T) {
	stores(t, func(t *testing.T, s storeURL) {
		n := newNode(t, s, "--log.retention.ms=-1") // some write records of years ago
		n.startReady()
		t.Run("java", func(t *testing.T) {
			said(t, run(t, 3*time.Minute, "java", "-cp", java(t), "RoundTrip", n.addr()), 6)
		})
		t.Run("librdkafka", func(t *testing.T) {
			said(t, run(t, 3*time.Minute, python(t), "testdata/librdkafka/roundtrip.py", n.addr()), 7)
		})
		t.Run("kcat", func(t *testing.T) { kcatRoundTrips(t, n.addr()) })
		t.Run("franz-go", func(t *testing.T) { franzRoundTrips(t, n.addr()) })
	})
}

// said wants so many lines that begin with ok, and no others.
func said(t *testing.T, out []byte, oks int) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, line := range lines {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("%s", line)
		}
	}
	if len(lines) != oks {
		t.Errorf("%d lines, want %d:\n%s", len(lines), oks, out)
	}
}

var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// kcatRoundTrips are those of the distribution's librdkafka, which is older.
func kcatRoundTrips(t *testing.T, addr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lines")
	var want bytes.Buffer
	for k := range 5000 {
		fmt.Fprintf(&want, "line %d %s\n", k, strings.Repeat("x", k%200))
	}
	if err := os.WriteFile(file, want.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, codec := range codecs {
		topic := "kcat-" + codec
		run(t, time.Minute, "kcat", "-q", "-b", addr, "-P", "-t", topic, "-p", "0", "-z", codec, "-X", "enable.idempotence=true", "-l", file)
		got := run(t, time.Minute, "kcat", "-q", "-b", addr, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-X", "check.crcs=true")
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s: %d bytes came back, %d went in", codec, len(got), want.Len())
		}
	}
}

// franzRoundTrips are franz-go's, with the newest versions of every request.
func franzRoundTrips(t *testing.T, addr string) {
	t.Helper()
	codecOf := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	const count = 2000
	first := time.UnixMilli(1_700_000_000_000)
	for _, codec := range codecs {
		topic := "franz-" + codec
		c := client(t, addr, kgo.ProducerBatchCompression(codecOf[codec]), kgo.AllowAutoTopicCreation(),
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
		var records []*kgo.Record
		for k := range count {
			records = append(records, &kgo.Record{Topic: topic, Key: fmt.Append(nil, k), Value: bytes.Repeat([]byte("v"), k%300), Timestamp: first.Add(time.Duration(k) * time.Second)})
		}
		if err := c.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		for seen := 0; seen < count; {
			f := c.PollFetches(t.Context())
			if err := f.Err(); err != nil {
				t.Fatal(err)
			}
			f.EachRecord(func(r *kgo.Record) {
				if r.Offset != int64(seen) || string(r.Key) != fmt.Sprint(seen) || len(r.Value) != seen%300 {
					t.Fatalf("record %d: offset %d, key %s, %d bytes", seen, r.Offset, r.Key, len(r.Value))
				}
				seen++
			})
		}
		admin := kadm.NewClient(c)
		at, err := admin.ListOffsetsAfterMilli(t.Context(), first.Add(100*time.Second).UnixMilli()-1, topic)
		if err != nil {
			t.Fatal(err)
		}
		if o, _ := at.Lookup(topic, 0); o.Offset != 100 {
			t.Errorf("offset for a time is %d", o.Offset)
		}
		deleted, err := admin.DeleteRecords(t.Context(), kadm.Offsets{topic: {0: {Topic: topic, Partition: 0, At: 10}}})
		if err != nil || deleted.Error() != nil {
			t.Fatal(err, deleted.Error())
		}
		starts, err := admin.ListStartOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		if o, _ := starts.Lookup(topic, 0); o.Offset != 10 {
			t.Errorf("log start offset is %d", o.Offset)
		}
	}
}
