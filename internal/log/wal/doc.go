// Package wal is the write-ahead log of one broker incarnation: group commit
// of batches of all partitions into numbered create-only segments, overlapping
// uploads, acknowledgement in prefix order (I1), and the end of the incarnation
// when a number cannot be written (I4). It also seals and reads the WAL another
// incarnation left.
//
// # Invariants
//
//   - I1: a Commit is done without error only when its segment's number and all
//     lower ones are confirmed. Segments are handed on in number order.
//   - I2: the headers name this incarnation; package objlog asserts it.
//   - I4: once a create is refused, or a number made no progress for
//     Config.StallTimeout, nothing more is acknowledged and nothing more is
//     created. What was not acknowledged ends as TimedOut: it may yet be adopted.
//   - Order: what is appended earlier never lies in a later segment, and within a
//     segment a partition's batches keep the order of their appends.
//   - Freshness: what others act on is answered after Prove, which is given only
//     if the log was not sealed before it was asked for.
//   - Bytes: a segment's memory is freed when its last hold is gone: the upload
//     and every attempt beneath it, and each Slice that was handed on.
//
// # Coordinators
//
// What coordinators write waits outside, in one open batch for each partition of
// an internal topic, and comes in by Config.Gather just before a segment starts:
// whatever waits for one partition is one batch. Records that may wait (offset
// commits) do not start a segment for Config.LazyInterval after the last one.
//
// # Rejected
//
// Acknowledging each partition by itself once its own segments are there: with
// hedging beneath, a slow upload holds up the others for a few milliseconds only,
// and the price would be a window of tombstones and torn appends.
//
// A goroutine per append, or a channel: an append is a short critical section
// that adds to a list; its caller holds a partition's lock.
package wal
