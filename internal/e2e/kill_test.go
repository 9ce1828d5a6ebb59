package e2e

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// load is producers and a consumer that live through a test, and the ledger.
type load struct {
	t         *testing.T
	ledger    *ledger
	producers []producer
	followed  *view
	endFollow context.CancelFunc
	follows   sync.WaitGroup
}

// startLoad creates a topic and lets every client produce into it.
func startLoad(t *testing.T, addr string) *load {
	t.Helper()
	const partitions = 6
	l := &load{t: t, ledger: newLedger("ledger", partitions), followed: newView(partitions, maphash.MakeSeed())}
	admin := adminOf(t, addr)
	if _, err := admin.CreateTopic(t.Context(), partitions, 1, nil, l.ledger.topic); err != nil {
		t.Fatal(err)
	}
	l.producers = producers(t, addr, l.ledger)
	ctx, cancel := context.WithCancel(context.Background())
	l.endFollow = cancel
	c := consumer(t, addr, l.ledger)
	l.follows.Go(func() { l.ledger.follow(ctx, c, l.followed) })
	t.Cleanup(func() {
		cancel()
		l.follows.Wait()
	})
	return l
}

func client(t *testing.T, addr string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func adminOf(t *testing.T, addr string, options ...kgo.Opt) *kadm.Client {
	t.Helper()
	return kadm.NewClient(client(t, addr, options...))
}

// flowing waits until so many more records are acknowledged.
func (l *load) flowing(more int, limit time.Duration) {
	l.t.Helper()
	want := l.ledger.acknowledged() + more
	within(l.t, limit, "acknowledgements", func() error {
		if n := l.ledger.acknowledged(); n < want {
			return errShort{n, want}
		}
		return nil
	})
}

type errShort struct{ got, want int }

func (e errShort) Error() string { return "too few" }

// end ends the producers, then the consumer.
func (l *load) end() {
	l.t.Helper()
	var wg sync.WaitGroup
	for _, p := range l.producers {
		wg.Go(p.end)
	}
	wg.Wait()
	l.endFollow()
	l.follows.Wait()
}

// TestKill kills the broker again and again under producers that wait for
// acks=all, and deletes all of the machine but the store in between (R1).
func TestKill(t *testing.T) {
	stores(t, func(t *testing.T, s storeURL) {
		kills := setting(t, "KARST_TEST_KILLS", 50)
		n := newNode(t, s, "--flush.interval=1s", "--flush.bytes=2MiB", "--log.retention.check.interval=1s")
		began := time.Now()
		p := n.startReady()
		l := startLoad(t, n.addr())
		l.flowing(1000, time.Minute) // every client has found the topic
		var starting time.Duration
		for k := range kills {
			// Most die at work, some while they start, some while they recover.
			life := time.Duration(200+rand.IntN(1000)) * time.Millisecond
			if k%5 == 4 {
				life = time.Duration(rand.IntN(120)) * time.Millisecond
			}
			time.Sleep(life)
			p.wroteNothing()
			p.kill()
			p = n.start()
			if k%5 == 3 {
				continue // the next life is cut short before it is ready
			}
			p.waitReady()
			starting += time.Since(p.began)
		}
		p.waitReady()
		l.flowing(1000, time.Minute)
		l.end()
		ended := time.Since(began)
		// What is read must come from the store, not from this broker's memory.
		p.kill()
		n.startReady()
		count := l.ledger.verify(t, n.addr(), l.followed)
		t.Logf("%d kills of kill -9 in %v, mean start %v; %d records acknowledged, %d read back and compared",
			kills, ended.Round(time.Second), (starting / time.Duration(max(1, kills-kills/5))).Round(time.Millisecond), l.ledger.acknowledged(), count)
	})
}
