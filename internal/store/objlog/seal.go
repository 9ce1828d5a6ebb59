package objlog

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
)

const (
	tombstoneVersion = 1
	// readsAtOnce bounds the headers a sealer reads in parallel.
	readsAtOnce = 512
	// createsAtOnce bounds the tombstones it tries in parallel when it chases a
	// writer that is alive.
	createsAtOnce = 16
	// wallFirst is how far ahead of a writer that is chased in vain the first
	// tombstone is put; the distance doubles.
	wallFirst = karst.Number(64)
	// hintMax bounds the numbers kept from LIST; beyond it the sealer feels its way.
	hintMax = 1 << 16
)

// Found is one number below the end of a sealed log: data of its writer.
type Found struct {
	Number karst.Number
	Header object.Header // zero if Damage is set
	// Damage is set when the header cannot be read: it counts as data, and stops
	// whatever may be in it.
	Damage *karst.CorruptError
}

// Identify reads the header of a number. Its bytes are checked.
type Identify func(ctx context.Context, n karst.Number) (object.Header, error)

// Seal ends the log: it walks up from number from, which must not be above the
// lowest number that may be free, to the first one that is not data of the
// writer, creating a tombstone there if it is free. It returns that number, the
// end, and the data from from up to it. sealer is the incarnation that seals.
// identify, if not nil, says what the header of a number is that LIST shows; where
// it fails the object's first bytes are read.
//
// It is idempotent and safe with other sealers and with the writer still
// writing. Transient failures are retried until ctx ends.
func (l *Log) Seal(ctx context.Context, from karst.Number, sealer uint64, identify Identify) (karst.Number, []Found, error) {
	if from == 0 {
		panic("BUG: numbers start at 1")
	}
	first := make(chan verdict, 1)
	hinting, enough := context.WithCancel(ctx)
	defer enough()
	go func() { // beside the LIST: mostly it is free
		v := (&sealing{Log: l, sealer: sealer}).settle(ctx, from)
		if v.end || v.err != nil {
			enough()
		}
		first <- v
	}()
	s := &sealing{Log: l, sealer: sealer, identify: identify, listed: l.hints(hinting, from+1)}
	v := <-first
	switch {
	case v.err != nil:
		return 0, nil, v.err
	case v.end:
		return from, nil, nil
	}
	data := []Found{v.found}
	chase, wall := 1, wallFirst
	for at := from + 1; ; {
		width := s.run(at)
		if width == 0 {
			width = chase
			if chase == createsAtOnce {
				// A writer that is alive may outrun us for ever: put a tombstone
				// far ahead of it, which it cannot pass.
				if v := s.settle(ctx, at+wall); v.err != nil && !errors.Is(v.err, store.ErrNotFound) {
					return 0, nil, v.err
				}
				wall *= 2
			}
			chase = min(2*chase, createsAtOnce)
		}
		for i, v := range s.settleAll(ctx, at, width) {
			switch {
			case v.err != nil:
				return 0, nil, v.err
			case v.end:
				return at + karst.Number(i), data, nil
			}
			data = append(data, v.found)
		}
		at += karst.Number(width)
	}
}

// hints are the numbers that LIST shows, with their sizes. A LIST that fails or
// takes too long leaves hints out.
func (l *Log) hints(ctx context.Context, from karst.Number) map[karst.Number]int64 {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	listed := map[karst.Number]int64{}
	for info, err := range l.Store.List(ctx, l.Folder+"/", l.Name(from-1)) {
		if err != nil || len(listed) == hintMax {
			break
		}
		if n, ok := l.Parse(info.Name); ok {
			listed[n] = info.Size
		}
	}
	return listed
}

// sealing is one walk.
type sealing struct {
	*Log
	sealer   uint64
	identify Identify
	listed   map[karst.Number]int64
}

// verdict is what a number turned out to be.
type verdict struct {
	found Found
	end   bool // a tombstone or something foreign
	err   error
}

// run is how many numbers from at on to settle at once: those that are listed one
// after the other, and the one after them, which is mostly free. What is too small
// for data is the end: nothing is tried above it. 0 if at is not listed.
func (s *sealing) run(at karst.Number) int {
	for n := range readsAtOnce {
		size, ok := s.listed[at+karst.Number(n)]
		switch {
		case !ok && n == 0:
			return 0
		case !ok || size <= object.HeaderSize:
			return n + 1
		}
	}
	return readsAtOnce
}

// settleAll settles width numbers from at on, in parallel.
func (s *sealing) settleAll(ctx context.Context, at karst.Number, width int) []verdict {
	all := make([]verdict, width)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i] = s.settle(ctx, at+karst.Number(i)) })
	}
	wg.Wait()
	return all
}

// settle finds out what number n is, making it a tombstone if it is free.
func (s *sealing) settle(ctx context.Context, n karst.Number) verdict {
	if size, ok := s.listed[n]; ok {
		if s.identify != nil && size > object.HeaderSize {
			if h, err := s.identify(ctx, n); err == nil {
				return s.judge(n, h, nil)
			}
		}
		h, err := readHeader(ctx, s.Store, s.Name(n))
		if !errors.Is(err, store.ErrNotFound) {
			return s.judge(n, h, err)
		}
	}
	h, body := Frame(tombstone(s.Cluster, s.sealer, n), nil)
	f, err := create(ctx, s.Store, s.Name(n), h, body)
	switch {
	case err != nil:
		return verdict{err: err}
	case f.ours:
		return verdict{end: true}
	case f.absent:
		// Only an adopted log is collected: the caller's image is old.
		return verdict{err: fmt.Errorf("seal %s: %w: number %d existed and is gone", s.Folder, store.ErrNotFound, n)}
	case f.corrupt != nil:
		return s.judge(n, object.Header{}, f.corrupt)
	default:
		return s.judge(n, f.header, nil)
	}
}

// tombstone is the header of the object that ends a log.
func tombstone(cluster karst.ClusterID, sealer uint64, n karst.Number) object.Header {
	return object.Header{
		Kind: object.Tombstone, Version: tombstoneVersion, Cluster: cluster,
		Writer: sealer, Number: uint64(n), Nonce: object.NewNonce(),
	}
}

// judge says what the object of number n means for the log.
func (s *sealing) judge(n karst.Number, h object.Header, err error) verdict {
	var corrupt *karst.CorruptError
	switch {
	case errors.As(err, &corrupt):
		return verdict{found: Found{Number: n, Damage: corrupt}}
	case err != nil:
		return verdict{err: fmt.Errorf("seal %s: %w", s.Folder, err)}
	case s.Owns(n, h):
		return verdict{found: Found{Number: n, Header: h}}
	default:
		return verdict{end: true}
	}
}
