package reap

import (
	"slices"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// candidate is an object that may be garbage. Nothing but Image.Deletable says
// that it is.
type candidate struct {
	name string
	data bool // id says which data object it is; otherwise a metadata object, decided by the sweep
	id   metadata.ObjectID
	in   Bucket // nil: ask the image
	size int64  // -1: not known
	due  time.Time
	by   *Report // of the sweep that found it; under the lock
}

// folder is the WAL of an adopted incarnation, to be listed.
type folder struct {
	inc karst.Incarnation
	due time.Time
}

// Observe takes note of what a commit left behind; it is to be called after each
// advance of the replica's image, and is a metadata.Listener. It does not block.
func (r *Reaper) Observe(img *metadata.Image, d *metadata.Delta) { r.observe(img, d) }

func (r *Reaper) observe(img Image, d *metadata.Delta) {
	due := time.Now().Add(r.c.Grace)
	sweeper := r.sweeper(img)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range d.Unreferenced {
		if !r.mine(img, o.Writer, sweeper) {
			continue
		}
		r.add(candidate{name: o.Name(), data: true, id: o, size: -1, due: due})
	}
	for _, inc := range d.Incarnations {
		b, ok := img.Broker(inc)
		switch {
		case !ok:
		case inc == r.d.Incarnation:
			for n := r.trim + 1; n <= b.Trim; n++ {
				o := metadata.ObjectID{Kind: metadata.WALObject, Writer: inc, Number: n}
				r.add(candidate{name: o.Name(), data: true, id: o, size: -1, due: due})
			}
			r.trim = max(r.trim, b.Trim)
		case b.Phase == metadata.Adopted && sweeper:
			r.folders = append(r.folders, folder{inc, due})
			r.sinceKick++
		}
	}
	if r.sinceKick > 0 {
		r.sinceKick = 0
		select {
		case r.kick <- struct{}{}:
		default:
		}
	}
}

// mine says whether this broker looks after the objects of a writer: its own,
// and as the sweeper those of writers that are not live.
func (r *Reaper) mine(img Image, writer karst.Incarnation, sweeper bool) bool {
	if writer == r.d.Incarnation {
		return true
	}
	b, ok := img.Broker(writer)
	return sweeper && (!ok || b.Phase != metadata.Live)
}

// add remembers a candidate, unless there are too many. Under the lock.
func (r *Reaper) add(c candidate) bool {
	if len(r.queue) >= r.c.CandidatesMax {
		r.missed = true
		return false
	}
	// All wait equally long, retries aside: mostly c goes to the end.
	at := len(r.queue)
	for at > 0 && r.queue[at-1].due.After(c.due) {
		at--
	}
	r.queue = slices.Insert(r.queue, at, c)
	r.sinceKick++
	return true
}

// takeDue takes out at most n candidates whose time has come.
func (r *Reaper) takeDue(now time.Time, n int) (due []candidate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := 0
	for k < min(n, len(r.queue)) && !r.queue[k].due.After(now) {
		k++
	}
	due = slices.Clone(r.queue[:k])
	clear(r.queue[:k]) // lets go of the names
	r.queue = r.queue[k:]
	return due
}

func (r *Reaper) nextDue() (at time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sooner := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	if len(r.queue) > 0 {
		sooner(r.queue[0].due)
	}
	for _, f := range r.folders {
		sooner(f.due)
	}
	return at, ok
}

// takeMissed reports once that candidates were lost, so that a sweep is due. It
// comes after the queue has drained by then.
func (r *Reaper) takeMissed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.missed || len(r.queue) > 0 {
		return false
	}
	r.missed = false
	return true
}
