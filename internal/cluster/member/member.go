// Package member is a broker's part in the cluster: it finds the controller and
// stays in contact with it, takes its place when it is lost, and asks it for what
// only the controller may do.
//
// # Contact
//
// A broker polls the controller: the request is its heartbeat, the answer brings
// what was committed, and the partitions that it is to hand over. The controller
// is whoever claimed the newest term of the metadata log; the claim says where it
// answers. A poll that fails is looked into: the log may name another controller,
// the controller may answer after all, and another broker may still be in contact
// with it; only if none of that is so does the broker claim the next term, after a
// random delay that doubles with recent claims. Two brokers that claim at once
// meet at one object, and one of them wins.
//
// # Authority
//
// What the controller does beside writing is in director.go: it judges sessions,
// fails over, places, balances. It decides by its image, and every decision is a
// commit, so that one who has been deposed can decide nothing.
package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/balance"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/cluster/failover"
	"github.com/karst-io/karst/internal/cluster/peer"
	pb "github.com/karst-io/karst/internal/cluster/peer/peerpb"
	"github.com/karst-io/karst/internal/cluster/peer/peerpb/peerpbconnect"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// Config is what a member is. Zero durations mean the defaults.
type Config struct {
	// Self is what the broker says of itself; its ID may be controller.AssignID.
	Self           metadata.Registration
	Version        string        // of the program, for people
	TakeOver       bool          // fence a live broker of the same id
	SessionTimeout time.Duration // 6 s
	PlacementDelay time.Duration // of a cold start: partitions wait so long for the broker that had them; 2 s
}

// Deps is what a member works with.
type Deps struct {
	Replica    *metadata.Replica
	Controller *controller.Controller
	Peers      *peer.Peers
	// Failover is what a failover needs; Place and Sealer are filled in.
	Failover failover.Deps
	// Reachable checks that the store of a WAL can be used from here.
	Reachable func(ctx context.Context, url string) error
	// HandOver is told which partitions the incarnation is to hand over. It may be
	// told again, and must not block.
	HandOver func(self karst.Incarnation, moves []peer.Move)
	Load     func() balance.Load
	// Forward executes a Kafka request that changes metadata.
	Forward func(ctx context.Context, key, version int16, client string, body []byte) ([]byte, error)
	Log     *slog.Logger
}

// Member is one process in the cluster. Its methods are safe for concurrent use.
type Member struct {
	cfg  Config
	deps Deps

	director atomic.Pointer[director] // while it holds the term
	self     atomic.Uint64            // the incarnation that polls; 0: none
	id       atomic.Int32             // broker id, or controller.AssignID
	leaving  atomic.Bool
	poke     chan struct{} // poll again now

	counts struct{ claims, failovers atomic.Int64 }

	mu        sync.Mutex
	contact   time.Time // when the controller answered last
	failed    bool      // a poll failed since
	known     time.Time // when the metadata log was read to its end last
	progress  time.Time // when others were last seen to write the metadata log while we reached none of them
	following karst.Term
	claims    []time.Time // of our own, in the last claimsKept
}

const (
	// beats is how many polls fit into a session.
	beats = 6
	// pingMax bounds the wait for an answer of who is asked whether it lives.
	pingMax = 500 * time.Millisecond
	// catchUpMax bounds reading the metadata log when contact is lost.
	catchUpMax = 10 * time.Second
	claimsKept = time.Minute
	// fencedWait is how many sessions a broker waits that was fenced and reaches
	// nobody, before it claims the term.
	fencedWait = 5
	claimDelay = 50 * time.Millisecond
	claimLast  = 10 * time.Second
	retryDelay = 20 * time.Millisecond
)

// New makes a member of the cluster of a replica.
func New(cfg Config, deps Deps) *Member {
	if cfg.SessionTimeout <= 0 {
		cfg.SessionTimeout = 6 * time.Second
	}
	if cfg.PlacementDelay <= 0 {
		cfg.PlacementDelay = 2 * time.Second
	}
	m := &Member{cfg: cfg, deps: deps, poke: make(chan struct{}, 1)}
	m.id.Store(int32(cfg.Self.ID))
	return m
}

// Stats are figures of a member since its start.
type Stats struct {
	Controller bool
	Silence    time.Duration // since the controller answered last
	Claims     int64         // of terms, that were tried
	Failovers  int64         // that this member, as the controller, has done
	Failing    int           // failovers that it is at
}

