package kafka

import (
	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// leader is where a partition is led, as far as this broker knows (KIP-951).
type leader struct {
	node  karst.BrokerID
	epoch karst.Epoch
	host  string
	port  int32
	rack  string
}

// leaderOf is the leader to point a client to that asked the wrong broker; false
// when none is known, or when it is this one: then the partition is about to be
// handed over, or was not taken yet, and the client shall refresh.
func (d *records) leaderOf(tp karst.TopicPartition) (leader, bool) {
	img := d.images.Image()
	p, ok := img.Partition(tp)
	if !ok || p.Leader == 0 {
		return leader{}, false
	}
	b, ok := img.Broker(p.Leader)
	if !ok || b.Phase != metadata.Live || b.ID == d.broker {
		return leader{}, false
	}
	host, port := b.At(d.listener)
	return leader{node: b.ID, epoch: p.Epoch, host: host, port: port, rack: b.Rack}, true
}

// rackOf is a rack as the protocol has it: null for none.
func rackOf(rack string) *string {
	if rack == "" {
		return nil
	}
	return &rack
}
