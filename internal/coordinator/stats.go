package coordinator

import "time"

// Stats are figures of a Runtime. The later ones count since it was made.
type Stats struct {
	Partitions, Loading int           // led here, and of these not yet loaded
	Calls               int64         // operations that wait for their answer
	PendingBytes        int64         // of records not yet durable
	Loads               uint64        // partitions loaded
	LoadTime            time.Duration // in all
	Loaded              uint64        // records read by them
	Batches, Records    uint64        // appended; decided
	Failures            uint64        // loads that failed, appends that were refused
}

// Stats are the figures now.
func (r *Runtime[M]) Stats() Stats {
	s := Stats{
		Calls: r.calls.Load(), PendingBytes: r.bytes.Load(),
		Loads: r.counts.loads.Load(), LoadTime: time.Duration(r.counts.loadNanos.Load()), Loaded: r.counts.loaded.Load(),
		Batches: r.counts.batches.Load(), Records: r.counts.records.Load(), Failures: r.counts.failures.Load(),
	}
	for _, sh := range r.all() {
		s.Partitions++
		if sh.phaseNow() == loading {
			s.Loading++
		}
	}
	return s
}
