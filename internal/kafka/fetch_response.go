package kafka

import (
	"encoding/binary"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
)

// fetchResponse is the answer to a fetch. It is encoded by hand, because the
// generated codec would copy the records: its headers are appended, the record
// bytes are spliced from where they lie.
type fetchResponse struct {
	version int16
	code    int16
	session int32
	answers []fetchAnswer
	nodes   []leader // each node once

	reads []*engine.Read
	colds []*coldRead
}

// fetchAnswer is one partition of a fetchResponse.
type fetchAnswer struct {
	topic *fetchTopic
	index int32
	code  int16
	// -1 with an error.
	high, stable, start karst.Offset
	preferred           int32
	aborted             []engine.Aborted // nil is null
	diverging           *engine.EpochEnd
	leader              *leader
	parts               [][]byte
	size                int64 // of parts, in bytes
}

// hold takes over what a visit holds.
func (r *fetchResponse) hold(v *visit) {
	if v.read != nil {
		r.reads = append(r.reads, v.read)
	}
	if v.cold != nil {
		r.colds = append(r.colds, v.cold)
	}
}

// endpoint makes a node known to the client.
func (r *fetchResponse) endpoint(l leader) {
	for _, n := range r.nodes {
		if n.node == l.node {
			return
		}
	}
	r.nodes = append(r.nodes, l)
}

// Release gives up the records.
func (r *fetchResponse) Release() {
	for _, read := range r.reads {
		read.Release()
	}
	for _, c := range r.colds {
		c.release()
	}
	r.reads, r.colds = nil, nil
}

// The wire's compact forms are in versions from flexibleFetch on (KIP-482).
const flexibleFetch = 12

// Encode encodes the response.
func (r *fetchResponse) Encode(e *Encoding) {
	b := binary.BigEndian.AppendUint32(e.Buf, 0) // throttled, in ms
	if r.version >= 7 {
		b = binary.BigEndian.AppendUint16(b, uint16(r.code))
		b = binary.BigEndian.AppendUint32(b, uint32(r.session))
	}
	b = r.appendLen(b, runs(r.answers))
	for rest := r.answers; len(rest) > 0; {
		n := run(rest)
		b = r.appendTopic(b, rest[0].topic)
		b = r.appendLen(b, n)
		for i := range rest[:n] {
			b = r.encodeAnswer(e, b, &rest[i])
		}
		if r.version >= flexibleFetch {
			b = append(b, 0)
		}
		rest = rest[n:]
	}
	if r.version >= flexibleFetch {
		b = r.appendNodes(b)
	}
	e.Buf = b
}

// run is the number of answers at the start that are of one topic: the order of
// partitions is kept, so that a topic may come more than once.
func run(answers []fetchAnswer) int {
	n := 1
	for n < len(answers) && *answers[n].topic == *answers[0].topic {
		n++
	}
	return n
}

func runs(answers []fetchAnswer) int {
	n := 0
	for len(answers) > 0 {
		answers = answers[run(answers):]
		n++
	}
	return n
}

// appendLen appends the length of an array.
func (r *fetchResponse) appendLen(b []byte, n int) []byte {
	if r.version >= flexibleFetch {
		return binary.AppendUvarint(b, uint64(n)+1)
	}
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

func (r *fetchResponse) appendTopic(b []byte, t *fetchTopic) []byte {
	switch {
	case r.version >= 13:
		return append(b, t.id[:]...)
	case r.version >= flexibleFetch:
		return appendCompactString(b, t.name)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.name)))
	return append(b, t.name...)
}

func appendCompactString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s))+1)
	return append(b, s...)
}

func (r *fetchResponse) encodeAnswer(e *Encoding, b []byte, a *fetchAnswer) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(a.index))
	b = binary.BigEndian.AppendUint16(b, uint16(a.code))
	b = binary.BigEndian.AppendUint64(b, uint64(a.high))
	b = binary.BigEndian.AppendUint64(b, uint64(a.stable))
	if r.version >= 5 {
		b = binary.BigEndian.AppendUint64(b, uint64(a.start))
	}
	b = r.appendAborted(b, a.aborted)
	if r.version >= 11 {
		b = binary.BigEndian.AppendUint32(b, uint32(a.preferred))
	}
	if r.version >= flexibleFetch {
		b = binary.AppendUvarint(b, uint64(a.size)+1)
	} else {
		b = binary.BigEndian.AppendUint32(b, uint32(a.size))
	}
	e.Buf = b
	for _, part := range a.parts {
		e.Splice(part)
	}
	if r.version >= flexibleFetch {
		return appendAnswerTags(e.Buf, a)
	}
	return e.Buf
}

func (r *fetchResponse) appendAborted(b []byte, aborted []engine.Aborted) []byte {
	switch {
	case aborted != nil:
		b = r.appendLen(b, len(aborted))
	case r.version >= flexibleFetch:
		b = append(b, 0)
	default:
		b = binary.BigEndian.AppendUint32(b, 0xffffffff)
	}
	for _, t := range aborted {
		b = binary.BigEndian.AppendUint64(b, uint64(t.Producer))
		b = binary.BigEndian.AppendUint64(b, uint64(t.First))
		if r.version >= flexibleFetch {
			b = append(b, 0)
		}
	}
	return b
}

// appendAnswerTags appends tags 0, DivergingEpoch, and 1, CurrentLeader, where
// they say something.
func appendAnswerTags(b []byte, a *fetchAnswer) []byte {
	n := byte(0)
	if a.diverging != nil {
		n++
	}
	if a.leader != nil {
		n++
	}
	b = append(b, n)
	if d := a.diverging; d != nil {
		b = append(b, 0, 13) // tag, size
		b = binary.BigEndian.AppendUint32(b, uint32(d.Epoch))
		b = binary.BigEndian.AppendUint64(b, uint64(d.End))
		b = append(b, 0)
	}
	if l := a.leader; l != nil {
		b = append(b, 1, 9)
		b = binary.BigEndian.AppendUint32(b, uint32(l.node))
		b = binary.BigEndian.AppendUint32(b, uint32(l.epoch))
		b = append(b, 0)
	}
	return b
}

// appendNodes appends tag 0, NodeEndpoints, if there are any.
func (r *fetchResponse) appendNodes(b []byte) []byte {
	if len(r.nodes) == 0 {
		return append(b, 0)
	}
	nodes := binary.AppendUvarint(nil, uint64(len(r.nodes))+1)
	for _, n := range r.nodes {
		nodes = binary.BigEndian.AppendUint32(nodes, uint32(n.node))
		nodes = appendCompactString(nodes, n.host)
		nodes = binary.BigEndian.AppendUint32(nodes, uint32(n.port))
		if n.rack == "" {
			nodes = append(nodes, 0)
		} else {
			nodes = appendCompactString(nodes, n.rack)
		}
		nodes = append(nodes, 0)
	}
	b = append(b, 1, 0)
	b = binary.AppendUvarint(b, uint64(len(nodes)))
	return append(b, nodes...)
}
