package sim

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/broker"
	"github.com/karst-io/karst/internal/log/record"
)

// fakes are two brokers that serve one topic of two partitions from memory, and
// hand leadership over when told to.
type fakes struct {
	w     *World
	topic *topic
	wg    sync.WaitGroup

	mu      sync.Mutex
	leaders [2]int32 // by partition
	epochs  [2]int32
	next    [2]int64         // sequence
	fetched map[[2]int32]int // by broker and partition, from the leader
	wrong   int              // requests for a partition to who does not lead it
	faults  []string         // what no client may do
}

func newFakes(w *World) *fakes {
	f := &fakes{w: w, leaders: [2]int32{1, 2}, epochs: [2]int32{1, 1}, fetched: map[[2]int32]int{}}
	f.topic = &topic{name: "s0", id: karst.TopicID{1}, partitions: 2, high: map[int32]int64{}}
	w.topics = []*topic{f.topic}
	for id := int32(1); id <= 2; id++ {
		at := address(karst.BrokerID(id))
		p := &Process{w: w, Name: at, Host: at, at: at, ended: make(chan struct{}), listeners: map[string]*listener{}}
		cfg := w.Config
		cfg.Listen, cfg.HTTP = at, ""
		var err error
		if p.Broker, err = broker.NewWith(cfg, slog.New(slog.DiscardHandler), "sim", broker.Options{}); err != nil {
			panic("BUG: " + err.Error())
		}
		l, _ := p.listen(forClients, at)
		w.processes = append(w.processes, p)
		f.wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				f.wg.Go(func() { f.serve(c, id) })
			}
		})
	}
	return f
}

func (f *fakes) close() {
	for _, p := range f.w.processes {
		p.unplug()
	}
	f.wg.Wait()
}

func (f *fakes) serve(c net.Conn, id int32) {
	defer c.Close()
	var head [4]byte
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		req := kmsg.RequestForKey(int16(binary.BigEndian.Uint16(b)))
		req.SetVersion(int16(binary.BigEndian.Uint16(b[2:])))
		body := b[10+binary.BigEndian.Uint16(b[8:]):]
		if req.IsFlexible() {
			body = body[1:] // no tags
		}
		if err := req.ReadFrom(body); err != nil {
			panic("BUG: " + err.Error())
		}
		resp := f.answer(id, req)
		resp.SetVersion(req.GetVersion())
		out := append([]byte{0, 0, 0, 0}, b[4:8]...)
		if resp.IsFlexible() {
			out = append(out, 0)
		}
		out = resp.AppendTo(out)
		binary.BigEndian.PutUint32(out, uint32(len(out)-4))
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

func (f *fakes) answer(id int32, req kmsg.Request) kmsg.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch req := req.(type) {
	case *kmsg.MetadataRequest:
		return f.metadata()
	case *kmsg.InitProducerIDRequest:
		resp := kmsg.NewPtrInitProducerIDResponse()
		resp.ProducerID = 7
		return resp
	case *kmsg.ProduceRequest:
		return f.produce(id, req)
	case *kmsg.FetchRequest:
		return f.fetch(id, req)
	}
	panic("BUG: an unexpected request")
}

func (f *fakes) metadata() kmsg.Response {
	resp := kmsg.NewPtrMetadataResponse()
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID = &f.topic.name, f.topic.id
	for p := range int32(2) {
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port = p+1, address(karst.BrokerID(p + 1))[:7], 9092
		resp.Brokers = append(resp.Brokers, b)
		m := kmsg.NewMetadataResponseTopicPartition()
		m.Partition, m.Leader, m.LeaderEpoch = p, f.leaders[p], f.epochs[p]
		t.Partitions = append(t.Partitions, m)
	}
	resp.Topics = append(resp.Topics, t)
	return resp
}

func (f *fakes) produce(id int32, req *kmsg.ProduceRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition = p.Partition
			if f.leaders[p.Partition] != id {
				rp.ErrorCode = kerr.NotLeaderForPartition.Code
				f.wrong++
				rt.Partitions = append(rt.Partitions, rp)
				continue
			}
			for b, err := range record.Batches(p.Records) {
				if err != nil || int64(b.Info.BaseSequence) != f.next[p.Partition] {
					f.faults = append(f.faults, "a batch out of order")
				}
				f.next[p.Partition] = int64(b.Info.BaseSequence) + int64(b.Info.Count)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (f *fakes) fetch(id int32, req *kmsg.FetchRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewFetchResponseTopicPartition()
			rp.Partition = p.Partition
			switch {
			case f.leaders[p.Partition] != id:
				rp.ErrorCode = kerr.NotLeaderForPartition.Code
				f.wrong++
			case p.CurrentLeaderEpoch < f.epochs[p.Partition]:
				rp.ErrorCode = kerr.FencedLeaderEpoch.Code
			default:
				f.fetched[[2]int32{id, p.Partition}]++
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// TestClientsFollowLeaders: a producer and a consumer go to each partition's
// leader, at the same time, and go with it when it moves; no batch overtakes
// another.
func TestClientsFollowLeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWorld(1, nil)
		f := newFakes(w)
		ctx, end := context.WithTimeout(context.Background(), 2*time.Minute)
		defer end()
		producing, stop := context.WithTimeout(ctx, 30*time.Second)
		defer stop()
		var busy sync.WaitGroup
		p, c := w.newProducer(Load{Idempotent: true, Rate: 5 * time.Millisecond, Records: 3, ValueBytes: 10}), w.newConsumer(1)
		drained := false
		busy.Go(func() { drained = p.runUntil(ctx, producing) })
		busy.Go(func() { c.run(producing) })
		for n := 0; rest(producing, time.Second); n++ {
			f.mu.Lock()
			f.leaders[n%2] = 3 - f.leaders[n%2]
			f.epochs[n%2]++
			f.mu.Unlock()
		}
		busy.Wait()
		f.close()
		if !drained || w.Acknowledged() < 1000 {
			t.Errorf("drained: %v, %d records acknowledged", drained, w.Acknowledged())
		}
		for _, fault := range f.faults {
			t.Error(fault)
		}
		for _, finding := range w.Findings() {
			t.Error(finding)
		}
		for id := int32(1); id <= 2; id++ {
			for part := range int32(2) {
				if n := f.fetched[[2]int32{id, part}]; n < 5 {
					t.Errorf("partition %d was fetched %d times from broker %d", part, n, id)
				}
			}
		}
		if f.wrong == 0 {
			t.Error("no client was ever at the wrong broker")
		}
	})
}

// TestLearn: what is older than what is known says nothing, and nobody leads what
// is not mentioned.
func TestLearn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWorld(1, nil)
		f := newFakes(w)
		defer f.close()
		c := w.newClient("c", 1)
		c.learn(f.metadata().(*kmsg.MetadataResponse))
		old := f.metadata().(*kmsg.MetadataResponse)
		f.leaders[0], f.epochs[0] = 2, 5
		c.learn(f.metadata().(*kmsg.MetadataResponse))
		c.learn(old)
		if got := c.leaders[spotID{f.topic.id, 0}]; got != (leadership{address(2), 5}) {
			t.Errorf("after older metadata: %v", got)
		}
		c.learn(kmsg.NewPtrMetadataResponse())
		if got := c.leaders[spotID{f.topic.id, 0}]; got != (leadership{"", 5}) {
			t.Errorf("of a topic that is not mentioned: %v", got)
		}
		c.learn(old)
		if got := c.leaders[spotID{f.topic.id, 0}]; got.at != "" {
			t.Errorf("after older metadata again: %v", got)
		}
	})
}
