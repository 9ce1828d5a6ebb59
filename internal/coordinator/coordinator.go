// Package coordinator runs the state machines of internal topics: one machine
// for each partition of such a topic that this incarnation leads. It loads them
// from the partition, keeps their records together in one batch for each WAL
// segment, and gives answers only when what they tell is durable.
//
// Groups are the first of its machines; transactions, share and streams groups
// are to be others.
package coordinator

import "time"

// Record is one record of an internal topic's partition. A nil Value is a
// tombstone.
type Record struct {
	Key, Value []byte
}

// Ticket names a caller who waits for an answer. It is never 0.
type Ticket uint64

// Answer ends the wait of a ticket. Body is what the operation's caller expects.
type Answer struct {
	To   Ticket
	Body any
}

// Effect is what a machine wants done after it has changed its state.
//
// Nothing of it can fail while the incarnation lives: the records become durable,
// or the incarnation ends and every machine with it, and whoever leads next
// loads what was durable. So a machine never undoes anything.
type Effect struct {
	// Key is what the answers depend on (a group id): they are given when every
	// record of an effect of that key so far, this one included, is durable.
	Key string
	// Records go into one batch, in this order, with those of the effects before.
	Records []Record
	// Lazy records may wait for others, up to the interval of offset commits.
	Lazy    bool
	Answers []Answer
}

// Machine is the state of one partition of an internal topic: a pure state
// machine. It knows no clock, starts no goroutine and does no I/O; the same calls
// give the same effects. Its methods, and the operations given to Runtime.Do, are
// called by one goroutine at a time.
type Machine interface {
	// Replay takes the next record of the partition while it is loaded; its bytes
	// are valid until it returns. Records that a newer version wrote are skipped
	// without error.
	Replay(r Record) error
	// Start ends the loading.
	Start(now time.Time) []Effect
	// Deadline is when Expire is to be called next; zero for never. It is asked
	// after every other call.
	Deadline() time.Time
	// Expire does what is due at now.
	Expire(now time.Time) []Effect
}
