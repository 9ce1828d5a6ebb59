package broker

import (
	"context"
	"errors"
	"sync"

	"github.com/karst-io/karst/internal/kafka"
)

// startListeners serves Kafka clients at every listener; what it returns ends
// that.
func (b *Broker) startListeners(ctx context.Context, p *parts, at *bound) (end func()) {
	deps := b.kafkaDeps()
	servers := make([]*kafka.Server, len(at.clients))
	for n := range at.clients {
		servers[n] = b.server(at.names[n], deps)
	}
	b.kafkas.Store(servers[0])
	return p.start(ctx, "listener", func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		errs := make([]error, len(servers))
		var wg sync.WaitGroup
		for n, s := range servers {
			wg.Go(func() {
				defer cancel() // the first that ends ends all
				errs[n] = s.Run(ctx, at.clients[n])
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
}

func (b *Broker) kafkaDeps() kafka.Deps {
	return kafka.Deps{
		Logger: b.log, Images: b.replica, Topics: topics{b.controller, b.member}, Configs: b.configs,
		Producers: newProducerIDs(b.member.AllocateProducerIDs),
		Data:      b.backend, Groups: b.groups, Memory: b.memory, Metrics: b.clients, Controller: b.member,
	}
}

// server is the Kafka listener of a name.
func (b *Broker) server(name string, deps kafka.Deps) *kafka.Server {
	return kafka.New(kafka.Config{
		Broker: b.member.ID(), Listener: name,
		RequestBytesMax: b.cfg.RequestMaxBytes, InboundBytes: b.cfg.MemoryBytes / 8, ColdBytes: b.cfg.MemoryBytes / 8,
		IdleMax: b.cfg.ConnectionsIdleMax, ConnectionsMax: b.cfg.ConnectionsMax, ConnectionsPerIP: b.cfg.ConnectionsMaxPerIP,
		AutoCreateTopics: b.cfg.AutoCreateTopics, DeleteTopics: b.cfg.DeleteTopics,
		OffsetsPartitions: b.cfg.OffsetsPartitions, LogDir: b.bucket.data.driver.String(),
	}, deps)
}
