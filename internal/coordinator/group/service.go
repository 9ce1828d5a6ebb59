package group

import (
	"context"

	"github.com/karst-io/karst"
)

// Call is an operation whose answer may have to wait; it is waited for at most
// once. Its error is one of the coordinator's codes (NotCoordinator when the
// state went elsewhere meanwhile: the outcome is unknown then, and harmless to
// repeat), or ctx's.
type Call[T any] interface {
	Wait(ctx context.Context) (T, error)
}

// Service is the group coordinator as the listener sees it. Its methods do not
// block: what they decide, they decide before they return, in order; the errors
// they return are those of karst.NotCoordinator, CoordinatorLoading and
// CoordinatorNotAvailable, of the group as a whole, before any effect.
type Service interface { //nolint:interfacebloat // a method for each API
	Join(r JoinRequest) (Call[JoinAnswer], error)
	Sync(r SyncRequest) (Call[SyncAnswer], error)
	Heartbeat(r HeartbeatRequest) (Call[ErrAnswer], error)
	Leave(r LeaveRequest) (Call[LeaveAnswer], error)
	Commit(r CommitRequest) (Call[CommitAnswer], error)
	// Fetch reads committed offsets; its answer is proved to be current.
	Fetch(r FetchRequest) (Call[FetchAnswer], error)
	DeleteOffsets(r DeleteOffsetsRequest) (Call[DeleteOffsetsAnswer], error)
	DeleteGroup(group string) (Call[ErrAnswer], error)
	Describe(group string) (Call[Description], error)
	// List lists the groups of every partition led here; CoordinatorLoading if
	// one of them is not loaded.
	List() ([]Listing, error)
	// TopicsDeleted forgets the offsets of deleted topics.
	TopicsDeleted(ids []karst.TopicID)
	// Partition is the partition of __consumer_offsets that has a group: the
	// absolute value of Java's String.hashCode modulo their number. It is -1 if the
	// topic does not exist.
	Partition(group string) int32
}

// Topic is the internal topic of groups.
const Topic = "__consumer_offsets"
