// Package metadata is what changes rarely: brokers, topics, configs, leaders,
// epochs, manifests. It holds the commit records, the immutable image they
// apply to, snapshots, and the replica that follows the log.
//
// # Stored objects
//
//	cluster                      kind Cluster, version 1: a ClusterInfo; the id is the header's
//	meta/term/<k>                kind Claim, version 1: a Claim
//	meta/log/<k>/<number>        kind Commit, version 1: a Commit
//	meta/snapshot/<k>-<number>   kind Snapshot, version 1: parts, see below
//
// <k> and <number> are 20 decimal digits. Every object begins with
// object.Header; its check is the CRC-32C of the payload. The messages are
// declared in metadatapb/metadata.proto. The header's writer is the term, its
// number the number of the commit (of a claim: the term). The nonce of a
// snapshot is zero: two writers of the same snapshot write the same bytes.
//
// The checksum of a commit, which its successor repeats as predecessor, is the
// CRC-32C of its payload; the payload holds the position and a nonce.
//
// A snapshot's payload is a sequence of parts, each
//
//	uvarint   length of the message in bytes
//	message   SnapshotPart
//
// The first holds the head, brokers and their configs, and those of groups and
// of subscriptions to client metrics; then come topics in name
// order, then partitions in (topic id, partition) order. Tables of objects,
// sources and topic ids are local to a part.
//
// # Why it is safe
//
// I7: every source, checkpoint and hold of the image counts one reference to its
// object, and Deletable is false of whatever has one.
//
// I8: a range holds only if it starts at the partition's End and its committer
// leads the partition at the range's epoch. Epochs change only with such a range,
// or after the leader was adopted. See CommitRequest.apply.
//
// I9, I15: a commit names only objects of its own incarnation that are above
// what the image knows as trimmed or settled. Deletable is true only at or
// below, or when no commit of the incarnation can come any more. The two halves
// are nameable and Deletable: change them together.
//
// I10: records are applied by value, from the image alone: no clock, no map
// order, no randomness.
//
// Rejected: keeping, per incarnation, only the last request that was applied. A
// broker has several offers in flight (flush, hand-over, merge), and they may
// arrive in any order.
package metadata

//go:generate go -C ../../tools/protogen run . ../../internal/metadata/metadatapb/metadata.proto
