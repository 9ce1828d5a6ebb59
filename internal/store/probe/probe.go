package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/karst-io/karst/internal/store"
)

const (
	racers     = 8       // creates of one name at once
	smallBytes = 256     // an ordinary probe object
	largeBytes = 1 << 20 // the slow side of the overlap
	// overlapWait bounds how long the body of the forced overlap stays open.
	overlapWait = 5 * time.Second
	// cleanWait bounds the deletion of what the probe wrote.
	cleanWait = 10 * time.Second
)

// Streamer is a driver that can create an object while its body is still being
// produced. The result is that of store.Creator.
type Streamer interface {
	CreateFrom(ctx context.Context, name string, size int64, body io.Reader) error
}

// Run returns nil if the store keeps its promises, an error that wraps ErrUnfit
// if it breaks one, and another error if that could not be found out. Each is
// one line that says what is wrong and what to do.
func Run(ctx context.Context, st store.Store) error {
	ctx = store.WithCaller(ctx, store.CallerProbe)
	var id [8]byte
	rand.Read(id[:]) // never fails (crypto/rand)
	p := &probing{Store: st, prefix: "probe/" + hex.EncodeToString(id[:]) + "/"}
	checks := []func(context.Context) error{p.second, p.race, p.overlap, p.visible}
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() { errs[i] = check(ctx) })
	}
	wg.Wait()
	p.clean(ctx)
	return p.verdict(errs)
}

// ErrUnfit is wrapped when the store breaks a promise.
var ErrUnfit = errors.New("store unfit for Karst")

// probing is one run.
type probing struct {
	store.Store
	prefix string
}

// verdict prefers a broken promise to a failure to find out.
func (p *probing) verdict(errs []error) error {
	var first error
	for _, err := range errs {
		if errors.Is(err, ErrUnfit) {
			return fmt.Errorf("%s: %w", p, err)
		}
		if first == nil {
			first = err
		}
	}
	if first != nil {
		return fmt.Errorf("%s: could not probe the store, check its address, credentials and permissions (create, read, list, delete below probe/): %w", p, first)
	}
	return nil
}

func unfit(what, todo string) error {
	return fmt.Errorf("%w: %s; %s", ErrUnfit, what, todo)
}

const useAnother = "use a store that honours If-None-Match: * atomically (AWS S3, GCS, Azure Blob, R2, recent MinIO or Ceph, a local folder)"

// body is what writer number i puts under a name: no two are the same.
func body(i, size int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, size) }

// expect reads the object and compares it.
func (p *probing) expect(ctx context.Context, name string, want []byte, what, todo string) error {
	got := make([]byte, len(want)+1)
	n, err := p.Get(ctx, name, 0, got)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && !bytes.Equal(got[:n], want):
		return unfit(what, todo)
	default:
		return err
	}
}

// second: a second create is refused and changes nothing.
func (p *probing) second(ctx context.Context) error {
	name := p.prefix + "second"
	if err := p.Create(ctx, name, store.Bytes(body(0, smallBytes))); err != nil {
		return err
	}
	switch err := p.Create(ctx, name, store.Bytes(body(1, smallBytes))); {
	case err == nil:
		return unfit("it accepted a second create of the same name (If-None-Match is ignored)", useAnother)
	case !errors.Is(err, store.ErrExists):
		return err
	}
	return p.expect(ctx, name, body(0, smallBytes), "a refused create changed or removed the object", useAnother)
}

// race: of concurrent creates one wins, and its bytes are there. A create whose
// outcome is unknown (a 409, say) may have won only if nobody else did.
func (p *probing) race(ctx context.Context) error {
	name := p.prefix + "race"
	errs := make([]error, racers)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = p.Create(ctx, name, store.Bytes(body(i, smallBytes))) })
	}
	wg.Wait()
	winner, won := 0, 0
	var unknown error
	for i, err := range errs {
		switch {
		case err == nil:
			winner = i
			won++
		case !errors.Is(err, store.ErrExists):
			unknown = err
		}
	}
	switch {
	case won > 1:
		return unfit(fmt.Sprintf("%d of %d concurrent creates of one name were accepted", won, racers), useAnother)
	case won == 1:
		return p.expect(ctx, name, body(winner, smallBytes), "after concurrent creates another object than the winner's is there", useAnother)
	case unknown != nil:
		return unknown
	default:
		return unfit("of concurrent creates of a new name none was accepted", useAnother)
	}
}

// visible: a name that was absent is read and listed right after its write.
func (p *probing) visible(ctx context.Context) error {
	name, todo := p.prefix+"visible", "use a strongly consistent store, and no cache in front of it"
	if _, err := p.Get(ctx, name, 0, make([]byte, 1)); err == nil {
		return unfit("it returned an object that was never written", todo)
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	want := body(2, smallBytes)
	if err := p.Put(ctx, name, store.Bytes(want)); err != nil {
		return err
	}
	if err := p.expect(ctx, name, want, "a read right after a write did not return it", todo); err != nil {
		return err
	}
	for info, err := range p.List(ctx, name, "") {
		if err != nil {
			return err
		}
		if info.Name == name && info.Size == int64(len(want)) {
			return nil
		}
	}
	return unfit("a list right after a write did not show it", todo)
}

// clean deletes what the checks wrote, also when ctx has ended. A failure leaves
// a few tiny objects below probe/, which hurt nobody, and no reason not to start.
func (p *probing) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWait)
	defer cancel()
	var names []string
	for n := range strings.FieldsSeq("second race overlap visible") {
		names = append(names, p.prefix+n)
	}
	_ = p.Delete(ctx, names)
}
