// Package group is the group coordinator: classic consumer groups and committed
// offsets, as a pure state machine for each partition of __consumer_offsets in
// Kafka's record format, and a thin shell.
//
// # Records
//
// Integers are big-endian; a string is an int16 length (-1: null) and bytes, bytes
// are an int32 length and bytes. A null value is a tombstone. Types and versions
// that are not listed are skipped. The checksum is that of the record batch.
//
//	key of an offset     int16 type 1 (old logs: 0), string group, string topic, int32 partition
//	key of a group       int16 type 2, string group
//
//	value of an offset
//	  version         0   1   2   3   4    int16
//	  offset          x   x   x   x   x    int64
//	  leader epoch                x   x    int32, -1: none
//	  metadata        x   x   x   x   x    string
//	  committed at    x   x   x   x   x    int64 ms
//	  expires at          x                int64 ms
//	  topic id                        x    tag 0: 16 bytes; left out if zero
//
//	value of a group
//	  version         0   1   2   3   4    int16
//	  protocol type   x   x   x   x   x    string
//	  generation      x   x   x   x   x    int32
//	  protocol        x   x   x   x   x    string or null
//	  leader          x   x   x   x   x    string or null
//	  state since             x   x   x    int64 ms
//	  members         x   x   x   x   x    int32 count, then for each
//	    member id     x   x   x   x   x    string
//	    instance id               x   x    string or null
//	    client id     x   x   x   x   x    string
//	    client host   x   x   x   x   x    string
//	    rebalance         x   x   x   x    int32 ms
//	    session       x   x   x   x   x    int32 ms
//	    subscription  x   x   x   x   x    bytes
//	    assignment    x   x   x   x   x    bytes
//
// Version 4 of both has the compact lengths and tags of KIP-482. Written are
// version 4 of offsets, 1 if they expire by themselves, and version 3 of groups,
// as Kafka 4.3 does.
//
// # Differences from Apache Kafka
//
//   - A group is Stable as soon as its leader's SyncGroup is applied, not when the
//     record is durable: no answer that tells of it is given before that.
//   - A request that waits is answered when the same member sends another in its
//     place (REBALANCE_IN_PROGRESS), and a SyncGroup that waits when its member is
//     removed (UNKNOWN_MEMBER_ID). Kafka forgets the former and, in some cases, the
//     latter.
//   - A commit of which no offset is valid makes no group.
//   - What a member commits that it has committed already is written again only
//     after a sixteenth of the time that offsets are retained: idle consumers
//     neither cost uploads nor make the log grow. An offset that is retained from
//     its last commit may go so much earlier.
//   - When a group begins anew, a member that came during an earlier beginning does
//     not extend the initial delay.
//   - A protocol name that a member offers twice counts once, and there are bounds
//     (join.go) on what members offer and how many ids wait for their use.
//   - The topics of a static member that is replaced without a rebalance are known
//     at once, not after the next load.
//   - Between two attempts to complete a rebalance that only silent static members
//     take part in lie at least 100 ms.
package group
