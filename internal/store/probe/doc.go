// Package probe asks a store, before Karst trusts it, whether it keeps the
// promises that every acknowledgement rests on (I16).
//
// It checks that a second create is refused, that concurrent creates have one
// winner, that a create whose body begins before and ends after another create
// of that name is refused, and that reads and lists show what was written. The
// checks run in parallel under a random name below probe/, at most five requests
// one after the other, and delete what they wrote.
//
// The overlap is forced when the driver implements Streamer. Otherwise a large
// create is raced with a small one, which finds a faulty store often, not
// always, and never blames a good one.
//
// Give Run the driver itself: a decorator that repeats or hedges requests hides
// what the store does.
package probe
