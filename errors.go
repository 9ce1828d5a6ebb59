package karst

import "fmt"

// Code is a kind of failure that a client of the log can be told about. One
// table, in package kafka, maps every Code to a Kafka error code.
type Code uint8

// The codes. Each says whether the operation may have happened: those marked
// indefinite may have; all others are answered only before any effect.
// Their numbers go between brokers of different builds: new ones come last.
const (
	Unknown                  Code = iota // programming error; indefinite
	NotLeader                            // this broker does not lead the partition
	UnknownTopic                         // no topic of that name, or no such partition
	UnknownTopicID                       // no topic of that id
	TopicExists                          // a topic of that name exists
	InvalidTopic                         // the name breaks Kafka's rules, or collides
	InvalidPartitions                    // partition count out of range
	InvalidReplication                   // replication factor out of range
	InvalidAssignment                    // replica assignment malformed
	InvalidConfig                        // unknown config or bad value
	InvalidRequest                       // malformed request
	InvalidRecord                        // the batch breaks a rule of Kafka's validation
	CorruptRecord                        // CRC or structure of the batch is wrong
	UnsupportedCompression               // codec not allowed here
	InvalidTimestamp                     // timestamp outside the topic's bounds
	RecordTooLarge                       // batch above max.message.bytes
	BatchTooLarge                        // batch above segment.bytes
	InvalidRequiredAcks                  // acks other than -1, 0, 1
	OutOfOrderSequence                   // producer sequence has a gap
	InvalidProducerEpoch                 // producer epoch is older than one seen
	InvalidTxnState                      // batch does not fit the producer's transaction
	OffsetOutOfRange                     // offset below log start or above log end
	FencedLeaderEpoch                    // the client's leader epoch is old
	UnknownLeaderEpoch                   // the client's leader epoch is newer than ours
	TimedOut                             // not durable in time; indefinite
	StorageError                         // the store failed a read; retriable
	Overloaded                           // buffers are full; retriable, nothing happened
	PolicyViolation                      // refused by policy
	TopicDeletionDisabled                // delete.topic.enable is false
	NotController                        // metadata cannot be written here now; retriable
	ShuttingDown                         // the broker is stopping; retriable, nothing happened
	FencedTransactionalID                // the producer id is fenced
	NotCoordinator                       // this broker does not lead the group's or transaction's partition
	CoordinatorLoading                   // its state is being read; retriable, nothing happened
	CoordinatorNotAvailable              // there is no coordinator now; retriable
	InvalidGroupID                       // the group id is empty or malformed
	UnknownMember                        // no such member of the group
	IllegalGeneration                    // the member's generation is not the group's
	InconsistentProtocol                 // the member shares no protocol with the group
	InvalidSessionTimeout                // session timeout out of bounds
	RebalanceInProgress                  // the group is rebalancing: join again
	MemberIDRequired                     // join again with the member id given (KIP-394)
	GroupFull                            // group.max.size is reached
	FencedInstance                       // another member took over the instance id (KIP-345)
	NonEmptyGroup                        // the group has members
	GroupNotFound                        // no such group
	GroupSubscribed                      // the group is subscribed to the topic
	OffsetMetadataTooLarge               // above offset.metadata.max.bytes
	UnsupportedVersion                   // the request asks for what its version, or this broker, cannot do
	SecurityDisabled                     // no authorizer is configured
	DelegationTokensDisabled             // delegation tokens are not configured
	LogDirNotFound                       // no such log directory
	ElectionNotNeeded                    // the leader is the preferred one already
	NoReassignment                       // the partition is not being reassigned
	FeatureUpdateFailed                  // the feature cannot have that level
	ResourceNotFound                     // no such resource
	UnknownTransactionalID               // no such transactional id
	BrokerNotRegistered                  // no such broker id
	DuplicateBroker                      // a live broker has the id
	PreferredNotAvailable                // the preferred leader cannot lead now
	EligibleNotAvailable                 // nobody can lead the partition now
	codeEnd
)

// Codes lists every Code, for the test that none lacks a Kafka error.
func Codes() []Code {
	all := make([]Code, 0, codeEnd)
	for c := range codeEnd {
		all = append(all, c)
	}
	return all
}

// Error is a failure with a Code and a sentence for the person who reads it.
type Error struct {
	Code    Code
	Message string
	// Records lists the offending records of a batch, by index, with what is
	// wrong with each (KIP-467). At most the batch's record count.
	Records []RecordError
}

// RecordError is what is wrong with one record of a batch.
type RecordError struct {
	Index   int32
	Message string
}

func (e *Error) Error() string { return e.Message }

// Is makes errors.Is(err, karst.NotLeader.Err()) true for any error of the code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// Errorf makes an Error of the code.
func (c Code) Errorf(format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// Err is the bare error of the code, for errors.Is.
func (c Code) Err() *Error { return &Error{Code: c} }
