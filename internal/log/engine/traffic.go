package engine

import (
	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/partition"
)

// Traffic is what clients did to a partition.
type Traffic = partition.Traffic

// Traffic is what clients did since it was asked last, by partition; those to
// which they did nothing are left out.
func (e *Engine) Traffic() map[karst.TopicPartition]Traffic {
	all := map[karst.TopicPartition]Traffic{}
	e.mu.RLock()
	defer e.mu.RUnlock()
	for tp, p := range e.partitions {
		if t := p.TakeTraffic(); t.Requests > 0 {
			all[tp] = t
		}
	}
	return all
}
