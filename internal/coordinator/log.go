package coordinator

import (
	"context"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
)

// Log is the log of one incarnation as its coordinators see it.
type Log interface {
	// Append gives a batch its offsets and puts it into the write-ahead log; it
	// never waits and keeps b. The error is definite: nothing happened, because the
	// partition is not led here any more at the leader epoch that the batch has.
	Append(tp karst.TopicPartition, b []byte) (Commit, error)
	// Read is engine.Read.
	Read(ctx context.Context, tp karst.TopicPartition, r engine.ReadRequest) (*engine.Read, error)
	// LogStart is the first offset of a partition; 0 if it is not led here.
	LogStart(tp karst.TopicPartition) karst.Offset
	// Nudge says that an open batch has records. Runtime.Gather is called before the
	// next segment is sealed, which will be soon, or, if all nudges before it were
	// lazy, may be as late as the interval of offset commits. It never waits.
	Nudge(lazy bool)
	// Started is the highest number whose create may have been attempted.
	Started() karst.Number
	// Confirmed is the highest number that is durable with all below it.
	Confirmed() karst.Number
	// Prove returns nil once it is known that this incarnation was not sealed at
	// some time after the call (wal.Prove).
	Prove(ctx context.Context) error
}

// Commit is something on its way to being durable (wal.Commit). Commits of
// appends of one partition are done in the order of the appends.
type Commit interface {
	Done() <-chan struct{}
	Err() error // after Done
}