// Stats are the figures now.
func (m *Member) Stats() Stats {
	failing := 0
	if d := m.director.Load(); d != nil {
		failing = d.atWork()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return Stats{Failing: failing, Controller: m.Active(), Silence: time.Since(m.contact), Claims: m.counts.claims.Load(), Failovers: m.counts.failovers.Load()}
}

// Active reports whether this member is the controller.
func (m *Member) Active() bool { return m.director.Load() != nil }

// ID is the broker's id, once it is registered.
func (m *Member) ID() karst.BrokerID { return karst.BrokerID(m.id.Load()) }

func (m *Member) incarnation() karst.Incarnation { return karst.Incarnation(m.self.Load()) }

// Isolated reports whether others may have taken our partitions without our
// hearing of it: neither the controller nor the metadata log was reached for a
// session, and there are others.
func (m *Member) Isolated() bool {
	m.mu.Lock()
	now := time.Now()
	out := now.Sub(m.contact) > m.cfg.SessionTimeout && now.Sub(m.known) > m.cfg.SessionTimeout
	m.mu.Unlock()
	if !out {
		return false
	}
	for b := range m.deps.Replica.Image().LiveBrokers() {
		if b.Process != m.cfg.Self.Process {
			return true
		}
	}
	return false
}

// Run keeps contact until ctx ends. The replica must be loaded. It returns nil, or
// an error if the metadata log cannot be read on.
func (m *Member) Run(ctx context.Context) error {
	ctx = store.WithCaller(ctx, store.CallerMetadata)
	m.touched()
	h := &holding{m: m}
	defer h.end()
	for ctx.Err() == nil {
		held, err := m.deps.Replica.Holder(ctx)
		if err != nil {
			if !m.pause(ctx, time.Second) {
				return nil
			}
			continue
		}
		switch {
		case h.running():
			err = m.follow(ctx, m.local(), held)
		case held.Term == 0 || held.Process == m.cfg.Self.Process:
			err = errNobody
		case held.Peer == "":
			err = fmt.Errorf("%w: the controller of term %d has no address", errNobody, held.Term)
		default:
			err = m.follow(ctx, m.deps.Peers.At(held.Peer), held)
		}
		if err == nil || ctx.Err() != nil {
			h.vouched = 0
			continue
		}
		m.mu.Lock()
		m.failed = true
		m.mu.Unlock()
		if h.running() {
			h.wait(ctx, m.beat()/4)
			continue
		}
		if err := m.lost(ctx, h, held, err); err != nil {
			return err
		}
	}
	return nil
}

// errNobody: there is no controller to be asked.
var errNobody = errors.New("no controller")

func (m *Member) beat() time.Duration { return m.cfg.SessionTimeout / beats }

func (m *Member) touched() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.contact, m.known = time.Now(), time.Now()
}

// follow polls once.
func (m *Member) follow(ctx context.Context, c peerpbconnect.PeerClient, held metadata.Held) error {
	at := m.deps.Replica.Entered()
	self := m.incarnation()
	req := &pb.PollRequest{
		Incarnation: uint64(self), Position: peer.EncodePosition(at), Draining: m.leaving.Load(), Load: encodeLoad(m.deps.Load()),
	}
	try, cancel := context.WithTimeout(ctx, m.cfg.SessionTimeout/2)
	defer cancel()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-m.poke:
			cancel()
		case <-stop:
		}
	}()
	resp, err := c.Poll(try, req)
	close(stop)
	<-stopped // so that it takes no poke of later
	switch {
	case err != nil && ctx.Err() == nil && errors.Is(context.Cause(try), context.Canceled):
		return nil // asked to say something new
	case err != nil:
		return err
	case resp.Error != nil:
		return m.elsewhere(ctx, held, resp)
	}
	m.mu.Lock()
	m.contact, m.failed, m.following = time.Now(), false, held.Term
	m.mu.Unlock()
	if c != m.local() {
		if err := m.take(ctx, resp); err != nil {
			return err
		}
	}
	moves, err := peer.DecodeMoves(resp.Moves)
	if err != nil {
		return fmt.Errorf("controller of term %d: %w", held.Term, err)
	}
	if len(moves) > 0 && self != 0 {
		m.deps.HandOver(self, moves)
	}
	return nil
}

