package partition

import "sync/atomic"

// Traffic is what clients did to a partition.
type Traffic struct {
	In, Out  int64 // bytes
	Requests int64 // batches appended, reads with bytes
}

// traffic counts since it was taken last.
type traffic struct{ in, out, requests atomic.Int64 }

func (t *traffic) appended(bytes int32) {
	t.in.Add(int64(bytes))
	t.requests.Add(1)
}

func (t *traffic) read(bytes int) {
	if bytes > 0 {
		t.out.Add(int64(bytes))
		t.requests.Add(1)
	}
}

// TakeTraffic is the traffic since it was taken last.
func (p *Partition) TakeTraffic() Traffic {
	t := &p.traffic
	if t.requests.Load() == 0 {
		return Traffic{}
	}
	return Traffic{Requests: t.requests.Swap(0), In: t.in.Swap(0), Out: t.out.Swap(0)}
}
