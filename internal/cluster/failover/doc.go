// Package failover hands the partitions of an incarnation that is no more to
// live ones: fence, seal, adopt, in that order (I12).
//
// Each failover goes through the states of State. Every one of them may be done
// again, by the same broker or by another, and any number may be at work on the
// same incarnation: the fence is idempotent, a sealed WAL has one reading, and
// the adoption holds only while the incarnation is fenced and each range starts
// at its partition's committed end (I8). So nothing is remembered: whoever
// redoes a failover starts from the image.
//
// # What is adopted
//
// For each partition that the image says the incarnation leads: the batches and
// trim entries with the partition's current leader epoch (I13), as far as they
// continue the committed end without a gap. All else in the WAL is ignored:
// records of partitions that moved away, or were deleted, and what was flushed.
//
// Sources point into WAL objects as they are; no data is copied. Where only some
// batches of a slice are taken, the Source's Data span is cut to them, Base and
// Last are theirs, and Index is still the slice's whole index block: a reader
// takes from it the entries whose Pos lies in Data.
//
// # Damage
//
// A WAL object that cannot be read may hold records of any partition. A
// partition is cleared of that by a later batch that continues its end without a
// gap. Those that are not are adopted up to the damage, get no leader (Stopped),
// and the objects they may need are Held until an operator releases them, as
// loss. A trim entry in a damaged object of a partition that is cleared is lost:
// records that were deleted may be seen again, none are lost.
package failover
