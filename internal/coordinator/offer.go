package coordinator

import (
	"errors"

	"github.com/karst-io/karst"
)

// errWithdrawn: a partition was to be handed over, and was not.
var errWithdrawn = errors.New("its hand-over did not happen")

// Offer prepares partitions for their hand-over: callers are told to look for the
// coordinator elsewhere from now on, since another one may be acting; what was
// decided before is in the log when it returns. Partitions of other topics are
// none of ours.
func (r *Runtime[M]) Offer(tps []karst.TopicPartition) {
	for _, s := range r.those(tps) {
		s.offer()
	}
	r.log.Nudge(false)
}

// Withdraw takes offers back: the state is loaded anew, since what it should have
// heard meanwhile it did not hear.
func (r *Runtime[M]) Withdraw(tps []karst.TopicPartition) {
	for _, s := range r.those(tps) {
		s.fail(errWithdrawn)
	}
}

func (r *Runtime[M]) those(tps []karst.TopicPartition) []*shard[M] {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*shard[M]
	for _, tp := range tps {
		if s := r.shards[int32(tp.Partition)]; s != nil && s.id == tp {
			all = append(all, s)
		}
	}
	return all
}
