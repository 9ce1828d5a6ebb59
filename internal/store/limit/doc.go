// Package limit bounds how many requests are at the store at once and how many
// bytes a second go up and down, serving the most urgent caller first.
//
// Order: store.Caller, lowest value first. One grant in sixteen goes to the
// request that has waited longest, so that nothing starves for ever. Callers
// that are not urgent (catch-up and beyond) together leave a quarter of the slots
// free, and each has a cap of its own.
//
// Bandwidth: a request starts when its direction is not in debt, and then takes
// all its bytes at once, so a large body puts the direction into debt that those
// behind it wait for. Urgent callers have an account of their own: they never
// wait for the debt of a merge. A sixteenth of what they use is not charged to the
// others, who thus go on, slowly, even when the urgent use all there is.
//
// Put it outermost: a slot covers a request with its retries and its second
// attempt, so that a store in trouble is asked less, and queueing here does not
// look like a slow store to the hedger. List holds a slot only until its first
// answer: consumers make requests of their own between items.
package limit
