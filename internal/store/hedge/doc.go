// Package hedge starts a second attempt of a request that is slower than most
// of its kind: same name, same bytes, within a budget. It is what keeps one
// stuck upload from holding up every acknowledgement behind it.
//
// Threshold: the 95th percentile of the last requests of that kind and size
// class; three times the slowest while there are few; a second before the first.
// A request that lost its race counts with the time it had taken, so that
// hedging does not make the store look faster than it is.
//
// Budget: a share of all requests, plus a burst. The second half of the burst
// is kept for requests at twice the threshold, which are stuck and not slow.
//
// Create: the first success wins, and ErrExists is an answer too, at once: the
// other attempt may be what exists, and package objlog finds out by the nonce.
// It is never turned into success here.
//
// Get: the first attempt reads into the caller's memory, the second into its
// own. When the second wins, the first is cancelled and waited for, because it
// may still write there; drivers return soon after cancellation. (Rejected: a
// buffer of its own for every first attempt, which copies every byte read.)
package hedge
