package partition

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store/object"
)

// A checkpoint is a partition's producer state in bytes, big endian:
//
//	 0  4  magic "KPST"
//	 4  1  version, 1
//	 5  1  kind: 1 full, 2 delta
//	 6  2  zero
//	 8  8  next: it covers every offset below
//	16  4  number of producers, n
//	20     n producers, ascending by id:
//	         0  8  producer id
//	         8  2  epoch
//	        10  8  wall clock of the last append, ms
//	        18  1  batches in the window, 0 to 5, then for each:
//	                 0  4  last sequence
//	                 4  4  records - 1
//	                 8  8  base offset
//	                16  8  log append time, -1 for none
//	end-4  4  CRC-32C of everything before
const (
	checkpointMagic   = "KPST"
	checkpointVersion = 1
	checkpointFull    = 1
	checkpointDelta   = 2

	checkpointHead  = 20
	producerHead    = 19
	producerBatch   = 24
	checkpointLimit = 1 << 30 // bytes; more is refused before it is read
)

func (t *producers) encode(next karst.Offset, full bool) []byte {
	ids := slices.Sorted(maps.Keys(t.byID))
	if !full {
		ids = slices.DeleteFunc(ids, func(id karst.ProducerID) bool { return !t.byID[id].dirty })
	}
	b := make([]byte, 0, checkpointHead+4+len(ids)*(producerHead+windowBatches*producerBatch))
	kind := byte(checkpointDelta)
	if full {
		kind = checkpointFull
	}
	b = append(b, checkpointMagic...)
	b = append(b, checkpointVersion, kind, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(next))
	b = binary.BigEndian.AppendUint32(b, uint32(len(ids)))
	for _, id := range ids {
		p := t.byID[id]
		b = binary.BigEndian.AppendUint64(b, uint64(id))
		b = binary.BigEndian.AppendUint16(b, uint16(p.epoch))
		b = binary.BigEndian.AppendUint64(b, uint64(p.seen))
		b = append(b, p.n)
		for _, w := range p.window[:p.n] {
			b = binary.BigEndian.AppendUint32(b, uint32(w.last))
			b = binary.BigEndian.AppendUint32(b, uint32(w.delta))
			b = binary.BigEndian.AppendUint64(b, uint64(w.base))
			b = binary.BigEndian.AppendUint64(b, uint64(w.timestamp))
		}
	}
	return binary.BigEndian.AppendUint32(b, object.Checksum(b))
}

// fold applies the state of a checkpoint, which it takes over, to that of those
// before it.
func (t *producers) fold(c producers, full bool) {
	if t.byID == nil || full {
		*t = c
		return
	}
	maps.Copy(t.byID, c.byID)
}

// decode applies a checkpoint to t: a full one replaces what is there. It says
// which offset the checkpoint covers up to.
func (t *producers) decode(name string, b []byte) (next karst.Offset, err error) {
	corrupt := func(at int, why string) (karst.Offset, error) {
		return 0, &karst.CorruptError{Object: name, Offset: int64(at), Reason: "checkpoint: " + why}
	}
	if len(b) < checkpointHead+4 || string(b[:4]) != checkpointMagic {
		return corrupt(0, "bad magic or too short")
	}
	if b[4] != checkpointVersion {
		return corrupt(4, "version is not 1; a newer Karst wrote it")
	}
	if binary.BigEndian.Uint32(b[len(b)-4:]) != object.Checksum(b[:len(b)-4]) {
		return corrupt(len(b)-4, "checksum differs")
	}
	n := int(binary.BigEndian.Uint32(b[16:]))
	body := b[checkpointHead : len(b)-4]
	if n > len(body)/producerHead {
		return corrupt(16, "more producers than bytes")
	}
	if t.byID == nil || b[5] == checkpointFull {
		t.byID = make(map[karst.ProducerID]*producer, n)
	}
	for range n {
		at := len(b) - 4 - len(body)
		if len(body) < producerHead || body[18] > windowBatches || len(body) < producerHead+int(body[18])*producerBatch {
			return corrupt(at, "producer does not fit")
		}
		p := &producer{
			epoch: karst.ProducerEpoch(binary.BigEndian.Uint16(body[8:])),
			seen:  karst.Timestamp(binary.BigEndian.Uint64(body[10:])),
		}
		t.byID[karst.ProducerID(binary.BigEndian.Uint64(body))] = p
		batches := int(body[18])
		body = body[producerHead:]
		for range batches {
			p.push(appended{
				last:      karst.Sequence(binary.BigEndian.Uint32(body)),
				delta:     int32(binary.BigEndian.Uint32(body[4:])),
				base:      karst.Offset(binary.BigEndian.Uint64(body[8:])),
				timestamp: karst.Timestamp(binary.BigEndian.Uint64(body[16:])),
			})
			body = body[producerBatch:]
		}
	}
	if len(body) != 0 {
		return corrupt(len(b)-4-len(body), "trailing bytes")
	}
	return karst.Offset(binary.BigEndian.Uint64(b[8:])), nil
}
