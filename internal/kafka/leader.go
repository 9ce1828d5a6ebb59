package kafka

import (
	"context"
	"time"

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

const (
	// handOverMax is how long an answer may wait for the name of the next leader.
	handOverMax  = 500 * time.Millisecond
	handOverLook = 2 * time.Millisecond
)

// nextLeader waits a moment until it is known who leads a partition that a client
// has to look for elsewhere, in an epoch after the one that the client knows. While
// a partition is handed over nobody can be named yet; a client that is not pointed
// to the next leader asks for metadata, perhaps too early, and some do not ask
// again for seconds.
func (d *records) nextLeader(ctx context.Context, until time.Time, tp karst.TopicPartition, known karst.Epoch) (leader, bool) {
	var look *time.Ticker
	for {
		l, ok := d.leaderOf(tp)
		if ok && l.epoch >= known || !time.Now().Before(until) {
			return l, ok
		}
		if _, ok := d.images.Image().Partition(tp); !ok {
			return leader{}, false
		}
		if look == nil {
			look = time.NewTicker(handOverLook)
			defer look.Stop()
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return leader{}, false
		}
	}
}

// rackOf is a rack as the protocol has it: null for none.
func rackOf(rack string) *string {
	if rack == "" {
		return nil
	}
	return &rack
}
