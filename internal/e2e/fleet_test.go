package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fleet is brokers of one cluster, each on a host of its own, hosts for clients,
// and a store that can be slow.
type fleet struct {
	t     *testing.T
	net   *network
	nodes []*node
	mu    sync.Mutex // guards procs
	procs []*process // the newest of each node; nil before the first
	// clients are hosts for clients; store is where S3 is, nil for a folder.
	clients []*host
	store   *host
	slow    *slowStore
	kafka   bool // it is Apache Kafka
	// adminClient asks what kadm does not.
	adminClient *kgo.Client
}

const (
	clientPort = 9092
	peerPort   = 9093
	httpPort   = 9094
)

// fleetSpec says what a fleet is to be.
type fleetSpec struct {
	brokers, clients int
	s3, slow         bool
	logs             string // a folder for what brokers say; empty: none
	flags            []string
}

func newFleet(t *testing.T, spec fleetSpec) *fleet {
	t.Helper()
	names := make([]string, 0, spec.brokers+spec.clients+1)
	for k := range spec.brokers {
		names = append(names, fmt.Sprint("broker", k+1))
	}
	for k := range spec.clients {
		names = append(names, fmt.Sprint("client", k+1))
	}
	if spec.s3 {
		names = append(names, "store")
	}
	f := &fleet{t: t, net: newNetwork(t, names...), procs: make([]*process, spec.brokers)}
	f.clients = f.net.hosts[spec.brokers : spec.brokers+spec.clients]
	s := storeURL{url: "file://" + t.TempDir()}
	if spec.s3 {
		f.store = f.net.hosts[spec.brokers+spec.clients]
		f.slow = newSlowStore(t, s3Store(t), f.store, spec.slow)
		s = f.slow.url
	}
	for k := range spec.brokers {
		n := newNode(t, s, spec.flags...)
		n.host, n.memory = f.net.of(k), "128MiB"
		peer := peerPort
		if f.net.real() {
			n.port, n.http = clientPort, httpPort
		} else {
			peer = freePort(t)
		}
		n.flags = append(n.flags, "--broker.id", fmt.Sprint(k+1), "--peer.listen", n.at(peer))
		if spec.logs != "" {
			n.log = filepath.Join(spec.logs, fmt.Sprintf("%s-broker%d.log", strings.ReplaceAll(t.Name(), "/", "-"), k+1))
		}
		f.nodes = append(f.nodes, n)
	}
	return f
}

// start starts brokers, and waits until they serve.
func (f *fleet) start(which ...int) {
	f.t.Helper()
	for _, k := range which {
		f.launch(k)
	}
	for _, k := range which {
		f.process(k).waitReady()
	}
}

func (f *fleet) launch(k int) {
	f.t.Helper()
	p := f.nodes[k].start()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.procs[k] = p
}

func (f *fleet) process(k int) *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.procs[k]
}

func (f *fleet) startAll() {
	f.t.Helper()
	for k := range f.nodes {
		f.start(k)
	}
}

// bootstrap is every broker's address.
func (f *fleet) bootstrap() string {
	var all []string
	for _, n := range f.nodes {
		all = append(all, n.addr())
	}
	return strings.Join(all, ",")
}

// options make a client one of the fleet, on one of its hosts.
func (f *fleet) options(at *host) []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(strings.Split(f.bootstrap(), ",")...), at.from()}
}

func (f *fleet) admin(at *host) *kadm.Client {
	f.t.Helper()
	return adminOf(f.t, f.nodes[0].addr(), f.options(at)...)
}

// controller is the broker that claimed the newest term that is known here.
func (f *fleet) controller() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, term := 0, 0
	for k, p := range f.procs {
		if p != nil && p.log.holds() > term {
			at, term = k, p.log.holds()
		}
	}
	return at
}

// alive fails the test if a broker ended by itself.
func (f *fleet) alive() {
	f.t.Helper()
	for k := range f.nodes {
		p := f.process(k)
		select {
		case <-p.ended:
			f.t.Errorf("broker %d ended by itself: %v\n%s", k+1, p.err, p.log)
		default:
		}
	}
}

// stopMax bounds a planned stop.
const stopMax = 40 * time.Second

// stop is a planned stop: SIGTERM.
func (f *fleet) stop(k int) error {
	p := f.process(k)
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopMax):
		p.kill()
		return fmt.Errorf("broker %d did not stop within %v:\n%s", k+1, stopMax, p.log)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("broker %d: exit code %d\n%s", k+1, code, p.log)
	}
	_ = os.RemoveAll(p.dir)
	return nil
}
