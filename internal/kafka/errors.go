package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/karst-io/karst"
)

// codes is the one table from domain errors to Kafka's.
var codes = map[karst.Code]*kerr.Error{
	karst.Unknown:                kerr.UnknownServerError,
	karst.NotLeader:              kerr.NotLeaderForPartition,
	karst.UnknownTopic:           kerr.UnknownTopicOrPartition,
	karst.UnknownTopicID:         kerr.UnknownTopicID,
	karst.TopicExists:            kerr.TopicAlreadyExists,
	karst.InvalidTopic:           kerr.InvalidTopicException,
	karst.InvalidPartitions:      kerr.InvalidPartitions,
	karst.InvalidReplication:     kerr.InvalidReplicationFactor,
	karst.InvalidAssignment:      kerr.InvalidReplicaAssignment,
	karst.InvalidConfig:          kerr.InvalidConfig,
	karst.InvalidRequest:         kerr.InvalidRequest,
	karst.InvalidRecord:          kerr.InvalidRecord,
	karst.CorruptRecord:          kerr.CorruptMessage,
	karst.UnsupportedCompression: kerr.UnsupportedCompressionType,
	karst.InvalidTimestamp:       kerr.InvalidTimestamp,
	karst.RecordTooLarge:         kerr.MessageTooLarge,
	karst.BatchTooLarge:          kerr.RecordListTooLarge,
	karst.InvalidRequiredAcks:    kerr.InvalidRequiredAcks,
	karst.OutOfOrderSequence:     kerr.OutOfOrderSequenceNumber,
	karst.InvalidProducerEpoch:   kerr.InvalidProducerEpoch,
	karst.InvalidTxnState:        kerr.InvalidTxnState,
	karst.OffsetOutOfRange:       kerr.OffsetOutOfRange,
	karst.FencedLeaderEpoch:      kerr.FencedLeaderEpoch,
	karst.UnknownLeaderEpoch:     kerr.UnknownLeaderEpoch,
	karst.TimedOut:               kerr.RequestTimedOut,
	karst.StorageError:           kerr.KafkaStorageError,
	// Nothing was appended and the client is to try again: what Kafka says when
	// too few replicas are in sync, which every producer retries.
	karst.Overloaded:            kerr.NotEnoughReplicas,
	karst.PolicyViolation:       kerr.PolicyViolation,
	karst.TopicDeletionDisabled: kerr.TopicDeletionDisabled,
	karst.NotController:         kerr.NotController,
	// Clients refresh their metadata and go where the leader will be.
	karst.ShuttingDown:          kerr.NotLeaderForPartition,
	karst.FencedTransactionalID: kerr.ProducerFenced,

	karst.NotCoordinator:           kerr.NotCoordinator,
	karst.CoordinatorLoading:       kerr.CoordinatorLoadInProgress,
	karst.CoordinatorNotAvailable:  kerr.CoordinatorNotAvailable,
	karst.InvalidGroupID:           kerr.InvalidGroupID,
	karst.UnknownMember:            kerr.UnknownMemberID,
	karst.IllegalGeneration:        kerr.IllegalGeneration,
	karst.InconsistentProtocol:     kerr.InconsistentGroupProtocol,
	karst.InvalidSessionTimeout:    kerr.InvalidSessionTimeout,
	karst.RebalanceInProgress:      kerr.RebalanceInProgress,
	karst.MemberIDRequired:         kerr.MemberIDRequired,
	karst.GroupFull:                kerr.GroupMaxSizeReached,
	karst.FencedInstance:           kerr.FencedInstanceID,
	karst.NonEmptyGroup:            kerr.NonEmptyGroup,
	karst.GroupNotFound:            kerr.GroupIDNotFound,
	karst.GroupSubscribed:          kerr.GroupSubscribedToTopic,
	karst.OffsetMetadataTooLarge:   kerr.OffsetMetadataTooLarge,
	karst.UnsupportedVersion:       kerr.UnsupportedVersion,
	karst.SecurityDisabled:         kerr.SecurityDisabled,
	karst.DelegationTokensDisabled: kerr.DelegationTokenAuthDisabled,
	karst.LogDirNotFound:           kerr.LogDirNotFound,
	karst.ElectionNotNeeded:        kerr.ElectionNotNeeded,
	karst.NoReassignment:           kerr.NoReassignmentInProgress,
	karst.FeatureUpdateFailed:      kerr.FeatureUpdateFailed,
	karst.ResourceNotFound:         kerr.ResourceNotFound,
	karst.UnknownTransactionalID:   kerr.TransactionalIDNotFound,
	karst.DuplicateBroker:          kerr.DuplicateBrokerRegistration,
	karst.BrokerNotRegistered:      kerr.BrokerIDNotRegistered,
	karst.PreferredNotAvailable:    kerr.PreferredLeaderNotAvailable,
	karst.EligibleNotAvailable:     kerr.EligibleLeadersNotAvailable,
}

// Code is the Kafka error code of err: 0 for nil. An ended context is a timeout,
// because the outcome is unknown; anything else without a karst.Code is
// UNKNOWN_SERVER_ERROR.
func Code(err error) int16 {
	if err == nil {
		return 0
	}
	if ke, ok := errors.AsType[*karst.Error](err); ok {
		if k, ok := codes[ke.Code]; ok {
			return k.Code
		}
		return kerr.UnknownServerError.Code
	}
	var corrupt *karst.CorruptError
	switch {
	case errors.As(err, &corrupt):
		return kerr.KafkaStorageError.Code
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return kerr.RequestTimedOut.Code
	}
	return kerr.UnknownServerError.Code
}

// text is the error message for a response: nil when there is none to tell.
func text(err error) *string {
	var ke *karst.Error
	if errors.As(err, &ke) && ke.Message != "" {
		return &ke.Message
	}
	return nil
}
