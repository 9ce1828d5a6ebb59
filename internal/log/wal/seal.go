package wal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/segment"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
	"github.com/karst-io/karst/internal/store/objlog"
)

const (
	readsAtOnce  = 512              // directories read in parallel
	rereads      = 4                // damage is read again so often before it is believed
	readTimeout  = 30 * time.Second // of one attempt
	backoffFirst = 20 * time.Millisecond
	backoffMax   = 2 * time.Second
)

// Sealed is the reading of an ended WAL: the only one there is.
type Sealed struct {
	End     karst.Number // of the tombstone: nothing at or above it was acknowledged (I1)
	Objects []Object     // from the trim to the end, gapless
}

// Object is one WAL object as recovery sees it.
type Object struct {
	Number    karst.Number
	Name      string
	Directory *segment.Directory // nil if it cannot be read
	Damage    error              // why not: a *karst.CorruptError
}

// Seal ends the WAL of another incarnation, whose numbers at or below trim are
// trimmed and not looked at, and reads the directories of what it holds. sealer
// is the incarnation that seals. It may be repeated, by anybody, at any time,
// and finds the same. Transient failures are retried until ctx ends.
func Seal(ctx context.Context, log *objlog.Log, trim karst.Number, sealer karst.Incarnation) (*Sealed, error) {
	ctx = store.WithCaller(ctx, store.CallerRecovery)
	k := &known{log: log, directories: map[karst.Number]*segment.Directory{}}
	var first sync.WaitGroup
	first.Go(func() { _, _ = k.identify(ctx, trim+1) }) // the sealer tries to create it, and so does not ask
	end, found, err := log.Seal(ctx, trim+1, uint64(sealer), k.identify)
	first.Wait()
	if err != nil {
		return nil, fmt.Errorf("seal WAL %s: %w", log.Folder, err)
	}
	s := &Sealed{End: end, Objects: make([]Object, len(found))}
	errs := make([]error, len(found))
	slots := make(chan struct{}, readsAtOnce)
	var wg sync.WaitGroup
	for i, f := range found {
		o := &s.Objects[i]
		o.Number, o.Name = f.Number, log.Name(f.Number)
		if f.Damage != nil {
			o.Damage = f.Damage
			continue
		}
		if d := k.directories[f.Number]; d != nil && d.Header.Nonce == f.Header.Nonce {
			o.Directory = d
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = o.read(ctx, log.Store, f.Header)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("read sealed WAL %s: %w", log.Folder, err)
	}
	return s, nil
}

// known is the directories that were read while the log was being sealed.
type known struct {
	log *objlog.Log

	mu          sync.Mutex
	directories map[karst.Number]*segment.Directory
}

// identify reads the header of number n where it is repeated, in the directory,
// which is wanted next: one request for each object instead of two. What is no
// segment, or cannot be read, is the sealer's.
func (k *known) identify(ctx context.Context, n karst.Number) (object.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	d, err := segment.ReadDirectory(ctx, k.log.Store, k.log.Name(n))
	if err != nil {
		return object.Header{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.directories[n] = d
	return d.Header, nil
}

// read reads the directory. Damage is a finding, not an error. An object that
// was there and is gone is an error: it was adopted and collected meanwhile, the
// caller's image is old.
func (o *Object) read(ctx context.Context, r store.Reader, header object.Header) error {
	err := persist(ctx, func(ctx context.Context) error {
		d, err := segment.ReadDirectory(ctx, r, o.Name)
		if err == nil && d.Header.Nonce != header.Nonce {
			err = &karst.CorruptError{Object: o.Name, Offset: -1, Reason: "its end belongs to another object than its header"}
		}
		o.Directory = d
		return err
	}, &o.Damage)
	if o.Damage != nil {
		o.Directory = nil
	}
	return err
}

// indexSpanMax bounds the bytes of index blocks that are read in one request.
const indexSpanMax = 16 << 20

// Indexes reads the index blocks of the slices at the given positions in the
// directory, in one request where they are not too large: in a WAL object they
// lie one after the other. A nil element is one that is damaged. Transient
// failures are retried; the error is store.ErrNotFound, or the context's.
func (o *Object) Indexes(ctx context.Context, r store.Reader, at []int) ([][]segment.Entry, error) {
	ctx = store.WithCaller(ctx, store.CallerRecovery)
	all := make([][]segment.Entry, len(at))
	block, start := o.indexBlocks(ctx, r, at)
	for i, n := range at {
		s := &o.Directory.Slices[n]
		if block != nil {
			from := s.Index.Pos - start
			entries, err := segment.DecodeIndex(o.Name, s.Index, s.IndexCheck, block[from:from+s.Index.Len])
			if err == nil {
				all[i] = entries
				continue // damage is read again, by itself
			}
		}
		var damage error
		err := persist(ctx, func(ctx context.Context) (err error) {
			all[i], err = segment.ReadIndex(ctx, r, o.Name, s.Index, s.IndexCheck)
			return err
		}, &damage)
		if err != nil {
			return nil, fmt.Errorf("read index of %s in %s: %w", s.Partition, o.Name, err)
		}
		if damage != nil {
			all[i] = nil
		}
	}
	return all, nil
}

// indexBlocks is everything from the first of the blocks to the last, as it came
// with the directory or else in one request; nil if that is too much, or fails.
func (o *Object) indexBlocks(ctx context.Context, r store.Reader, at []int) (block []byte, start int64) {
	start, end := int64(math.MaxInt64), int64(0)
	for _, n := range at {
		span := o.Directory.Slices[n].Index
		start, end = min(start, span.Pos), max(end, span.Pos+span.Len)
	}
	if end-start > indexSpanMax || start < 0 {
		return nil, 0
	}
	if block = o.Directory.Near(karst.Span{Pos: start, Len: end - start}); block != nil || len(at) < 2 {
		return block, start
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	block = make([]byte, end-start)
	if n, err := r.Get(ctx, o.Name, start, block); err != nil || n < len(block) {
		return nil, 0
	}
	return block, start
}

// persist repeats a read until it gives a definite answer or ctx ends. Damage
// goes to *damage once it has been read five times: bytes may have been
// damaged on their way here.
func persist(ctx context.Context, read func(context.Context) error, damage *error) error {
	damaged := 0
	for attempt := 0; ; attempt++ {
		if err := pause(ctx, attempt); err != nil {
			return err
		}
		try, cancel := context.WithTimeout(ctx, readTimeout)
		err := read(try)
		cancel()
		if err == nil || errors.Is(err, store.ErrNotFound) {
			return err
		}
		if _, corrupt := errors.AsType[*karst.CorruptError](err); !corrupt {
			continue
		}
		if damaged++; damaged > rereads {
			*damage = err
			return nil
		}
	}
}

// pause waits before the attempt (from 0, which does not wait).
func pause(ctx context.Context, attempt int) error {
	if attempt == 0 || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ceiling := min(backoffMax, backoffFirst<<min(attempt-1, 10))
	t := time.NewTimer(ceiling/4 + rand.N(ceiling))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