// take applies what a poll brought.
func (m *Member) take(ctx context.Context, resp *pb.PollResponse) error {
	if resp.Behind {
		return m.catchUp(ctx)
	}
	entries, err := peer.DecodeEntries(resp.Entries)
	if err != nil || len(entries) == 0 {
		return err
	}
	return m.deps.Replica.Push(ctx, entries)
}

// elsewhere looks for the controller that an answer names.
func (m *Member) elsewhere(ctx context.Context, held metadata.Held, resp *pb.PollResponse) error {
	if karst.Term(resp.Term) <= held.Term {
		return fmt.Errorf("%w: who claimed term %d holds it no more", errNobody, held.Term)
	}
	return m.catchUp(ctx)
}

func (m *Member) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpMax)
	defer cancel()
	if err := m.deps.Replica.CatchUp(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = time.Now()
	return nil
}

// lost is what follows a poll that failed: it returns when the controller may be
// polled again, whoever that is.
func (m *Member) lost(ctx context.Context, h *holding, held metadata.Held, why error) error {
	if m.hiccup(ctx, held) {
		return nil // polled again before the store, which may be slow, is asked
	}
	if held.Term > 0 {
		if err := m.lookAgain(ctx); err != nil {
			if _, ok := errors.AsType[*karst.CorruptError](err); ok || errors.Is(err, karst.UnsupportedVersion.Err()) {
				return err // it stays so
			}
			m.deps.Log.Warn("the controller is lost, and the metadata log cannot be read", "why", why, "err", err)
			m.pause(ctx, time.Second)
			return nil
		}
		if m.moved(ctx, held) {
			return nil
		}
		vouched, alone := m.vouched(ctx, held)
		if vouched { // perhaps by one that has not noticed yet
			m.pause(ctx, min(retryDelay<<min(h.vouched, 10), m.beat()/4))
			h.vouched++
			return nil
		}
		if alone && !m.nobodyElse(ctx, held) {
			return nil
		}
	}
	delay := m.claimDelay()
	if held.Term == 0 {
		delay = 0 // nobody has ever been; whoever is first wins
	}
	if !m.pause(ctx, delay) {
		return nil
	}
	m.mu.Lock()
	m.claims = append(m.claims, time.Now())
	m.mu.Unlock()
	m.counts.claims.Add(1)
	if held.Term > 0 {
		m.deps.Log.Info("claiming the metadata term, its holder is lost", "after", held.Term, "holder", held.Peer, "why", why)
	}
	if h.begin(ctx, held); !h.running() {
		_ = m.catchUp(ctx) // somebody else was faster; the next look finds out
	}
	return nil
}

// lookAgain reads the metadata log to its tail, unless that was done just now: a
// broker that starts has.
func (m *Member) lookAgain(ctx context.Context) error {
	m.mu.Lock()
	known := time.Since(m.known)
	m.mu.Unlock()
	if known < claimDelay {
		return nil
	}
	return m.catchUp(ctx)
}

// hiccup reports whether the controller of a term answers after all, within our
// session: it still waits for our next poll. Later, or if it answers pings alone,
// the log has to tell what became of us.
func (m *Member) hiccup(ctx context.Context, held metadata.Held) bool {
	m.mu.Lock()
	silence := time.Since(m.contact)
	m.mu.Unlock()
	if held.Term == 0 || held.Peer == "" || held.Process == m.cfg.Self.Process || silence > m.cfg.SessionTimeout-pingMax {
		return false
	}
	ping, cancel := context.WithTimeout(ctx, pingMax)
	r, err := m.deps.Peers.At(held.Peer).Ping(ping, &pb.PingRequest{})
	cancel()
	return err == nil && r.Active && karst.Term(r.Term) == held.Term && m.pause(ctx, retryDelay)
}

// moved reports whether another term was claimed since.
func (m *Member) moved(ctx context.Context, held metadata.Held) bool {
	now, err := m.deps.Replica.Holder(ctx)
	return err == nil && now.Term != held.Term
}

