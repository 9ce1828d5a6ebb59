package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// lookEvery is the time between looks for the end of an incarnation that has
// clients and writes nothing. One that writes finds out by writing, one without
// clients need not know: an idle broker asks nothing, one with idle consumers
// 90 times an hour.
const lookEvery = 40 * time.Second

// errSealed: a successor has sealed this incarnation's write-ahead log.
var errSealed = errors.New("another broker has taken over: it has sealed this incarnation's write-ahead log")

// watch returns errSealed once a number of the WAL that was never attempted is
// there: only a sealer can have put it there (section 4's proof, turned round).
// Until then consumers may be served a tail that has ended, as a deposed Kafka
// leader may. It returns nil when ctx ends.
func (l *life) watch(ctx context.Context) error {
	ctx = store.WithCaller(ctx, store.CallerWAL)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	requests, started := l.b.clients.count.Load(), l.wal.Started()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		was, wrote := requests, started
		requests, started = l.b.clients.count.Load(), l.wal.Started()
		if requests == was || started != wrote {
			continue
		}
		next := metadata.ObjectID{Kind: metadata.WALObject, Writer: l.self, Number: started + 1}
		_, err := l.b.bucket.Head(ctx, next.Name())
		if err == nil && l.wal.Started() == started {
			return fmt.Errorf("%w at number %d", errSealed, started+1)
		}
	}
}
