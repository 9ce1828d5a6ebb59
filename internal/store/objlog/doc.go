// Package objlog is the numbered create-only log: a folder with one writer,
// objects numbered from 1 and created only if absent, ended by a tombstone.
//
// Broker write-ahead logs and the terms of the metadata log are such folders.
// Whoever creates number n decides what n is, so one conditional create gives
// order, commit and fencing at once. The package also creates single named
// objects the same way: the cluster object and the claims of terms. Besides the
// start-up probe it is the only package that calls store.Creator.
//
// # Rules
//
// Writer: the outcome of a create is unknown until the store said yes or the
// object was read (I3). Every unknown outcome is retried, same name and same
// bytes; every "exists", even the first, is resolved by comparing what is there
// with what was sent, because a hedge or an SDK may have retried below us.
// Something else there, or nothing (created, then collected after adoption),
// ends the log for this writer: ErrOver, and it must never create again (I4).
//
// Sealer: the log ends at its lowest number that is not data of its writer. A
// sealer walks up from a number it knows to be in the log and creates a
// tombstone at the first free one. LIST only says where to look; only a create
// decides. Any number of sealers, and the writer, may run at once: all sealers
// find the same end, and by I1 nothing at or above it was acknowledged.
//
// A sealer that keeps meeting fresh data (the writer is alive and as fast) tries
// several numbers at once, and may then leave tombstones above the end. They are
// harmless: the end is the lowest one. (Rejected: one number at a time. Read and
// create take longer than the spacing of a busy writer, so that it would chase
// the writer for ever. Rejected too: a tombstone above the last number listed as
// the end; numbers below it may still be created and acknowledged.)
//
// # Format
//
//	<folder>/<number, 20 decimal digits>
//
// Each object begins with object.Header. Header.Check is the CRC-32C of the
// whole payload for Cluster, Tombstone, Claim, Commit and Snapshot objects; for
// a Segment see package segment. A tombstone (kind 3, version 1) has no payload;
// its header's writer is the incarnation that sealed, its number the number it
// takes.
package objlog
