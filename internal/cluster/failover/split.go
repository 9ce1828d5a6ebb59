package failover

import "github.com/karst-io/karst/internal/metadata"

// entriesMax is the most ranges and sources of one commit (O26).
const entriesMax = 1 << 16

// split spreads an adoption over commits of at most most entries. All but the
// last are ranges alone: a partition whose range is complete has its new leader
// from then on, and should we die before the last one, the next failover goes on
// with the others. The last one adopts.
func split(r metadata.CommitRequest, most int) []metadata.CommitRequest {
	var all []metadata.CommitRequest
	last := r
	last.Ranges = nil
	var ranges []metadata.Range
	left := most
	cut := func() {
		all = append(all, metadata.CommitRequest{Incarnation: r.Incarnation, Ranges: ranges})
		ranges, left = nil, most
	}
	for _, rg := range r.Ranges {
		if left < 2 {
			cut()
		}
		for left-1 < len(rg.Sources) {
			n := left - 1
			front := metadata.Range{
				Partition: rg.Partition, Epoch: rg.Epoch, Start: rg.Start,
				End: rg.Sources[n-1].Last + 1, Sources: rg.Sources[:n],
			}
			rg.Start, rg.Sources = front.End, rg.Sources[n:]
			ranges = append(ranges, front)
			cut()
		}
		ranges = append(ranges, rg)
		left -= 1 + len(rg.Sources)
	}
	last.Ranges = ranges
	return append(all, last)
}
