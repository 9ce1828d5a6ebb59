package kafka

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/metadata"
)

// Topics changes topics, and where their partitions are. Its methods return when the change is durable and shown
// by Images; their errors are *karst.Error, or the context's: then the outcome is
// unknown. They are called concurrently, and may commit together.
type Topics interface {
	CreateTopic(ctx context.Context, s controller.TopicSpec) (*metadata.TopicState, error)
	DeleteTopic(ctx context.Context, id karst.TopicID) error
	CreatePartitions(ctx context.Context, id karst.TopicID, total int32, assignment [][]karst.BrokerID, validateOnly bool) error
	// Reassign gives partitions replicas; the errors are those of each.
	Reassign(ctx context.Context, all []controller.Reassignment, allowFactorChange bool) ([]error, error)
	// Elect asks for moves, which Images shows when they are done.
	Elect(ctx context.Context, all []controller.PartitionName, preferred bool) ([]controller.Elected, error)
	// Unregister forgets a broker that is gone.
	Unregister(ctx context.Context, id karst.BrokerID) error
}

const (
	topicNameMax = 249
	// partitionsPerRequest bounds what one request may create, as in Kafka.
	partitionsPerRequest = 10_000
	// changesAtOnce is how many changes of a request are made concurrently.
	changesAtOnce = 16
	// What a client asks us to wait is kept within these.
	adminTimeoutMin = 5 * time.Second
	adminTimeoutMax = 2 * time.Minute
)

// checkTopicName applies Kafka's rules for names.
func checkTopicName(name string) *karst.Error {
	const invalid = "Topic name is invalid: "
	switch {
	case name == "":
		return karst.InvalidTopic.Errorf(invalid + "the empty string is not allowed")
	case name == "." || name == "..":
		return karst.InvalidTopic.Errorf(invalid+"'%s' is not allowed", name)
	case len(name) > topicNameMax:
		return karst.InvalidTopic.Errorf(invalid+"the length of '%s' is longer than the max allowed length %d", name, topicNameMax)
	case strings.ContainsFunc(name, func(r rune) bool { return !nameRune(r, "._-") }):
		return karst.InvalidTopic.Errorf(invalid+"'%s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name)
	}
	return nil
}

// adminContext bounds ctx by the timeout in a request. Even one of 0, with which
// Kafka answers before it is done, gets the time for a commit or two.
func adminContext(ctx context.Context, millis int32) (context.Context, context.CancelFunc) {
	d := time.Duration(millis) * time.Millisecond
	return context.WithTimeout(ctx, min(max(d, adminTimeoutMin), adminTimeoutMax))
}

// concurrently calls do for each of n items, a few at once, and returns when all
// calls have.
func concurrently(n int, do func(i int)) {
	if n == 1 {
		do(0)
		return
	}
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var panicked any
	var once sync.Once
	var workers sync.WaitGroup
	for range min(n, changesAtOnce) {
		workers.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					once.Do(func() { panicked = v })
				}
			}()
			for i := range next {
				do(i)
			}
		})
	}
	workers.Wait()
	if panicked != nil {
		panic(panicked) // in the request's goroutine, where it is isolated
	}
}

// repeated is the set of names that occur more than once.
func repeated[T any](items []T, name func(T) string) map[string]bool {
	count := make(map[string]int, len(items))
	for _, it := range items {
		count[name(it)]++
	}
	twice := map[string]bool{}
	for n, c := range count {
		if c > 1 {
			twice[n] = true
		}
	}
	return twice
}

// brokerIDs are an assignment's replicas as the domain has them.
func brokerIDs(replicas []int32) []karst.BrokerID {
	ids := make([]karst.BrokerID, len(replicas))
	for i, r := range replicas {
		ids[i] = karst.BrokerID(r)
	}
	return ids
}
