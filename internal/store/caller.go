package store

import "context"

// Caller says on whose behalf a request is made. The limiter orders by it and
// the meter counts by it.
type Caller uint8

// Callers, most urgent first: a limiter serves a lower value before a higher.
const (
	CallerWAL      Caller = iota // produce path
	CallerMetadata               // metadata log, snapshots, terms
	CallerTail                   // reads near the end of a partition
	CallerCatchUp                // reads of older data
	CallerRecovery               // sealing and adopting
	CallerFlush                  // WAL to shared segments
	CallerReap                   // retention and collection
	CallerProbe                  // the start-up probe
	CallerOther
	CallerCount
)

func (c Caller) String() string {
	return [...]string{"wal", "metadata", "tail", "catchup", "recovery", "flush", "reap", "probe", "other"}[c]
}

type callerKey struct{}

// WithCaller marks requests made with the context as made for c.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf is the caller a context was marked with, CallerOther if none.
func CallerOf(ctx context.Context) Caller {
	if c, ok := ctx.Value(callerKey{}).(Caller); ok {
		return c
	}
	return CallerOther
}
