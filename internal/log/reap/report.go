package reap

import (
	"maps"
	"time"
)

// Stats counts since the start.
type Stats struct {
	Deleted      int64 // objects whose delete succeeded; they may have been gone before
	DeletedBytes int64 // of those whose size was known
	Kept         int64 // candidates that were not garbage when their time came
	Failures     int64 // of the store
	Sweeps       int64
	LogStarts    int64 // raised by retention
}

// Reason says why a sweep left an object alone.
type Reason string

// The reasons.
const (
	Referenced Reason = "referenced"                  // by the image
	Unsettled  Reason = "may still be committed"      // in flight, or its incarnation is not adopted
	Permanent  Reason = "claim, tombstone or cluster" // never deleted
	Needed     Reason = "metadata log or snapshot"    // needed to start
	Foreign    Reason = "name not known"              // nothing of ours
)

// Report is what a sweep found.
type Report struct {
	At           time.Time // end of the listing
	Found        int64     // objects
	FoundBytes   int64
	Kept         map[Reason]int64
	Garbage      int64 // to be deleted after the grace period
	GarbageBytes int64
	Deleted      int64 // of the garbage, so far
	DeletedBytes int64
	Truncated    bool // the listing stopped early; the next sweep goes on
}

// LastReport is what the newest complete sweep found.
func (r *Reaper) LastReport() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	rep := *r.report
	rep.Kept = maps.Clone(rep.Kept)
	return rep
}

// Stats returns the counters.
func (r *Reaper) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

func (r *Reaper) tally(add func(*Stats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add(&r.stats)
}
