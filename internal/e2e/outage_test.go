package e2e

import (
	"testing"
	"time"
)

// TestOutage takes the S3 server away under load, once so that connections are
// refused and once so that nothing answers, for longer than a WAL segment may
// take. The broker goes on by itself when the store is back (R2).
func TestOutage(t *testing.T) {
	endToEnd(t)
	length := time.Duration(setting(t, "KARST_TEST_OUTAGE", 20)) * time.Second
	for _, kind := range []string{"refused", "silent"} {
		t.Run(kind, func(t *testing.T) {
			s := s3Store(t)
			network := newProxy(t, s.server(t))
			n := newNode(t, s.through(t, network.addr()), "--wal.stall.timeout=8s", "--store.timeout=3s", "--flush.interval=1s")
			p := n.startReady()
			l := startLoad(t, n.addr())
			l.flowing(1000, time.Minute)
			if kind == "refused" {
				network.refuse()
			} else {
				network.swallow()
			}
			began := time.Now()
			before := l.ledger.acknowledged()
			time.Sleep(length)
			during := l.ledger.acknowledged() - before
			if kind == "refused" {
				network.accept()
			} else {
				network.pass()
			}
			healed := time.Now()
			l.flowing(1000, time.Minute)
			recovered := time.Since(healed)
			l.end()
			select {
			case <-p.ended:
				t.Fatalf("the broker ended: %v", p.err)
			default:
			}
			count := l.ledger.verify(t, n.addr(), l.followed)
			t.Logf("store away for %v; %d acknowledgements came in that time; 1,000 more %v after it was back; %d records acknowledged, %d read back",
				healed.Sub(began).Round(time.Millisecond), during, recovered.Round(time.Millisecond), l.ledger.acknowledged(), count)
		})
	}
}