// vouched asks the holder of a term and every other broker, at once, and reports
// whether the term is not to be claimed: its holder is well, somebody is in
// contact with it, or knows of a newer one. alone says that there are others, and
// that not one of their hosts was reached: it may be ours that is cut off.
func (m *Member) vouched(ctx context.Context, held metadata.Held) (vouched, alone bool) {
	at := map[string]bool{} // address: of another than the holder
	if held.Process != m.cfg.Self.Process && held.Peer != "" {
		at[held.Peer] = false
	}
	for b := range m.deps.Replica.Image().LiveBrokers() {
		if b.Process != m.cfg.Self.Process && b.Peer != "" && b.Peer != m.cfg.Self.Peer {
			at[b.Peer] = b.Process != held.Process && b.Peer != held.Peer
		}
	}
	ctx, cancel := context.WithTimeout(ctx, pingMax)
	defer cancel()
	type answer struct{ vouches, reached, other bool }
	answers := make(chan answer, len(at))
	for addr, other := range at {
		go func() {
			r, err := m.deps.Peers.Fresh(addr).Ping(ctx, &pb.PingRequest{})
			answers <- answer{
				err == nil && (karst.Term(r.Term) > held.Term || karst.Term(r.Term) == held.Term && (r.Active || r.Contact)),
				err == nil || peer.Refused(err) || peer.Stranger(err), other,
			}
		}()
	}
	others, reached := 0, false
	for range len(at) {
		a := <-answers
		if a.vouches {
			return true, false
		}
		reached = reached || a.reached
		if a.other {
			others++
		}
	}
	return false, others > 0 && !reached
}

// nobodyElse waits, while we reach no other broker, for signs that they do without
// us: it reports whether there were none for so long that the term is to be
// claimed all the same. Who claims is written by nobody whom it cannot reach, so
// that a broker that reaches the store alone would stop all others.
func (m *Member) nobodyElse(ctx context.Context, held metadata.Held) bool {
	at := m.deps.Replica.Image().Position()
	for {
		m.mu.Lock()
		since := m.contact
		if m.progress.After(since) {
			since = m.progress
		}
		if n := len(m.claims); n > 0 && m.claims[n-1].After(since) {
			since = m.claims[n-1]
		}
		m.mu.Unlock()
		wait := m.cfg.SessionTimeout + 2*m.beat()
		if b, ok := m.deps.Replica.Image().Broker(m.incarnation()); ok && b.Phase != metadata.Live {
			wait = fencedWait * m.cfg.SessionTimeout // somebody was well after us
		}
		if time.Since(since) > wait {
			return true
		}
		if !m.pause(ctx, m.beat()/2) || m.catchUp(ctx) != nil || m.moved(ctx, held) {
			return false
		}
		if now := m.deps.Replica.Image().Position(); now != at {
			at = now
			m.mu.Lock()
			m.progress = time.Now()
			m.mu.Unlock()
		}
		if vouched, alone := m.vouched(ctx, held); vouched || !alone {
			return false
		}
	}
}

// claimDelay is a random time that doubles with our recent claims.
func (m *Member) claimDelay() time.Duration {
	m.mu.Lock()
	now := time.Now()
	recent := m.claims[:0]
	for _, t := range m.claims {
		if now.Sub(t) < claimsKept {
			recent = append(recent, t)
		}
	}
	m.claims = recent
	n := len(recent)
	m.mu.Unlock()
	most := min(claimDelay<<min(n, 10), claimLast)
	return most/4 + rand.N(most*3/4)
}

// pause sleeps; false if ctx ended.
func (m *Member) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Move asks for partitions to be given to live incarnations, if this is the
// controller (controller.Config).
func (m *Member) Move(moves []metadata.Placement) {
	if d := m.director.Load(); d != nil {
		d.ask(moves)
	}
}

// kick polls again at once, to say something new.
func (m *Member) kick() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// Lead says which incarnation polls from now on; 0: none.
func (m *Member) Lead(self karst.Incarnation) {
	m.self.Store(uint64(self))
	m.kick()
	if d := m.director.Load(); d != nil {
		d.look()
	}
}

// Drain asks that others take what this broker leads, and returns when they have,
// when there are none, or when ctx ends. Nothing is given to it any more.
func (m *Member) Drain(ctx context.Context) {
	self := m.incarnation()
	if self == 0 {
		return
	}
	m.leaving.Store(true)
	m.kick()
	_ = m.deps.Replica.Wait(ctx, func(img *metadata.Image) bool {
		return img.LeadCount(self) == 0 || !others(img, self)
	})
}

// Others reports whether the image has other live brokers.
func (m *Member) Others() bool { return others(m.deps.Replica.Image(), m.incarnation()) }

func others(img *metadata.Image, self karst.Incarnation) bool {
	for b := range img.LiveBrokers() {
		if b.Incarnation != self {
			return true
		}
	}
	return false
}
