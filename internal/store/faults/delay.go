package faults

import (
	"math"
	"math/rand/v2"
	"time"
)

// Delay is a distribution of times a request of size bytes takes.
type Delay interface {
	Of(r *rand.Rand, size int64) time.Duration
}

// Constant is always the same time.
type Constant time.Duration

// Of implements Delay.
func (c Constant) Of(*rand.Rand, int64) time.Duration { return time.Duration(c) }

// Uniform is anything from 0 to the time.
type Uniform time.Duration

// Of implements Delay.
func (u Uniform) Of(r *rand.Rand, _ int64) time.Duration {
	return time.Duration(r.Int64N(int64(u) + 1))
}

// Lognormal is exp(Mu + Sigma·N) nanoseconds, N being standard normal.
type Lognormal struct{ Mu, Sigma float64 }

// z99 is the 99th percentile of the standard normal distribution.
const z99 = 2.3263478740408408

// LognormalOf is the lognormal distribution with that median and 99th
// percentile.
func LognormalOf(p50, p99 time.Duration) Lognormal {
	if p50 <= 0 || p99 < p50 {
		panic("BUG: percentiles out of order")
	}
	return Lognormal{Mu: math.Log(float64(p50)), Sigma: math.Log(float64(p99)/float64(p50)) / z99}
}

// Of implements Delay.
func (l Lognormal) Of(r *rand.Rand, _ int64) time.Duration {
	return time.Duration(min(math.Exp(l.Mu+l.Sigma*r.NormFloat64()), float64(time.Hour)))
}

// Sized adds a time per MiB to another distribution.
type Sized struct {
	Base   Delay
	PerMiB time.Duration
}

// Of implements Delay.
func (s Sized) Of(r *rand.Rand, size int64) time.Duration {
	return s.Base.Of(r, size) + time.Duration(float64(s.PerMiB)*float64(size)/(1<<20))
}
