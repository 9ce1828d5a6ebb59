package disk

import (
	"context"
	"fmt"
	"sync"
)

// folder shares the syncs of one folder: a sync serves all who changed the
// folder before it began. Syncs are numbered from 1 in the order they begin.
type folder struct {
	sync func() error

	mu       sync.Mutex    // never held across I/O or a wait
	began    uint64        // the latest sync that began
	covered  uint64        // the latest sync that succeeded
	wanted   uint64        // the sync that covers the latest change
	changing int           // changes that may or may not have happened yet
	running  chan struct{} // closed when the sync in flight has ended; nil if none
	failed   error         // sticky, see the package comment
}

// newFolder begins with a sync wanted: it covers what an earlier process named
// and did not live to sync.
func newFolder(files Files, dir string) *folder {
	return &folder{sync: func() error { return files.SyncDir(dir) }, wanted: 1}
}

// change runs op, which changes the folder's names, and returns the number of
// the first sync that covers it, whatever op returned.
func (f *folder) change(op func() error) (uint64, error) {
	f.mu.Lock()
	f.changing++
	f.mu.Unlock()

	err := op()

	f.mu.Lock()
	defer f.mu.Unlock()
	f.changing--
	f.wanted = f.began + 1
	return f.wanted, err
}

// pending is the number of the sync that covers every name which the caller has
// seen, zero if all are covered, or none can be any more.
func (f *folder) pending() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.failed != nil:
		return 0
	case f.changing > 0:
		return f.began + 1
	case f.covered < f.wanted:
		return f.wanted
	}
	return 0
}

// settle returns when the sync of the number, or a later one, has succeeded. It
// runs that sync if nobody else does.
func (f *folder) settle(ctx context.Context, number uint64) error {
	for {
		f.mu.Lock()
		covered, failed, running := f.covered, f.failed, f.running
		if covered < number && failed == nil && running == nil {
			f.began++
			f.running = make(chan struct{})
		}
		began := f.began
		f.mu.Unlock()
		switch {
		case covered >= number:
			return nil
		case failed != nil:
			return failed
		case running == nil:
			f.finish(began, f.sync())
			continue
		}
		select {
		case <-running:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// finish ends the sync in flight.
func (f *folder) finish(number uint64, err error) {
	f.mu.Lock()
	running := f.running
	f.running = nil
	if err == nil {
		f.covered = number
	} else {
		f.failed = fmt.Errorf("a sync of the folder failed, what it holds may not be durable: %w", err)
	}
	f.mu.Unlock()
	close(running)
}
