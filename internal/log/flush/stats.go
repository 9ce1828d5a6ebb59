package flush

// Stats counts since the start.
type Stats struct {
	Flushes        int64 // batches of WAL segments that the image shows
	Segments       int64 // WAL segments flushed
	Commits        int64 // requests that the image shows
	Objects        int64 // shared segments written
	BytesWritten   int64 // to shared segments, indexes included
	BytesRewritten int64 // of batches, committed
	BytesAdopted   int64 // of batches left in their WAL object, committed
	UploadRetries  int64
	CommitRetries  int64 // after an unknown outcome
	Refused        int64 // commits refused as a whole
}

// Stats returns the counters.
func (f *Flusher) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

func (f *Flusher) tally(add func(*Stats)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	add(&f.stats)
}
