package sim

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/broker"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
)

// World is one bucket, its brokers and their clients, in one bubble.
type World struct {
	*History

	Seed    uint64
	Bucket  *mem.Store
	Network *Network
	Config  config.Config
	Tuning  broker.Tuning
	Log     io.Writer // nil for none

	start   time.Time
	codecs  *record.Codecs
	decoder *record.Decoder
	wg      sync.WaitGroup // processes
	got     atomic.Int64   // bytes that anybody read of the bucket

	mu        sync.Mutex
	started   int
	processes []*Process
	topics    []*topic
	events    map[string]int
	ids       int32 // of producers
	runs      int64
}

// NewWorld makes a world without brokers.
func NewWorld(seed uint64, log io.Writer) *World {
	w := &World{
		History: newHistory(), Seed: seed, Bucket: mem.New("sim"), Network: NewNetwork(200 * time.Microsecond), Log: log,
		start: time.Now(), codecs: record.NewCodecs(record.Limits{}), events: map[string]int{},
	}
	w.Config, w.Tuning = defaults()
	w.decoder = record.NewDecoder(w.codecs)
	return w
}

// Close waits for every process, all of which must have been told to end.
func (w *World) Close() { w.wg.Wait() }

// note writes a line to the log.
func (w *World) note(format string, args ...any) {
	if w.Log != nil {
		fmt.Fprintf(w.Log, "%9.3fs [world] %s\n", time.Since(w.start).Seconds(), fmt.Sprintf(format, args...))
	}
}

// event counts something that happened, for coverage.
func (w *World) event(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events[name]++
}

// Events are how often what happened.
func (w *World) Events() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]int{}
	maps.Copy(all, w.events)
	return all
}

// Injected sums up the faults of all processes.
func (w *World) Injected() []faults.Count {
	w.mu.Lock()
	all := slices.Clone(w.processes)
	w.mu.Unlock()
	var sum []faults.Count
	for _, p := range all {
		sum = append(sum, p.Store.Injected()...)
	}
	return sum
}

// newest is the process that was started last.
func (w *World) newest() *Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.processes) == 0 {
		return nil
	}
	return w.processes[len(w.processes)-1]
}

// supervise starts the newest process again when it ended by itself, until ctx
// ends, as whatever runs a broker does. With strict, one that had served must
// not have ended, unless a rival registered its id before it was stopped: it may
// have been slow to start, and then it is the newer one.
func (w *World) supervise(ctx context.Context, strict func() bool, start func() *Process) {
	for rest(ctx, 300*time.Millisecond) {
		p := w.newest()
		select {
		case <-p.ended:
		default:
			continue
		}
		if p.isDoomed() {
			continue
		}
		if strict() && p.Broker.Image() != nil && !p.replaced(p.err) {
			w.reportf(Stuck, "%s ended by itself after everything was healed (B2): %v", p.Name, p.err)
		}
		w.event("restarted by the supervisor")
		start()
	}
}

// alive are the processes that run and were not told to end.
func (w *World) alive() []*Process {
	w.mu.Lock()
	all := slices.Clone(w.processes)
	w.mu.Unlock()
	return slices.DeleteFunc(all, func(p *Process) bool { return !p.Alive() })
}

// topic is a topic as the clients know it. A topic that is created anew under
// the same name is another one.
type topic struct {
	name     string
	id       karst.TopicID
	retained bool // by size: its log start moves by itself

	mu         sync.Mutex
	partitions int32
	doomed     bool // its deletion was tried
	deleted    bool // and acknowledged
	high       map[int32]int64
}

func (t *topic) count() int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.partitions
}

func (t *topic) isDoomed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.doomed
}

// saw notes a watermark, for those who choose what to delete.
func (t *topic) saw(p int32, high int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.high[p] = max(t.high[p], high)
}

func (w *World) topicByID(id karst.TopicID) *topic {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.topics {
		if t.id == id {
			return t
		}
	}
	return nil
}

func (w *World) allTopics() []*topic {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.topics)
}

// living are the topics whose deletion nobody has tried.
func (w *World) living() []*topic {
	return slices.DeleteFunc(w.allTopics(), func(t *topic) bool { return t.isDoomed() })
}

// gone says of a topic that its deletion was tried.
func (w *World) gone(id karst.TopicID) bool {
	t := w.topicByID(id)
	return t != nil && t.isDoomed()
}

// requestTimeout is how long clients wait for an answer.
const requestTimeout = 20 * time.Second

// client is what producers, consumers and administrators share: a connection
// to the broker that leads.
type client struct {
	w    *World
	name string
	rng  *rand.Rand

	link  *link
	sure  bool             // connects to the newest broker only
	since int              // processes started when the link was made
	to    *Process         // whose link it is, if known
	epoch map[spotID]int32 // leader epochs as of the last metadata
}

type spotID struct {
	topic     karst.TopicID
	partition int32
}

func (w *World) newClient(name string, seed uint64) *client {
	return &client{w: w, name: name, rng: rand.New(rand.NewPCG(w.Seed, seed)), epoch: map[spotID]int32{}}
}

// hangUp closes the connection.
func (c *client) hangUp() {
	if c.link != nil {
		c.link.close()
		c.link = nil
	}
}

// connect makes a connection to the broker that leads, or fails.
func (c *client) connect(ctx context.Context) error {
	if c.link != nil {
		select {
		case <-c.link.ended:
			c.hangUp()
		default:
			return nil
		}
	}
	c.w.mu.Lock()
	n, all := c.w.started, slices.Clone(c.w.processes)
	c.w.mu.Unlock()
	if len(all) == 0 {
		return errRefused
	}
	// Mostly the newest, sometimes any.
	p := all[len(all)-1]
	if !c.sure && c.rng.IntN(8) == 0 {
		p = all[c.rng.IntN(len(all))]
	}
	l, err := dial(c.w.Network, p.at)
	if err != nil {
		return err
	}
	c.link, c.since, c.to = l, n, p
	if err := c.refresh(ctx); err != nil {
		c.hangUp()
		return err
	}
	return nil
}

// current reports whether the connection is to the broker that certainly leads:
// none was started since, and none that might have deposed it was there.
func (c *client) current() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	n := len(c.w.processes)
	return c.link != nil && c.since == c.w.started && c.to == c.w.processes[n-1] && !c.to.rival
}

// refresh asks for metadata: which topics there are, and their epochs.
func (c *client) refresh(ctx context.Context) error {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	req.Topics = nil
	resp, err := c.do(ctx, req)
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		for _, p := range t.Partitions {
			c.epoch[spotID{t.TopicID, p.Partition}] = p.LeaderEpoch
		}
	}
	return nil
}

func (c *client) do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	return c.link.do(ctx, req, requestTimeout)
}

// rest sleeps; false if ctx ended.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
