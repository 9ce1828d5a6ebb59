package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestStreams lets a Kafka Streams application count, by way of a repartition
// topic and with a changelog, with the broker and the application being killed
// and the application's own files gone: the counts are exact.
func TestStreams(t *testing.T) {
	d := soaking(t)
	n := newNode(t, oneStore(t), "--group.initial.rebalance.delay=0s", "--flush.interval=2s")
	p := n.startReady()
	admin := adminOf(t, n.addr())
	for _, topic := range []string{"numbers", "counted"} {
		if _, err := admin.CreateTopic(t.Context(), 6, 3, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	app := newJVM(t, "streams", func() []string { // what it kept on its machine is gone with it
		return []string{"Counts", n.addr(), "counts", t.TempDir(), "numbers", "counted"}
	})
	app.start()
	written := topicFlow(t, n.addr(), "numbers", 6)
	c := &counts{c: client(t, n.addr(), kgo.ConsumeTopics("counted"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), last: map[string]string{}}
	flows(t, "a count", func() (bool, error) { c.read(t); return len(c.last) > 0, nil }, app)
	_, did := disorder(t, n, p, d, app)
	count := written.end()
	within(t, arriveMax, "all counts", func() error {
		app.alive()
		c.read(t)
		return c.exact(count)
	})
	within(t, arriveMax, "the repartition topic is purged", func() error {
		time.Sleep(100 * time.Millisecond)
		starts, err := admin.ListStartOffsets(t.Context(), "counts-remainders-repartition")
		if err != nil {
			return err
		}
		var purged int64
		starts.Each(func(o kadm.ListedOffset) { purged += o.Offset })
		if purged < count/2 {
			return fmt.Errorf("%d of %d records", purged, count)
		}
		return nil
	})
	app.stop()
	t.Logf("%d numbers counted, each once; %d counts read; %s", count, c.reads, did)
}

// counts is what the application says last for each key.
type counts struct {
	c     *kgo.Client
	last  map[string]string
	reads int
}

func (c *counts) read(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	c.c.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
		// An instance that was killed may have said less later than another more.
		if key := string(r.Key); counted(c.last[key]) <= counted(string(r.Value)) {
			c.last[key] = string(r.Value)
		}
		c.reads++
	})
}

func counted(value string) (count int64) {
	_, after, _ := strings.Cut(value, ",")
	_, _ = fmt.Sscanf(after, "%d", &count)
	return count
}

func (c *counts) exact(count int64) error {
	for k := range min(count, 100) {
		of := (count - k + 99) / 100
		want := fmt.Sprintf("%d,%d", k+(of-1)*100, of)
		if got := c.last[fmt.Sprint(k)]; got != want {
			return fmt.Errorf("remainder %d: %q, want %q", k, got, want)
		}
	}
	return nil
}
