package kafka

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/proptest"
)

// joined is an encoding as one slice of bytes.
func joined(e *Encoding) []byte {
	var out []byte
	at := 0
	for _, s := range e.splices {
		out = append(out, e.Buf[at:s.at]...)
		out = append(out, s.b...)
		at = s.at
	}
	return append(out, e.Buf[at:]...)
}

func anyInt16(r *rand.Rand) int16 { return proptest.Int[int16](r, math.MinInt16, math.MaxInt16) }
func anyInt32(r *rand.Rand) int32 { return proptest.Int[int32](r, math.MinInt32, math.MaxInt32) }

func drawAnswer(r *rand.Rand, version int16, topics []*fetchTopic, nodes []leader) fetchAnswer {
	offset := func() karst.Offset { return proptest.Int[karst.Offset](r, math.MinInt64, math.MaxInt64) }
	a := fetchAnswer{
		topic: proptest.Pick(r, topics), index: anyInt32(r), code: anyInt16(r),
		high: offset(), stable: offset(), start: offset(), preferred: -1,
	}
	if proptest.Bool(r) {
		a.aborted = []engine.Aborted{}
		for range proptest.Pick(r, []int{0, 1, 3}) {
			a.aborted = append(a.aborted, engine.Aborted{Producer: karst.ProducerID(offset()), First: offset()})
		}
	}
	if version >= 12 && proptest.Bool(r) {
		a.diverging = &engine.EpochEnd{Epoch: proptest.Int[karst.Epoch](r, 0, math.MaxInt32), End: offset()}
	}
	if version >= 12 && len(nodes) > 0 && proptest.Bool(r) {
		l := proptest.Pick(r, nodes)
		l.epoch = proptest.Int[karst.Epoch](r, 0, math.MaxInt32)
		a.leader = &l
	}
	for range proptest.Int(r, 0, 3) {
		p := bytes.Repeat([]byte{0xee}, proptest.Pick(r, []int{0, 1, 100, 127, 16384}))
		a.parts = append(a.parts, p)
		a.size += int64(len(p))
	}
	return a
}

func drawResponse(r *rand.Rand, version int16) *fetchResponse {
	topics := make([]*fetchTopic, proptest.Int(r, 1, 3))
	for i := range topics {
		topics[i] = &fetchTopic{name: proptest.String(r, 20)}
		if version >= 13 {
			topics[i] = &fetchTopic{id: karst.TopicID{byte(i), 7}}
		}
	}
	m := &fetchResponse{version: version}
	if version >= 7 {
		m.code, m.session = anyInt16(r), anyInt32(r)
	}
	if version >= 16 {
		for i := range proptest.Int(r, 0, 3) {
			m.nodes = append(m.nodes, leader{
				node: karst.BrokerID(i), host: proptest.String(r, 10), port: anyInt32(r), rack: proptest.String(r, 5),
			})
		}
	}
	for range proptest.Pick(r, []int{0, 1, 2, 4}) {
		m.answers = append(m.answers, drawAnswer(r, version, topics, m.nodes))
	}
	return m
}

func toKmsg(r *fetchResponse) *kmsg.FetchResponse {
	m := &kmsg.FetchResponse{Version: r.version, ErrorCode: r.code, SessionID: r.session}
	var last *fetchTopic
	for _, a := range r.answers {
		if last == nil || *last != *a.topic {
			last = a.topic
			m.Topics = append(m.Topics, kmsg.FetchResponseTopic{Topic: last.name, TopicID: last.id})
		}
		p := kmsg.NewFetchResponseTopicPartition()
		p.Partition, p.ErrorCode = a.index, a.code
		p.HighWatermark, p.LastStableOffset, p.LogStartOffset = int64(a.high), int64(a.stable), int64(a.start)
		p.PreferredReadReplica = a.preferred
		p.RecordBatches = []byte{}
		for _, b := range a.parts {
			p.RecordBatches = append(p.RecordBatches, b...)
		}
		if a.aborted != nil {
			p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
		}
		for _, t := range a.aborted {
			p.AbortedTransactions = append(p.AbortedTransactions, kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: int64(t.Producer), FirstOffset: int64(t.First)})
		}
		if a.diverging != nil {
			p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = int32(a.diverging.Epoch), int64(a.diverging.End)
		}
		if a.leader != nil {
			p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = int32(a.leader.node), int32(a.leader.epoch)
		}
		t := &m.Topics[len(m.Topics)-1]
		t.Partitions = append(t.Partitions, p)
	}
	for _, n := range r.nodes {
		m.Brokers = append(m.Brokers, kmsg.FetchResponseBroker{NodeID: int32(n.node), Host: n.host, Port: n.port, Rack: rackOf(n.rack)})
	}
	return m
}

// The own encoder writes what the generated one writes, in every version.
func TestFetchResponseIsKmsgs(t *testing.T) {
	proptest.Run(t, 100, func(t *testing.T, r *rand.Rand) {
		for version := int16(4); version <= 18; version++ {
			drawn := drawResponse(r, version)
			e := &Encoding{}
			drawn.Encode(e)
			want := toKmsg(drawn).AppendTo(nil)
			if got := joined(e); !bytes.Equal(got, want) {
				t.Fatalf("version %d:\ngot  %x\nwant %x", version, got, want)
			}
			if e.Size() != int64(len(want)) {
				t.Fatalf("version %d: size %d, want %d", version, e.Size(), len(want))
			}
		}
	})
}

// Record bytes are spliced, not copied.
func TestFetchResponseSplices(t *testing.T) {
	part := make([]byte, 1000)
	r := &fetchResponse{version: 12, answers: []fetchAnswer{{topic: &fetchTopic{name: "t"}, parts: [][]byte{part}, size: 1000}}}
	e := &Encoding{}
	r.Encode(e)
	if len(e.splices) != 1 || &e.splices[0].b[0] != &part[0] {
		t.Fatal("the records were copied")
	}
	if len(e.Buf) > 100 {
		t.Fatalf("%d bytes of headers", len(e.Buf))
	}
}

// Lengths of more than 127 need two bytes in the compact forms.
func TestFetchResponseIsKmsgsWhenLong(t *testing.T) {
	name := string(bytes.Repeat([]byte("n"), 200))
	r := &fetchResponse{}
	for i := range int32(300) {
		a := fetchAnswer{topic: &fetchTopic{name: name}, index: i, preferred: -1}
		for range 150 {
			a.aborted = append(a.aborted, engine.Aborted{Producer: 1, First: 2})
		}
		r.answers = append(r.answers, a)
	}
	for version := int16(4); version <= 18; version++ {
		r.version = version
		if r.nodes = nil; version >= 16 {
			for i := range 150 {
				r.nodes = append(r.nodes, leader{node: karst.BrokerID(i), host: name, rack: name})
			}
		}
		e := &Encoding{}
		r.Encode(e)
		if !bytes.Equal(joined(e), toKmsg(r).AppendTo(nil)) {
			t.Fatalf("version %d differs", version)
		}
	}
}
