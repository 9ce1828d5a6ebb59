package broker

import (
	"sync"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// identity is which incarnations this process registered, so that it can tell
// those of another process from its own.
type identity struct {
	mu      sync.Mutex
	last    karst.Incarnation // 0 before the first
	pending bool              // a registration is on its way
	doubt   bool              // the outcome of one since last is unknown
}

// begin says that a registration may be in the log from now on.
func (i *identity) begin() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pending = true
}

// end takes a registration's outcome. One that is not known leaves a doubt, which
// only a later success ends: it fences whatever that one registered. A refusal
// says nothing about the attempts before it.
func (i *identity) end(self karst.Incarnation, known bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last, i.pending = max(i.last, self), false
	switch {
	case self != 0:
		i.doubt = false
	case !known:
		i.doubt = true
	}
}

// replacedBy reports whether live, the live incarnation of our broker id, was
// registered after ours by another process. When in doubt the address decides:
// two processes seldom share one.
func (i *identity) replacedBy(live *metadata.BrokerState, host string, port int32) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.last == 0 || live.Incarnation <= i.last {
		return false
	}
	return !i.pending && !i.doubt || live.Host != host || live.Port != port
}
