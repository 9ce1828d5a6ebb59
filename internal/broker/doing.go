package broker

import "github.com/karst-io/karst/internal/cluster/member"

// Doing is what a broker has to do with the cluster at this moment.
type Doing struct {
	member.Stats
	HandingOver int // partitions
}

// Doing is for tests. It is zero while the broker does not serve.
func (b *Broker) Doing() Doing {
	if !b.ready.Load() {
		return Doing{}
	}
	d := Doing{Stats: b.member.Stats()}
	if l := b.life.Load(); l != nil {
		d.HandingOver = l.moves.underWay()
	}
	return d
}
