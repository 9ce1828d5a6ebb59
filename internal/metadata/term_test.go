package metadata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/mem"
	"github.com/karst-io/karst/internal/store/objlog"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newReplica(t testing.TB, st store.Store) *Replica {
	t.Helper()
	cluster, err := OpenCluster(t.Context(), st)
	must(t, err)
	return NewReplica(st, cluster)
}

// lostAnswer loses the answer to a create, and damages what is read back of it.
type lostAnswer struct {
	store.Store
	on   bool
	name string
}

func (l *lostAnswer) Create(ctx context.Context, name string, b store.Body) error {
	err := l.Store.Create(ctx, name, b)
	if l.on && err == nil {
		l.name = name
		return errors.New("connection reset")
	}
	return err
}

func (l *lostAnswer) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	n, err := l.Store.Get(ctx, name, off, p)
	if l.on && name == l.name && n > 20 {
		p[20] ^= 1
	}
	return n, err
}

// A commit that is there, and cannot be told from another's, is of unknown outcome.
func TestUnreadableCommitIsUnknown(t *testing.T) {
	st := &lostAnswer{Store: mem.New("x")}
	r := newReplica(t, st)
	term := takeOver(t, r)
	b := NewBatch(r.Image())
	must(t, b.Try(&RegisterBroker{Incarnation: 1, Registration: Registration{ID: 1, Host: "h"}}))
	st.on = true
	if err := term.Commit(t.Context(), b); !errors.Is(err, ErrLost) || !errors.Is(err, objlog.ErrUnknown) {
		t.Errorf("got %v, want ErrLost and ErrUnknown", err)
	}
	st.on = false
	term.Release()
	r = newReplica(t, st)
	must(t, r.Load(t.Context()))
	if _, there := r.Image().Broker(1); !there {
		t.Error("it was not there: this test shows nothing")
	}
}

func takeOver(t testing.TB, r *Replica) *Term {
	t.Helper()
	term, err := r.TakeOver(t.Context(), Claim{Broker: 1, Host: "h"})
	must(t, err)
	return term
}

// register commits n registrations, numbered on.
func register(t testing.TB, r *Replica, term *Term, n int) {
	t.Helper()
	for range n {
		b := NewBatch(r.Image())
		inc := r.Image().nextIncarnation
		must(t, b.Try(&RegisterBroker{Incarnation: inc, Registration: Registration{ID: karst.BrokerID(inc), Host: fmt.Sprint(inc)}}))
		must(t, term.Commit(t.Context(), b))
	}
}

func same(t testing.TB, a, b *Image) {
	t.Helper()
	if a.position != b.position || !bytes.Equal(EncodeSnapshot(a), EncodeSnapshot(b)) {
		t.Errorf("images differ: %s and %s", a.position, b.position)
	}
}

// TestCollectedUnderAReader lets the log be collected below a reader that is
// behind, and a stalled sealer put a tombstone where there was data: the reader
// starts again from the newest snapshot (models/terms.py, rule noend).
func TestCollectedUnderAReader(t *testing.T) {
	for _, stray := range []bool{false, true} {
		st := mem.New("collected")
		w := newReplica(t, st)
		term := takeOver(t, w)
		register(t, w, term, 1)
		behind := newReplica(t, st)
		must(t, behind.Load(t.Context()))
		register(t, w, term, 3)
		must(t, term.Next(t.Context()))
		register(t, w, term, 2)
		_, err := WriteSnapshot(t.Context(), st, w.Image())
		must(t, err)
		register(t, w, term, 1)
		log := TermLog(st, w.cluster, 1)
		for n := karst.Number(1); n <= 4; n++ {
			must(t, st.Delete(t.Context(), []string{log.Name(n)}))
		}
		if stray {
			if end, _, err := log.Seal(t.Context(), 2, 9, nil); end != 2 || err != nil {
				t.Fatal(end, err)
			}
		}
		var reset int
		behind.Listen(func(_ *Image, d *Delta) {
			if d.Reset {
				reset++
			}
		})
		must(t, behind.CatchUp(t.Context()))
		same(t, behind.Image(), w.Image())
		if reset != 1 {
			t.Errorf("stray %v: %d resets", stray, reset)
		}
		fresh := newReplica(t, st)
		must(t, fresh.Load(t.Context()))
		same(t, fresh.Image(), w.Image())
	}
}

