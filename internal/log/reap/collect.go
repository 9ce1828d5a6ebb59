package reap

import (
	"context"
	"errors"
	"time"

	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
)

const (
	// batchMax is the most names in one delete (store.Deleter).
	batchMax = 1000
	// retryAfter is the wait after a failed delete or header read.
	retryAfter = time.Minute
)

// collect deletes the candidates whose time has come and that are garbage.
func (r *Reaper) collect(ctx context.Context) {
	for ctx.Err() == nil {
		due := r.takeDue(time.Now(), batchMax)
		if len(due) == 0 {
			return
		}
		r.collectBatch(ctx, due)
	}
}

// collectBatch deletes those of at most batchMax candidates that may go.
func (r *Reaper) collectBatch(ctx context.Context, due []candidate) {
	// Headers first: they take time, and the image is to be asked last.
	ready := make([]candidate, 0, len(due))
	for _, c := range due {
		switch ok, err := r.bodied(ctx, c); {
		case err != nil:
			r.later(c, err)
		case ok:
			ready = append(ready, c)
		}
	}
	img := r.d.Image()
	byBucket := map[Bucket][]candidate{}
	var order []Bucket
	for _, c := range ready {
		if c.data && !img.Deletable(c.id) {
			r.tally(func(s *Stats) { s.Kept++ })
			continue // still referenced or not settled; it comes again
		}
		in, ok := c.in, c.in != nil
		if !ok {
			in, ok = r.bucketOf(img, c.id)
		}
		if !ok {
			continue
		}
		if byBucket[in] == nil {
			order = append(order, in)
		}
		byBucket[in] = append(byBucket[in], c)
	}
	for _, in := range order {
		r.remove(ctx, in, byBucket[in])
	}
}

// bodied makes sure that a WAL object above its incarnation's trim is a segment
// and not a tombstone. At or below the trim there is none: a sealer begins above
// the trim of an incarnation that is fenced, and so trims no more.
func (r *Reaper) bodied(ctx context.Context, c candidate) (bool, error) {
	if !c.data || c.id.Kind != metadata.WALObject {
		return true, nil
	}
	img := r.d.Image()
	if !img.Deletable(c.id) {
		return false, nil
	}
	if b, ok := img.Broker(c.id.Writer); ok && c.id.Number <= b.Trim {
		return true, nil
	}
	in := c.in
	if in == nil {
		var ok bool
		if in, ok = r.bucketOf(img, c.id); !ok {
			return false, nil
		}
	}
	b := make([]byte, object.HeaderSize)
	n, err := in.Get(ctx, c.name, 0, b)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil // gone
	}
	if err != nil {
		return false, err
	}
	h, err := object.Decode(c.name, b[:n])
	if err != nil || h.Kind != object.Segment {
		r.tally(func(s *Stats) { s.Kept++ })
		return false, nil //nolint:nilerr // what cannot be read stays, for `karst verify` to report
	}
	return true, nil
}

// remove deletes candidates of one bucket.
func (r *Reaper) remove(ctx context.Context, in Bucket, cs []candidate) {
	names := make([]string, len(cs))
	for i, c := range cs {
		names[i] = c.name
	}
	if err := in.Delete(ctx, names); err != nil {
		for _, c := range cs {
			r.later(c, err)
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range cs {
		r.stats.Deleted++
		r.stats.DeletedBytes += max(0, c.size)
		if c.by != nil {
			c.by.Deleted++
			c.by.DeletedBytes += max(0, c.size)
		}
	}
}

// later puts a candidate back after a failure of the store.
func (r *Reaper) later(c candidate, err error) {
	r.d.Log.Warn("reap: trying again later", "object", c.name, "err", err)
	c.due = time.Now().Add(retryAfter)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Failures++
	r.add(c)
}
