package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStop stops the broker by SIGTERM under load: it ends in time, with exit
// code 0, and the next life has nothing to recover.
func TestStop(t *testing.T) {
	stores(t, func(t *testing.T, s storeURL) {
		n := newNode(t, s)
		p := n.startReady()
		l := startLoad(t, n.addr())
		var longest time.Duration
		for range 5 {
			l.flowing(1000, time.Minute)
			began := time.Now()
			p.signal(syscall.SIGTERM)
			if code := p.wait(15 * time.Second); code != 0 {
				t.Fatalf("exit code %d\n%s", code, p.log)
			}
			longest = max(longest, time.Since(began))
			p.wroteNothing()
			p = n.startReady()
		}
		l.end()
		count := l.ledger.verify(t, n.addr(), l.followed)
		t.Logf("5 clean stops under load, the longest %v; %d records acknowledged, %d read back", longest.Round(time.Millisecond), l.ledger.acknowledged(), count)
	})
}

// TestSecondSignal abandons a stop that hangs, and says what is left undone.
func TestSecondSignal(t *testing.T) {
	endToEnd(t)
	s := s3Store(t)
	network := newProxy(t, s.server(t))
	n := newNode(t, s.through(t, network.addr()))
	p := n.startReady()
	l := startLoad(t, n.addr())
	l.flowing(1000, time.Minute)
	network.swallow()
	time.Sleep(time.Second)
	p.signal(syscall.SIGTERM)
	time.Sleep(time.Second)
	select {
	case <-p.ended:
		t.Fatalf("it ended while its store was silent: %v\n%s", p.err, p.log)
	default:
	}
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(5 * time.Second); code != 1 {
		t.Errorf("exit code %d", code)
	}
	took := time.Since(began)
	last := lastLine(p.log)
	if !strings.Contains(last, "second signal") || !strings.Contains(last, "abandoning") || !strings.Contains(last, "bytes") {
		t.Errorf("it does not say what it abandons: %s", last)
	}
	network.pass()
	n.startReady()
	l.end()
	count := l.ledger.verify(t, n.addr(), l.followed)
	t.Logf("abandoned in %v: %q; %d records acknowledged, %d read back", took.Round(time.Millisecond), last, l.ledger.acknowledged(), count)
}

func lastLine(log *tail) string {
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	return lines[len(lines)-1]
}
