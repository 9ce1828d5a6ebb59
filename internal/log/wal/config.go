package wal

import "time"

// Config tunes a WAL.
type Config struct {
	MinInterval  time.Duration // least time between starts of uploads; 0 for none
	BatchBytes   int           // seal earlier at this size
	Linger       time.Duration // after a quiet time, wait this long for a burst; 0: 2 ms if there is a MinInterval; negative: none
	LingerMax    time.Duration // and while it keeps arriving, at most this long; 0: five times Linger
	Inflight     int           // uploads at once
	StallTimeout time.Duration // a number not written for so long ends the incarnation
	ChunkBytes   int           // memory is taken in pieces of at most this size
	PendingBytes int64         // unacknowledged bytes at which Wait waits; 0 for no bound

	// LazyInterval is the least time between the starts of segments that hold
	// lazily nudged records alone; 0 if they are like all others.
	LazyInterval time.Duration
	// Gather adds what its owner holds back (see Nudge). Run calls it once before
	// each segment it starts, and once before it refuses appends in order to drain.
	// What Append and AppendAll add meanwhile goes into that segment, unless others
	// wait behind it or it is full. It must not block, and may be nil.
	Gather func()
}

// While no upload slot is free a group grows beyond BatchBytes, up to this many
// times; then the next one is begun.
const groupFactor = 4

// groupCountMax bounds the appends in one segment, and so its index.
const groupCountMax = 1 << 16

// withDefaults fills in what is needed to work at all.
func (c Config) withDefaults() Config {
	if c.BatchBytes <= 0 {
		c.BatchBytes = 4 << 20
	}
	if c.Inflight <= 0 {
		c.Inflight = 1
	}
	if c.StallTimeout <= 0 {
		c.StallTimeout = time.Minute
	}
	if c.ChunkBytes <= 0 {
		c.ChunkBytes = 1 << 20
	}
	if c.Linger == 0 && c.MinInterval > 0 {
		c.Linger = 2 * time.Millisecond
	}
	if c.LingerMax == 0 {
		c.LingerMax = 5 * c.Linger
	}
	c.LingerMax = max(c.LingerMax, c.Linger)
	return c
}
