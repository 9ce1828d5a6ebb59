// Package retry repeats the idempotent requests of a store when they fail:
// exponential backoff with full jitter, a time limit on every attempt, and a
// budget, so that an outage is not multiplied by those who suffer from it.
//
// Create passes through untouched: only package objlog can tell what an unknown
// outcome was. ErrExists, ErrNotFound and the end of the caller's context are
// answers, not failures.
package retry
