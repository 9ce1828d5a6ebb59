package kafka

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/coordinator/group"
)

const (
	autoCreationsMax    = 256              // names waiting; more are forgotten, clients ask again
	autoCreationTimeout = 30 * time.Second // for one topic
)

// autoCreations creates topics that clients asked for, each name once at a time,
// behind the answers (KIP-204's rule that the first answer is an error).
type autoCreations struct {
	names chan string

	mu     sync.Mutex
	wanted map[string]struct{} // waiting or being created
}

func newAutoCreations() *autoCreations {
	return &autoCreations{names: make(chan string, autoCreationsMax), wanted: map[string]struct{}{}}
}

// ask has a topic created soon. It never waits.
func (a *autoCreations) ask(name string) {
	a.mu.Lock()
	_, wanted := a.wanted[name]
	if !wanted && len(a.wanted) < autoCreationsMax {
		a.wanted[name] = struct{}{}
	} else {
		wanted = true
	}
	a.mu.Unlock()
	if !wanted {
		a.names <- name // has room for all that are wanted
	}
}

// autoSpec is how a topic is created that a client asked for.
func (s *Server) autoSpec(name string) controller.TopicSpec {
	if name == group.Topic {
		return s.groupTopic()
	}
	return controller.TopicSpec{Name: name, Partitions: -1, ReplicationFactor: -1}
}

// run creates topics, as spec says, one after the other until ctx ends.
func (a *autoCreations) run(ctx context.Context, deps Deps, spec func(name string) controller.TopicSpec) {
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-a.names:
			a.create(ctx, deps, spec(name))
		}
	}
}

func (a *autoCreations) create(ctx context.Context, deps Deps, spec controller.TopicSpec) {
	defer func() {
		a.mu.Lock()
		delete(a.wanted, spec.Name)
		a.mu.Unlock()
	}()
	if _, ok := deps.Images.Image().Topic(spec.Name); ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, autoCreationTimeout)
	defer cancel()
	_, err := deps.Topics.CreateTopic(ctx, spec)
	if err != nil {
		deps.Logger.Warn("kafka: creating a topic that a client asked for failed", slog.String("topic", spec.Name), slog.Any("error", err))
	}
}
