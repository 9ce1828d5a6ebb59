package group

import (
	"time"

	"github.com/karst-io/karst"
)

// The requests and answers of the classic protocol, free of wire versions. What
// an answer's Err says is a *karst.Error of one of the codes for groups.

// Client is who sends a request.
type Client struct {
	ID   string // client.id
	Host string // as Kafka shows it: "/127.0.0.1"
}

// Protocol is one way of assigning that a member offers: the name of an assignor
// and the member's subscription, opaque to the broker but for OffsetDelete and
// offset expiry, which read the topics of protocol type "consumer".
type Protocol struct {
	Name     string
	Metadata []byte
}

// JoinRequest is JoinGroup.
type JoinRequest struct {
	Group, Member    string // Member "" to get an id
	Instance         *string
	Client           Client
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration // the session timeout in version 0
	ProtocolType     string
	Protocols        []Protocol // by preference
	NeedMemberID     bool       // version 4 on: a dynamic member gets its id first (KIP-394)
	CanSkip          bool       // version 9 on: SkipAssignment may be answered (KIP-814)
	Reason           string
}

// JoinAnswer answers JoinGroup, at once or when the rebalance goes on.
type JoinAnswer struct {
	Err            error
	Generation     int32 // -1 with an error
	ProtocolType   *string
	Protocol       *string
	Leader, Member string
	SkipAssignment bool
	Members        []JoinMember // for the leader only
}

// JoinMember is a member with its metadata for the chosen protocol.
type JoinMember struct {
	Member   string
	Instance *string
	Metadata []byte
}

// SyncRequest is SyncGroup.
type SyncRequest struct {
	Group, Member          string
	Generation             int32
	Instance               *string
	ProtocolType, Protocol *string // version 5 on
	Assignments            []Assignment
}

// Assignment is what the leader gives a member.
type Assignment struct {
	Member string
	Bytes  []byte
}

// SyncAnswer answers SyncGroup.
type SyncAnswer struct {
	Err                    error
	ProtocolType, Protocol *string
	Assignment             []byte
}

// HeartbeatRequest is Heartbeat; its answer is an error or nil (ErrAnswer).
type HeartbeatRequest struct {
	Group, Member string
	Generation    int32
	Instance      *string
}

// ErrAnswer is an answer that is only an error, or nil.
type ErrAnswer struct{ Err error }

// LeaveRequest is LeaveGroup: the members leave together.
type LeaveRequest struct {
	Group   string
	Members []LeavingMember
	// Single: versions 0 to 2, where the one member's error is the group's.
	Single bool
}

// LeavingMember leaves by member id, or by instance id.
type LeavingMember struct {
	Member   string
	Instance *string
	Reason   string
}

// LeaveAnswer answers LeaveGroup; Members are in the order of the request.
type LeaveAnswer struct {
	Err     error
	Members []LeftMember
}

// LeftMember is what became of one leaving member.
type LeftMember struct {
	Member   string
	Instance *string
	Err      error
}

// TopicRef names a topic of an offset: by name, and by id where that is known.
// The id is that of the topic of that name when the offset was committed.
type TopicRef struct {
	Name string
	ID   karst.TopicID // zero: unknown
}

// CommitRequest is OffsetCommit, without the partitions that the listener
// refused (unknown topics).
type CommitRequest struct {
	Group, Member string
	Generation    int32 // -1: not a member
	Instance      *string
	Retention     time.Duration // versions 2 to 4; negative: the broker's
	// ByEpoch: version 9 on, where an unknown group is GroupNotFound, not
	// IllegalGeneration.
	ByEpoch bool
	Offsets []CommitOffset
}

// CommitOffset is one partition's offset.
type CommitOffset struct {
	Topic     TopicRef
	Partition int32
	Offset    karst.Offset
	Epoch     karst.Epoch // -1: none
	Metadata  string
}

// CommitAnswer answers OffsetCommit: an error of all, or one for each offset in
// the order of the request.
type CommitAnswer struct {
	Err  error
	Errs []error
}

// FetchRequest is OffsetFetch of one group.
type FetchRequest struct {
	Group  string
	Member string // "" and -1 but for KIP-848 members
	Epoch  int32
	Topics []FetchTopic
	All    bool // Topics is null: every committed offset
	Stable bool // require stable offsets (KIP-447)
}

// FetchTopic asks for partitions of one topic. An offset committed for another
// id than Topic's is not there (KIP-848).
type FetchTopic struct {
	Topic      TopicRef
	Partitions []int32
}

// FetchAnswer answers OffsetFetch: topics and partitions in the order of the
// request, or sorted when all were asked for. What was not committed has offset
// -1, epoch -1 and no metadata.
type FetchAnswer struct {
	Err    error
	Topics []FetchedTopic
}

// FetchedTopic has the offsets of one topic.
type FetchedTopic struct {
	Topic   TopicRef
	Offsets []FetchedOffset
}

// FetchedOffset is one committed offset.
type FetchedOffset struct {
	Partition int32
	Offset    karst.Offset
	Epoch     karst.Epoch
	Metadata  string
	Err       error // UnstableOffsetCommit, once there are transactions
}

// DeleteOffsetsRequest is OffsetDelete.
type DeleteOffsetsRequest struct {
	Group   string
	Offsets []PartitionRef
}

// PartitionRef names one partition by its topic's name.
type PartitionRef struct {
	Topic     string
	Partition int32
}

// DeleteOffsetsAnswer answers OffsetDelete: an error of all, or one for each
// partition in the order of the request.
type DeleteOffsetsAnswer struct {
	Err  error
	Errs []error
}

// Description is a group as DescribeGroups tells it.
type Description struct {
	Group        string
	Err          error // GroupNotFound: there is no such group; State is then "Dead"
	State        string
	ProtocolType string
	Protocol     string // chosen; "" unless Stable
	Members      []DescribedMember
}

// DescribedMember is a member as DescribeGroups tells it. Metadata and
// Assignment are empty unless the group is Stable.
type DescribedMember struct {
	Member     string
	Instance   *string
	Client     Client
	Metadata   []byte
	Assignment []byte
}

// Listing is a group as ListGroups tells it.
type Listing struct {
	Group        string
	ProtocolType string
	State        string // PreparingRebalance, CompletingRebalance, Stable, Dead, Empty
	Type         string // "classic"
}