// TestDeposed checks that a writer whose term was sealed learns of it at its
// next commit, which is then not in the history (I4, I11).
func TestDeposed(t *testing.T) {
	st := mem.New("deposed")
	a, b := newReplica(t, st), newReplica(t, st)
	first := takeOver(t, a)
	register(t, a, first, 2)
	second := takeOver(t, b)
	batch := NewBatch(a.Image())
	must(t, batch.Try(&AllocateProducerIDs{Count: 1}))
	if err := first.Commit(t.Context(), batch); !errors.Is(err, ErrLost) {
		t.Fatalf("a commit in a sealed term: %v", err)
	}
	if a.Image().NextProducerID() != 0 {
		t.Error("I11: the image advanced without its commit")
	}
	first.Release()
	register(t, b, second, 1)
	must(t, a.CatchUp(t.Context()))
	same(t, a.Image(), b.Image())
	if c, err := readClaim(t.Context(), st, a.cluster, 2); err != nil || c.End != 3 {
		t.Errorf("claim %+v: %v", c, err)
	}
}

// TestDamagedSnapshot starts from the one before.
func TestDamagedSnapshot(t *testing.T) {
	st := mem.New("damaged")
	w := newReplica(t, st)
	term := takeOver(t, w)
	for range 2 {
		register(t, w, term, 2)
		_, err := WriteSnapshot(t.Context(), st, w.Image())
		must(t, err)
	}
	name := snapshotName(w.Image().position)
	b := make([]byte, 1<<16)
	n, err := st.Get(t.Context(), name, 0, b)
	must(t, err)
	b[n-1] ^= 1
	must(t, st.Delete(t.Context(), []string{name}))
	must(t, st.Put(t.Context(), name, store.Bytes(b[:n])))
	if newReplica(t, st).Readable(t.Context(), w.Image().position) == nil {
		t.Error("a damaged snapshot counts as readable")
	}
	r := newReplica(t, st)
	must(t, r.Load(t.Context()))
	same(t, r.Image(), w.Image())
}

// TestDamagedCommit stops a replica: it never goes round a commit.
func TestDamagedCommit(t *testing.T) {
	st := mem.New("damaged")
	w := newReplica(t, st)
	register(t, w, takeOver(t, w), 3)
	name := TermLog(st, w.cluster, 1).Name(2)
	must(t, st.Delete(t.Context(), []string{name}))
	must(t, st.Put(t.Context(), name, store.Bytes(make([]byte, 200))))
	r := newReplica(t, st)
	var corrupt *karst.CorruptError
	if err := r.Load(t.Context()); !errors.As(err, &corrupt) || corrupt.Object != name {
		t.Errorf("Load: %v", err)
	}
	if r.Image().position.Number != 1 {
		t.Errorf("at %s", r.Image().position)
	}
}

// rounds counts requests, those in parallel too.
type rounds struct {
	store.Store
	requests atomic.Int64
}

func (s *rounds) Get(ctx context.Context, name string, off int64, p []byte) (int, error) {
	s.requests.Add(1)
	return s.Store.Get(ctx, name, off, p)
}

// TestStartUp bounds the requests of a start on a bucket with history: a
// snapshot and three commits after it.
func TestStartUp(t *testing.T) {
	st := mem.New("start")
	w := newReplica(t, st)
	term := takeOver(t, w)
	register(t, w, term, 300)
	_, err := WriteSnapshot(t.Context(), st, w.Image())
	must(t, err)
	register(t, w, term, 3)
	counted := &rounds{Store: st}
	r := newReplica(t, counted)
	must(t, r.Load(t.Context()))
	same(t, r.Image(), w.Image())
	// The cluster object; the snapshot in two; three commits; the tail in two.
	if n := counted.requests.Load(); n > 8 {
		t.Errorf("%d GETs", n)
	}
}

// TestClusterID lets several open an empty bucket: all see one id.
func TestClusterID(t *testing.T) {
	st := mem.New("id")
	a, err := OpenCluster(t.Context(), st)
	must(t, err)
	b, err := OpenCluster(t.Context(), st)
	must(t, err)
	if a != b || a == (karst.ClusterID{}) {
		t.Errorf("%s and %s", a, b)
	}
}

// TestListenersBeforeWaiters checks the order: a waiter goes on only after the
// listeners know.
func TestListenersBeforeWaiters(t *testing.T) {
	st := mem.New("order")
	r := newReplica(t, st)
	term := takeOver(t, r)
	var told atomic.Int64
	r.Listen(func(*Image, *Delta) { told.Add(1) })
	done := make(chan int64)
	go func() {
		if r.WaitFor(t.Context(), Position{Term: 1, Number: 2}) == nil {
			done <- told.Load()
		}
		close(done)
	}()
	register(t, r, term, 2)
	if n := <-done; n != 2 {
		t.Errorf("a waiter went on after %d of 2 listeners' calls", n)
	}
}
