// Package faults is a store that fails on command: before the effect of a
// request, after it, late, slowly, wrongly, or never.
//
// A Store stands between one process and the bucket. Its rules say which
// requests are hurt and how; a seed decides the rest. Crash ends the process as
// a power cut would: calls in flight return to nobody, and each effect that had
// left the process happens at some later time, or never. Several processes share
// a bucket by each having a Store of their own over it.
//
// Time is the time package's, so that a whole cluster runs under
// testing/synctest. A seed fixes the faults drawn, not the interleaving.
package faults
