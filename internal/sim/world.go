package sim

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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

	clustered bool // there are leaders to be moved

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
